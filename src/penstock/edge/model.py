"""How an error looks from outside: a problem document after RFC 9457, and nothing that helps an attacker.

One of the three places where errors become reactions (the others: the spine's worker, the workflow runner).
"""

import dataclasses
import json
import math
from typing import Any

from penstock.base import errors


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """An error answer: HTTP status, stable code, one sentence, the next step, and extra headers."""

    status: int
    code: str
    title: str
    hint: str = ""
    field: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, request_id: str) -> bytes:
        """The `application/problem+json` document."""
        document: dict[str, Any] = {
            "type": f"urn:penstock:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "request_id": request_id,
        }
        if self.hint:
            document["hint"] = self.hint
        if self.field:
            document["field"] = self.field
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def problem_of(error: BaseException) -> Problem:
    """The problem an error becomes. What is our fault says nothing about itself: the log knows it by request id."""
    if isinstance(error, errors.Rejected):
        headers = ((b"allow", ", ".join(error.allow).encode()),) if isinstance(error, errors.WrongMethod) else ()
        if error.status == 408:
            headers = (*headers, (b"connection", b"close"))  # the rest of a slow request is not waited for either
        return Problem(error.status, error.code, error.detail, error.hint, error.field, headers)
    if isinstance(error, errors.Unavailable):
        status = 429 if error.throttled else 503
        wait = str(max(1, math.ceil(error.after_s))).encode()
        return Problem(status, error.code, error.detail, error.hint, headers=((b"retry-after", wait),))
    if isinstance(error, errors.Poisoned):
        return Problem(422, error.code, error.detail, error.hint)
    return Problem(500, "internal", "an error of ours; it is in the log under this request id")
