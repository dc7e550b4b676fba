"""Reads a JSON body that a platform posted: whole or not at all, and a refusal names the field and the rule.

Every adapter whose platform posts JSON reads it through here, so that all of them refuse the same things in the same
words: another content type, a size, bytes that are not UTF-8, NULs, lone surrogates, depth.
"""

import re
from typing import Final, TypeVar

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_text

BODY_BYTES: Final = 512 * 1024
"""Bytes of one request; the edge may allow less."""

T = TypeVar("T")
_JSON: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;.*)?", re.IGNORECASE | re.DOTALL)
_FAULT: Final = re.compile(r"(?P<rule>.*?)(?: - at `(?P<path>[^`]*)`(?: in `(?P<outer>[^`]*)`)?)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def read(decoder: "msgspec.json.Decoder[T]", request: ports.WebhookRequest, *, limit_bytes: int = BODY_BYTES) -> T:
    """What `decoder` makes of a request's body. Raises Rejected (400, 413, 415) naming the field and the rule."""
    content_type = request.headers.get("content-type", "")
    if content_type != "application/json" and not _JSON.fullmatch(content_type):
        hint = "Send the header content-type: application/json."
        raise errors.Rejected(
            "wrong_content_type", "content-type must be JSON", hint=hint, status=415, field="content-type"
        )
    if len(request.body) > limit_bytes:
        raise errors.Rejected("too_large", f"the body must be at most {limit_bytes} bytes", status=413, field="body")
    try:
        body = decoder.decode(request.body.decode("utf-8"))
    except RecursionError:
        raise json_text.too_deep() from None
    except msgspec.ValidationError as error:
        raise refusal(error, "") from None
    except (UnicodeDecodeError, msgspec.DecodeError):
        json_text.check_text(request.body)
        raise errors.Rejected("bad_json", "the body is not valid JSON", field="body") from None
    if json_text.is_suspicious(request.body):
        json_text.check_text(request.body)
    json_text.check_depth(request.body)
    return body


def fields(decoder: "msgspec.json.Decoder[T]", data: msgspec.Raw, path: str) -> T:
    """What `decoder` makes of a part of a body that stands at `path`. Raises Rejected (400)."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise json_text.too_deep() from None
    except msgspec.DecodeError as error:  # ValidationError among them
        raise refusal(error, path) from None


def refusal(error: msgspec.DecodeError, prefix: str) -> errors.Rejected:
    """The sentence of msgspec, which quotes types and lengths but no content, with the whole path of the field."""
    match = _FAULT.fullmatch(str(error))
    rule, inner = (match["rule"], match["outer"] or match["path"] or "") if match else ("is not valid", "")
    path = (prefix + inner.removeprefix("$")).lstrip(".") or "body"
    if missing := _MISSING.fullmatch(rule):
        path, rule = f"{path}.{missing[1]}".removeprefix("body."), "is missing"
    return errors.Rejected("bad_event", f"{path}: {rule[:1].lower()}{rule[1:200]}", field=path)
