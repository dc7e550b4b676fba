"""Reads `Retry-After`, in both of its forms, without letting a platform stall us for a day.

Source: RFC 9110, section 10.2.3 (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after).
"""

import email.utils
import math
import re
from datetime import UTC, datetime
from typing import Final

LONGEST_S: Final = 600.0
"""Longer waits are cut to this; the platform may say it again."""

SHORTEST_S: Final = 0.1
"""A platform that says 'at once' while it refuses is not believed."""

_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DIGITS: Final = 12


def parse(value: str, now: datetime, *, default_s: float) -> float:
    """Seconds to wait, from whole (or, leniently, decimal) seconds or an HTTP date; `default_s` when it is neither."""
    text = value.strip()
    if len(text) <= _DIGITS and _SECONDS.fullmatch(text):
        return _bounded(float(text))
    if text.isascii() and text.isdigit():
        return LONGEST_S
    try:
        moment = email.utils.parsedate_to_datetime(text)
        wait_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return _bounded(default_s)
    return _bounded(wait_s)


def _bounded(wait_s: float) -> float:
    return min(LONGEST_S, max(SHORTEST_S, wait_s)) if math.isfinite(wait_s) else LONGEST_S
