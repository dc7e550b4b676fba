"""The trial of the Telegram adapter: updates and the messages expected of them, and how the simulator may misbehave.

Updates are written here by hand, from https://core.telegram.org/bots/api#update.
"""

import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import telegram_sender, telegram_simulator, trial
from penstock.messages.v1 import message_pb2

WORDS: Final = (settings.Secret("newest_word-newest_word"), settings.Secret("oldest_word-oldest_word"))
"""The account's live signing secrets, newest first."""

TOKENS: Final = (
    settings.Secret("5550001:newestAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    settings.Secret("5550001:oldestBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"),
)
"""Its live tokens, newest first."""

_NOTHING_SIGNED: Final = "Telegram signs nothing: a request carries a secret word, whatever its body"
_NO_TIME: Final = "Telegram's requests carry no time that is vouched for: a repetition is told by its ids, however late"
EXCUSED: Final = {
    "refuses_tampered_body": _NOTHING_SIGNED,
    "refuses_stale": _NO_TIME,
    "refuses_future": _NO_TIME,
    "reads_deletions": "Telegram does not tell bots of deleted messages",
    "resends_recognisably": "Telegram's methods take no key that a second call could be recognised by",
}
"""Promises that nobody can keep on Telegram, and why."""

_TIME: Final = 1772366398
_ANN: Final = {"id": 101, "is_bot": False, "first_name": "Ann", "last_name": "Reuß"}
_GROUP: Final = {"id": -42, "title": "Garden", "type": "group"}
_HOW: Final = {
    trial.How.WELL: telegram_simulator.Behaviour(),
    trial.How.DOWN: telegram_simulator.Behaviour(),
    trial.How.THROTTLED: telegram_simulator.Behaviour(
        status=429, words="Too Many Requests: retry after 3", retry_after_s=int(trial.THROTTLED_S)
    ),
    trial.How.FAILING: telegram_simulator.Behaviour(status=500, words="Internal Server Error"),
    trial.How.REFUSING: telegram_simulator.Behaviour(status=403, words="Forbidden: bot was blocked by the user"),
    trial.How.SLOW: telegram_simulator.Behaviour(delay_s=5.0),
    trial.How.CUT: telegram_simulator.Behaviour(cut=True),
}


@contextlib.asynccontextmanager
async def telegram(channel: ports.Channel) -> AsyncGenerator[trial.Trial]:
    """The trial with a running simulator. The adapter should wait less than 5 s for an answer."""
    words, tokens = ([secret.reveal() for secret in secrets] for secrets in (WORDS, TOKENS))
    async with telegram_simulator.TelegramSimulator(words, tokens) as simulator:
        names = (f"group {number}" for number in itertools.count())
        config = simulator.config
        yield trial.Trial(
            channel,
            ports.Account(ids.TenantId("acme"), ids.AccountId("acc-1"), channel.name, "Acme", config),
            WORDS,
            settings.Secret(telegram_sender.WRONG_SECRET),
            requests(),
            _Platform(simulator),
            {
                "an empty URL": {"api_url": ""},
                "plain http": {"api_url": "http://api.telegram.example"},
                "a query": {"api_url": "https://api.telegram.example/?token="},
                "credentials": {"api_url": "https://user:password@api.telegram.example"},
                "an unknown field": {"token": TOKENS[0].reveal()},
            },
            EXCUSED,
            TOKENS,
            lambda: str(simulator.platform.chat(next(names)).id),
        )
        await channel.close()
        assert not simulator.faults, f"the simulator was sent what breaks the documentation: {simulator.faults}"


def sign(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """An update's request, as #setwebhook describes it."""
    headers = {"content-type": "application/json", "x-telegram-bot-api-secret-token": secret.reveal()}
    return ports.WebhookRequest("POST", "/webhooks/telegram/acc-1", "", headers, body, at)


def requests() -> trial.Requests:
    """What Telegram sends."""
    sound = _body(90, message=_message(1, text="MARKER"))
    return trial.Requests(
        sign,
        _good(),
        {
            "a button": _body(80, callback_query={"id": "1", "from": _ANN, "chat_instance": "2", "data": "yes"}),
            "somebody joined": _body(81, message=_message(2, new_chat_members=[_ANN])),
        },
        {
            **trial.malformations(sound, "MARKER"),
            "no update_id": json.dumps({"message": _message(1, text="x")}).encode(),
            "nothing but update_id": _body(1),
            "update_id is a text": json.dumps({"update_id": "1", "message": _message(1, text="x")}).encode(),
            "update_id is negative": _body(-1, message=_message(1, text="x")),
            "a message without a chat": _body(1, message={"message_id": 1, "date": _TIME, "text": "x"}),
            "a message without an id": _body(1, message={"chat": _GROUP, "date": _TIME, "text": "x"}),
            "a chat without an id": _body(1, message=_message(1, text="x", chat={"type": "group"})),
            "text is a number": _body(1, message=_message(1, text=5)),
            "text is too long": _body(1, message=_message(1, text="x" * 40_001)),
            "a file without an id": _body(1, message=_message(1, document={"file_name": "a"})),
            "an id beyond 53 bits": _body(1, message=_message(2**60, text="x")),
            "a time before 1970": _body(1, message=_message(1, text="x", date=-1)),
            "a time after the year 9999": _body(1, message=_message(1, text="x", date=2**40)),
            "reactions are a number": _body(1, message_reaction={**_reacted([], []), "new_reaction": 5}),
            "the message is a list": _body(1, message=[]),
        },
        {
            "a kind of update that is new": _body(82, hologram_call={"anything": [1, {"deep": True}]}),
            "a kind of message that is new": _body(83, message=_message(3, hologram={"depth": 3})),
        },
    )


def _good() -> dict[str, trial.Good]:
    """Updates and the messages in them."""
    said, answered = _expected("10/-42/7"), _expected("11/-42/8")
    edited, attached = _expected("12/-42/7"), _expected("17/-42/10")
    said.message_id, said.text = "7", "hello, Grüße, 你好 👋🏽"
    answered.message_id, answered.text, answered.relation.reply.message_id = "8", "yes", "7"
    edited.text, edited.relation.edit.message_id = "hello again", "7"
    reaction, removed, pinned = (_expected(known) for known in ("13/-42/7", "14/-42/7", "15/-42/9"))
    reaction.relation.reaction.message_id, reaction.relation.reaction.name = "7", "👍"
    removed.relation.reaction_removed.message_id, removed.relation.reaction_removed.name = "7", "👍"
    pinned.relation.pin.message_id = "7"
    attached.message_id, attached.text = "10", "the plan"
    attached.attachments.add(id="BQACplan", name="plan.pdf", media_type="application/pdf", size_bytes=7)
    attached.attributes["content"] = "document"
    gone, put = _expected("16/-42/7.0"), _expected("16/-42/7.1")
    gone.relation.reaction_removed.message_id, gone.relation.reaction_removed.name = "7", "👍"
    put.relation.reaction.message_id, put.relation.reaction.name = "7", "🔥"
    file = {"file_id": "BQACplan", "file_name": "plan.pdf", "mime_type": "application/pdf", "file_size": 7}
    answer = _message(8, text="yes", reply_to_message=_message(7, text=said.text))
    return {
        "message": trial.Good(_body(10, message=_message(7, text=said.text, new_field={"ignored": 1})), [said]),
        "reply": trial.Good(_body(11, message=answer), [answered]),
        "edit": trial.Good(
            _body(12, edited_message=_message(7, text=edited.text, date=_TIME - 60, edit_date=_TIME)), [edited]
        ),
        "reaction": trial.Good(_body(13, message_reaction=_reacted([], ["👍"])), [reaction]),
        "reaction_removed": trial.Good(_body(14, message_reaction=_reacted(["👍"], [])), [removed]),
        "pin": trial.Good(_body(15, message=_message(9, pinned_message=_message(7, text="x"))), [pinned]),
        "several reactions": trial.Good(_body(16, message_reaction=_reacted(["👍"], ["🔥"])), [gone, put]),
        "attachment": trial.Good(_body(17, message=_message(10, document=file, caption="the plan")), [attached]),
    }


def _body(update_id: int, **kind: Any) -> bytes:
    return json.dumps({"update_id": update_id, **kind}).encode()


def _message(message_id: int, **fields: Any) -> dict[str, Any]:
    return {"message_id": message_id, "from": _ANN, "chat": _GROUP, "date": _TIME, **fields}


def _reacted(old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    before, after = ([{"type": "emoji", "emoji": emoji} for emoji in emojis] for emojis in (old, new))
    changed = {"old_reaction": before, "new_reaction": after}
    return {"chat": _GROUP, "message_id": 7, "user": _ANN, "date": _TIME, **changed}


def _expected(event_id: str) -> message_pb2.Message:
    message = message_pb2.Message(event_id=event_id, conversation="-42", attributes={"chat_type": "group"})
    message.sender.id, message.sender.display_name = "101", "Ann Reuß"
    message.sender.kind = message_pb2.SENDER_KIND_PERSON
    message.sent_at.seconds = _TIME
    return message


class _Platform:
    """The simulator as the suite sees it."""

    def __init__(self, simulator: telegram_simulator.TelegramSimulator) -> None:
        self._simulator = simulator

    async def behave(self, how: trial.How) -> None:
        self._simulator.behave(_HOW[how])
        if how is trial.How.DOWN:
            await self._simulator.refuse_connections()
        else:
            await self._simulator.accept_connections()

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        return [(str(post.message_id), post.text) for post in self._simulator.conversation(conversation)]
