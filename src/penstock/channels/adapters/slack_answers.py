"""Says what an answer of Slack's Web API means: sent, refused, not now, or nobody knows.

Sources: https://docs.slack.dev/apis/web-api, https://docs.slack.dev/apis/web-api/rate-limits and the tables of errors
on the method pages. Slack answers 200 to nearly everything and says in the body whether it was done.
"""

import re
from datetime import datetime
from typing import Annotated, Final

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import http_connection, retry_after

BACKOFF_S: Final = 5.0
"""Seconds to wait when Slack refuses for now and does not say how long."""

LIMITED_S: Final = 30.0
"""Seconds to wait when Slack limits us and does not say how long; its documentation's example says the same."""

MOVING_S: Final = 300.0
"""Seconds to wait while Slack moves a workspace or a channel."""

TOKEN_ERRORS: Final = frozenset({"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"})
"""This token is not valid: nothing was done, and another one may do."""

DONE: Final = {
    "chat.delete": "message_not_found",
    "reactions.add": "already_reacted",
    "reactions.remove": "no_reaction",
}
"""What a method says when there is nothing left to do: so that these may be asked again."""

REFUSALS: Final = {
    "access_denied": "the workspace does not let the app in there",
    "accesslimited": "the workspace allows calls from other networks only",
    "cannot_reply_to_message": "this message cannot have replies",
    "cant_delete_message": "the app can take back only what it said itself",
    "cant_update_message": "the app can change only what it said itself",
    "channel_not_found": "there is no such channel, or the app cannot see it: invite it there",
    "edit_window_closed": "the workspace no longer allows this message to be edited",
    "ekm_access_denied": "the workspace's administrators have suspended posting",
    "enterprise_is_restricted": "the organisation does not allow this call",
    "invalid_arguments": "Slack does not understand the call",
    "invalid_name": "Slack has no emoji of this name",
    "is_archived": "the channel is archived",
    "is_inactive": "the channel is frozen, archived or deleted",
    "message_not_found": "there is no such message (any more)",
    "messages_tab_disabled": "people cannot talk to the app: switch its Messages Tab on, under App Home",
    "missing_scope": "the token lacks a scope: add it under OAuth & Permissions and install the app again",
    "msg_too_long": "the text is too long",
    "no_permission": "the app is not a member of this conversation: invite it",
    "no_text": "there is no text",
    "not_allowed_token_type": "this kind of token cannot do that: use the bot's",
    "not_in_channel": "the app is not in this channel: invite it there",
    "not_reactable": "this message cannot have reactions",
    "restricted_action": "a setting of the workspace keeps the app from posting",
    "restricted_action_non_threadable_channel": "this channel has no threads",
    "restricted_action_read_only_channel": "this channel is for reading only",
    "restricted_action_thread_locked": "this thread is locked",
    "restricted_action_thread_only_channel": "this channel takes replies in threads only",
    "team_access_not_granted": "the token is not for this workspace",
    "thread_locked": "this thread is locked",
    "too_many_emoji": "this message has as many kinds of reactions as it can have",
    "too_many_reactions": "the app has put as many reactions on this message as it may",
    "two_factor_setup_required": "the workspace asks for two factors first",
}
"""Refused for good, by Slack's own code, which is ours too, with what it means."""

_LIMITED: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_LATER: Final = {
    "external_channel_migrating": MOVING_S,
    "org_login_required": MOVING_S,
    "request_timeout": BACKOFF_S,
    "service_unavailable": BACKOFF_S,
    "team_added_to_org": MOVING_S,
}
_PARTLY: Final = frozenset({"fatal_error", "internal_error", "update_failed"})
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")


class _Told(msgspec.Struct):
    """What we look at in the body of an answer."""

    ok: bool
    error: str = ""
    ts: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    needed: str | None = None


_told: Final = msgspec.json.Decoder(_Told)


def refuses_token(answer: http_connection.Answer) -> bool:
    """Whether Slack takes no calls with this token; then it certainly did nothing."""
    told = _read(answer)
    return told is not None and told.error in TOKEN_ERRORS


def sent(method: str, answer: http_connection.Answer, now: datetime) -> ports.Sent:
    """What was sent. Raises Rejected, Unavailable or Ambiguous."""
    if 300 <= answer.status < 400:
        hint = "Configure api_url with the address that it redirects to, or leave it out."
        raise errors.Rejected("redirected", f"Slack answered {answer.status}; redirects are not followed", hint=hint)
    told = _read(answer)
    if told is None:
        raise _by_status(answer, now)
    if told.ok and answer.status < 300:
        return ports.Sent("" if told.ts is None or not told.ts.isascii() or "\0" in told.ts else told.ts)
    if told.error and told.error == DONE.get(method):
        return ports.Sent()
    raise _refusal(told, answer, now)


def _read(answer: http_connection.Answer) -> _Told | None:
    try:
        return _told.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _refusal(told: _Told, answer: http_connection.Answer, now: datetime) -> errors.PenstockError:
    error = told.error
    if answer.status == 429 or error in _LIMITED:
        return _limited(answer, now)
    if error in TOKEN_ERRORS:
        hint = "Install the app again, and give the account its new token."
        return errors.Rejected("token_refused", f"Slack takes none of the account's tokens: {error}", hint=hint)
    if error in _LATER:
        after_s = _wait_s(answer, now, _LATER[error])
        return errors.Unavailable("refused_for_now", f"Slack says {error}", after_s=after_s)
    if error in _PARTLY:
        return ports.Ambiguous("platform_failed", f"Slack says {error}: parts of it may have been done")
    if error in REFUSALS:
        needed = f" ({told.needed[:100]})" if error == "missing_scope" and told.needed else ""
        return errors.Rejected(error, f"Slack says {error}: {REFUSALS[error]}{needed}", hint=_HINT)
    if answer.status >= 500:
        return _by_status(answer, now)
    named = error if _CODE.fullmatch(error) else "something unreadable"
    return errors.Rejected("refused", f"Slack says {named}", hint="Its page of the method explains it.")


def _by_status(answer: http_connection.Answer, now: datetime) -> errors.PenstockError:
    """What the status says where the body says nothing."""
    status = answer.status
    if status == 429:
        return _limited(answer, now)
    if status in (408, 503):
        after_s = _wait_s(answer, now, BACKOFF_S)
        return errors.Unavailable("refused_for_now", f"Slack answered {status}", after_s=after_s)
    if status < 300 or status >= 500:
        return ports.Ambiguous("bad_answer", f"Slack answered {status} without saying what became of the call")
    return errors.Rejected("refused", f"Slack answered {status}", hint="Is api_url right?")


def _limited(answer: http_connection.Answer, now: datetime) -> errors.Unavailable:
    after_s = _wait_s(answer, now, LIMITED_S)
    return errors.Unavailable("rate_limited", "Slack takes no more calls for a while", after_s=after_s, throttled=True)


def _wait_s(answer: http_connection.Answer, now: datetime, default_s: float) -> float:
    return retry_after.parse(answer.headers.get("retry-after", ""), now, default_s=default_s)


_HINT: Final = "docs/how-to/channel-slack.md says what to do about it."
