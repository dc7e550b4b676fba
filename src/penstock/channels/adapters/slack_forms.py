"""Keeps what Slack posts as forms: slash commands, and the payloads of buttons, shortcuts and dialogs.

Sources: https://docs.slack.dev/interactivity/implementing-slash-commands and
https://docs.slack.dev/reference/interaction-payloads. No app can hear them yet, so they are unknown events: answered
200, counted, and kept as JSON without what nobody should store: the verification token that Slack still sends along,
and the URLs under which whoever has them may answer in the app's name for half an hour.
"""

import hashlib
import re
import urllib.parse
from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_text

FIELDS: Final = 100
"""Fields of one form."""

POWERS: Final = ("token", "response_url", "response_urls", "bot_access_token")
"""Fields by which whoever has them could act, or pass for Slack: taken out before anything is kept. (`trigger_id` ends
after three seconds.)"""

_FORM: Final = "application/x-www-form-urlencoded"
_KIND: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_document: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_encoder: Final = msgspec.json.Encoder()


def is_form(request: ports.WebhookRequest) -> bool:
    """Whether a request says that it is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


def read(request: ports.WebhookRequest, *, limit_bytes: int) -> ports.Reading:
    """A verified form as an unknown event. Raises Rejected (400, 413) naming the field and the rule."""
    if len(request.body) > limit_bytes:
        raise errors.Rejected("too_large", f"the body must be at most {limit_bytes} bytes", status=413, field="body")
    fields = _fields(request.body)
    event_id = f"form-{hashlib.sha256(request.body).hexdigest()[:40]}"
    if payload := fields.get("payload"):
        kind = f"interaction.{_kind(payload)}"
        return ports.Reading(unknown=(ports.UnknownEvent(event_id, kind, powerless(payload.encode())),))
    if fields.get("command"):
        kept = powerless(_encoder.encode(fields))
        return ports.Reading(unknown=(ports.UnknownEvent(event_id, "slash_command", kept),))
    if "ssl_check" in fields:
        return ports.Reading(ignored=("ssl_check",))
    raise _refused("payload", "a form must hold a payload or a command")


def powerless(body: bytes) -> bytes:
    """A JSON object without `POWERS`; anything else as it is."""
    try:
        document: dict[str, Any] = _document.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    if document.keys().isdisjoint(POWERS):
        return body
    return _encoder.encode({name: value for name, value in document.items() if name not in POWERS})


def _fields(body: bytes) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FIELDS,
        )
    except ValueError:  # UnicodeDecodeError among them
        raise _refused("body", f"the body must be a form of at most {FIELDS} fields in UTF-8") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise _refused("body", "the body must not hold a NUL character")
    return dict(pairs)


def _kind(payload: str) -> str:
    """The type of an interaction. The payload is checked as any JSON is that comes from outside."""
    raw = payload.encode()
    try:
        kind = _text.decode(_document.decode(raw).get("type", b'""'))
    except RecursionError:
        raise json_text.too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _refused("payload", "payload must be a JSON object with a type") from None
    json_text.check_text(raw)
    json_text.check_depth(raw)
    if not _KIND.fullmatch(kind):
        raise _refused("payload.type", "payload.type must be a name")
    return kind


def _refused(field: str, rule: str) -> errors.Rejected:
    return errors.Rejected("bad_form", rule, field=field)
