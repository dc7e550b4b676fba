"""Reads what Telegram answers to a call, and says what becomes of the command.

Source: https://core.telegram.org/bots/api#making-requests and #responseparameters. Which words come with which refusal
is documented nowhere as a whole; those that matter are taken from the public source of Telegram's own server
(https://github.com/tdlib/telegram-bot-api, Client.cpp). Words that nobody knows are a refusal like any other.
"""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import http_connection, retry_after, telegram_calls

BACKOFF_S: Final = 5.0
"""Seconds to wait when Telegram refuses for now and does not say how long."""

WORDS_LENGTH: Final = 200
"""Characters of Telegram's own words that are told on."""

_UNKNOWN: Final = frozenset({502, 504})  # a gateway speaks for a server that may have taken it
_LATER: Final = frozenset({408, 425, 429})
_CODES: Final = {
    "message is too long": "too_long",
    "caption is too long": "too_long",
    "text is empty": "empty",
    "chat not found": "no_chat",
    "chat_id is empty": "no_chat",
    "upgraded to a supergroup": "chat_moved",
    "message thread not found": "no_thread",
    "message to edit not found": "no_message",
    "message to react not found": "no_message",
    "message_id_invalid": "no_message",
    "message can't be edited": "too_late",
    "message can't be deleted": "too_late",
    "reaction_invalid": "bad_emoji",
    "not enough rights": "no_rights",
    "need administrator rights": "no_rights",
    "http url": "bad_attachment",
    "file identifier": "bad_attachment",
    "file of type": "bad_attachment",
    "web page content": "bad_attachment",
    "bot was blocked": "blocked",
    "user is deactivated": "blocked",
    "can't initiate conversation": "not_started",
    "bot was kicked": "not_in_chat",
    "bot is not a member": "not_in_chat",
    "group chat was deleted": "not_in_chat",
}
"""Stable codes by what stands in Telegram's words, in lower case; the first that fits."""


class _Parameters(msgspec.Struct):
    retry_after: float = 0.0
    migrate_to_chat_id: int = 0


class _Result(msgspec.Struct):
    message_id: int = 0


class _Body(msgspec.Struct):
    ok: bool
    error_code: int = 0
    description: str = ""
    result: _Result | bool | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer of Telegram's. `words` are its own, cut short; `wait_s` 0 when it does not say; `moved_to` a chat."""

    status: int
    is_telegram: bool = True
    words: str = ""
    message_id: str = ""
    wait_s: float = 0.0
    moved_to: int = 0
    is_page: bool = False
    """Whether there is a body, and it begins as no answer of Telegram's does."""

    @property
    def taken(self) -> bool:
        """Whether it did what was asked. The status says so alone: the body may have broken off."""
        return 200 <= self.status < 300

    @property
    def token_refused(self) -> bool:
        """Whether it has no bot with this token (401), or no token could look so (404): nothing was done."""
        return self.is_telegram and self.status in {401, 404}

    def says(self, words: str) -> bool:
        """Whether it refused with these words."""
        return not self.taken and words in self.words.lower()


def read(answer: http_connection.Answer, token: settings.Secret) -> Answer:
    """What an answer says; from whoever is no Telegram, its status alone."""
    try:
        body = _body.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        page = answer.body.strip()[:1] not in {b"", b"{"}
        return Answer(answer.status, is_telegram=False, wait_s=_header_s(answer), is_page=page)
    made = body.result.message_id if isinstance(body.result, _Result) else 0
    wait_s = body.parameters.retry_after or _header_s(answer)
    status = answer.status
    if not body.ok and 200 <= status < 300:
        status = body.error_code or 400  # whoever stands between may have made up the status; "ok" is Telegram's word
    return Answer(
        status,
        words=_shown(body.description, token),
        message_id=str(made) if made else "",
        wait_s=min(retry_after.LONGEST_S, max(0.0, wait_s)),
        moved_to=body.parameters.migrate_to_chat_id,
    )


def instead(asked: telegram_calls.Call, answer: Answer) -> telegram_calls.Call | None:
    """The call that may do what this one could not; Telegram said that nothing was done."""
    if answer.moved_to and not answer.taken:
        return telegram_calls.moved(asked, answer.moved_to)
    if answer.says("there is no text in the message to edit"):
        return telegram_calls.captioned(asked)
    return None


def outcome(asked: telegram_calls.Call, answer: Answer) -> ports.Sent:
    """What was sent. Raises Rejected, Unavailable or Ambiguous when it was not, or when nobody can know."""
    if answer.taken and answer.is_page:
        detail = f"something else than Telegram answered {answer.status}"
        raise ports.Ambiguous("bad_answer", detail, hint="Look at the account's api_url.", after_s=BACKOFF_S)
    if answer.taken or _is_done_already(asked, answer):
        return ports.Sent(answer.message_id or (asked.target if asked.method.startswith("edit") else ""))
    status = answer.status
    if status in _UNKNOWN:
        detail = f"a gateway answered {status} for Telegram"
        raise ports.Ambiguous("gateway_failed", detail, after_s=answer.wait_s or BACKOFF_S)
    if status in _LATER or status >= 500:
        detail = f"Telegram answered {status}"
        wait_s = answer.wait_s or BACKOFF_S
        raise errors.Unavailable("refused_for_now", detail, after_s=wait_s, throttled=status == 429)
    if 300 <= status < 400:
        hint = "Configure the account with the api_url that it redirects to."
        raise errors.Rejected("redirected", f"the API answered {status}; redirects are not followed", hint=hint)
    if not answer.is_telegram:
        hint = "Look at the account's api_url."
        raise errors.Rejected("not_telegram", f"something else than Telegram answered {status}", hint=hint)
    raise errors.Rejected(_code(answer.words), f"Telegram answered {status}: {answer.words}")


def token_refused(tried: Sequence[settings.Secret]) -> errors.Rejected:
    """No live token is one of a bot that Telegram knows."""
    hint = "Ask @BotFather for a token, and add it with 'penstock account secret add'."
    return errors.Rejected("token_refused", f"Telegram knows none of the account's tokens ({len(tried)})", hint=hint)


def _is_done_already(asked: telegram_calls.Call, answer: Answer) -> bool:
    """Whether things are as they should be: when a command comes twice, the second finds what the first one did."""
    if asked.method == "deleteMessage":
        return answer.says("message to delete not found")
    return bool(asked.target) and answer.says("message is not modified")


def _code(words: str) -> str:
    lowered = words.lower()
    return next((code for part, code in _CODES.items() if part in lowered), "refused")


def _header_s(answer: http_connection.Answer) -> float:
    value = answer.headers.get("retry-after", "")
    return retry_after.parse(value, datetime.now(UTC), default_s=BACKOFF_S) if value else 0.0


def _shown(words: str, token: settings.Secret) -> str:
    """Telegram's words, fit for a receipt: no token in them, whatever it may quote, and no control characters."""
    hidden = words.replace(token.reveal(), "***")
    return "".join(character if character.isprintable() else " " for character in hidden)[:WORDS_LENGTH]


_body: Final = msgspec.json.Decoder(_Body)
