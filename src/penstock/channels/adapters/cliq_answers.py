"""Says what an answer of Zoho Cliq's REST API means: sent, refused, not now, or nobody knows.

Sources: https://www.zoho.com/cliq/help/restapi/v2/errors/ and the messages pages of v2 and v3, whose bodies are
`{"code", "message"}`, the message alone, or either of them below `error`.
"""

import re
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import cliq_calls, http_connection, retry_after

BACKOFF_S: Final = 5.0
"""Seconds to wait when Cliq refuses for now and does not say how long."""

LOCKED_S: Final = 600.0
"""Seconds to wait when Cliq limits us and does not say how long: the lock period of posting messages."""

ID_LENGTH: Final = 64

REFUSALS: Final = {
    "access_denied": "the token's owner may not do that",
    "chat_access_denied": "the token's owner does not take part in this chat",
    "chat_not_found": "there is no such chat, or the token's owner does not take part in it",
    "message_delete_timeout": "the time in which this message could be taken back is over",
    "message_not_found": "there is no such message (any more)",
}
"""Refused for good, by Cliq's own code, which is ours too, with what it means."""

_GONE: Final = "message_not_found"
_UNKNOWN: Final = frozenset({502, 504})  # a gateway speaks for a server that may have taken it
_LATER: Final = frozenset({408, 425})
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
_any: Final = msgspec.json.Decoder(dict[str, Any])


def refuses_token(answer: http_connection.Answer) -> bool:
    """Whether Cliq takes no calls with this token; then it certainly did nothing."""
    return answer.status == 401


def sent(asked: cliq_calls.Call, answer: http_connection.Answer, now: datetime) -> ports.Sent:
    """What was sent. Raises Rejected, Unavailable or Ambiguous."""
    status, body = answer.status, _read(answer)
    if 200 <= status < 300 and _is_page(answer):
        detail = f"something else than Cliq answered {status}"
        raise ports.Ambiguous("bad_answer", detail, hint="Look at the account's api_url.", after_s=BACKOFF_S)
    if 200 <= status < 300:
        return ports.Sent(_message_id(asked, body))
    code, words = _words(body)
    if asked.method == "DELETE" and asked.target and code == _GONE:
        return ports.Sent()  # as it should be: the second time finds what the first one did
    if status == 429 or "throttle" in words or code == "rate_limit_exceeded":
        after_s = _wait_s(answer, now, LOCKED_S)
        raise errors.Unavailable(
            "rate_limited", "Cliq takes no more calls for a while", after_s=after_s, throttled=True
        )
    if status in _UNKNOWN:
        raise ports.Ambiguous("gateway_failed", f"a gateway answered {status} for Cliq")
    if status in _LATER or status >= 500:
        after_s = _wait_s(answer, now, BACKOFF_S)
        raise errors.Unavailable("refused_for_now", f"Cliq answered {status}", after_s=after_s)
    raise _refusal(status, code)


def _refusal(status: int, code: str) -> errors.Rejected:
    if 300 <= status < 400:
        hint = "Configure api_url with the address of your data centre."
        return errors.Rejected("redirected", f"Cliq answered {status}; redirects are not followed", hint=hint)
    if status == 401:
        named = f": {code}" if _CODE.fullmatch(code) else ""
        hint = "A token of OAuth ends after an hour, and needs the scopes that docs/how-to/channel-cliq.md lists."
        return errors.Rejected("token_refused", f"Cliq takes none of the account's tokens{named}", hint=hint)
    if code in REFUSALS:
        hint = "docs/how-to/channel-cliq.md says what to do about it."
        return errors.Rejected(code, f"Cliq says {code}: {REFUSALS[code]}", hint=hint)
    named = f" with {code}" if _CODE.fullmatch(code) else ""
    hint = "Are api_url and the bot's name right, and is the bot in this channel?"
    return errors.Rejected("refused", f"Cliq answered {status}{named}", hint=hint)


def _read(answer: http_connection.Answer) -> dict[str, Any]:
    try:
        return _any.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _is_page(answer: http_connection.Answer) -> bool:
    """Whether there is a body, and it begins as no answer of Cliq's does."""
    return answer.body.strip()[:1] not in (b"", b"{", b"[", b'"')


def _words(body: dict[str, Any]) -> tuple[str, str]:
    """Cliq's code and, in lower case, its words; empty where it says neither."""
    inner = _inside(body, "error") or body
    code, words = inner.get("code"), inner.get("message")
    return code if isinstance(code, str) else "", words.lower() if isinstance(words, str) else ""


def _message_id(asked: cliq_calls.Call, body: dict[str, Any]) -> str:
    """The id of what was said; as the bot to people, there is one for each of them."""
    told = _inside(_inside(body, "message_details"), asked.person) if asked.person else body
    found = told.get("message_id")
    if not isinstance(found, str) or len(found) > ID_LENGTH or not found.isascii() or "\0" in found:
        return "" if asked.method == "POST" else asked.target
    return found


def _inside(body: dict[str, Any], name: str) -> dict[str, Any]:
    value: object = body.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _wait_s(answer: http_connection.Answer, now: datetime, default_s: float) -> float:
    return retry_after.parse(answer.headers.get("retry-after", ""), now, default_s=default_s)
