"""The trial of the Zoho Cliq adapter, with a running simulator.

Bodies and the messages expected of them are written here by hand, from the pages of the handlers below
https://www.zoho.com/cliq/help/platform/bot-handlers.html and the samples of Zoho's `zcatalyst-cli`.
"""

import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import cliq_sender, cliq_simulator, trial
from penstock.messages.v1 import message_pb2

SECRETS: Final = (
    settings.Secret("newest-secret-newest-secret"),
    settings.Secret("oldest-secret-oldest-secret"),
)
"""The live signing secrets of the account under trial, newest first."""

TOKENS: Final = (settings.Secret("1000.newest0000newest.0000"), settings.Secret("1000.oldest0000oldest.0000"))
"""Its live tokens, newest first."""

_NO_TIME: Final = "no time is signed: a repetition is told by the id of its event, however late"
_NO_REACTIONS: Final = "Cliq tells bots of no reactions"
EXCUSED: Final = {
    "refuses_stale": _NO_TIME,
    "refuses_future": _NO_TIME,
    "reads_reactions": _NO_REACTIONS,
    "reads_removed_reactions": _NO_REACTIONS,
    "reads_pins": "Cliq tells bots of no pins",
    "resends_recognisably": "Cliq's REST API documents no key by which a repeated call would be known",
}
"""Promises that nobody can keep on Cliq, and why."""

_TIME: Final = 1772366398250
_CHAT: Final = "CT_2230000000000000017_60010101"
_DIRECT: Final = "CT_2230000000000000042_60010101-B2"
_THREAD: Final = f"{_CHAT}-T-2230000000000000099"
_ANN: Final = {"id": "71000001", "first_name": "Ann", "last_name": "Reuß", "email": "ann@garden.example"}
_CHANNEL: Final = {"id": _CHAT, "type": "channel", "title": "#Garden", "channel_unique_name": "garden"}
_NETWORK: Final = {"type": "company", "id": "60010101"}
_HOW: Final = {
    trial.How.WELL: cliq_simulator.Behaviour(),
    trial.How.DOWN: cliq_simulator.Behaviour(),
    trial.How.THROTTLED: cliq_simulator.Behaviour(
        429, {"message": "Too many requests within a certain time frame."}, str(int(trial.THROTTLED_S))
    ),
    trial.How.FAILING: cliq_simulator.Behaviour(500, {"message": "Cliq server encountered an error."}),
    trial.How.REFUSING: cliq_simulator.Behaviour(403, {"code": "access_denied", "message": "You may not."}),
    trial.How.SLOW: cliq_simulator.Behaviour(delay_s=5.0),
    trial.How.CUT: cliq_simulator.Behaviour(cut=True),
}


@contextlib.asynccontextmanager
async def cliq(channel: ports.Channel) -> AsyncGenerator[trial.Trial]:
    """The trial of a Cliq adapter. It should wait less than 5 s for an answer."""
    secrets, tokens = ([one.reveal() for one in pair] for pair in (SECRETS, TOKENS))
    async with cliq_simulator.CliqSimulator(secrets, tokens) as simulator:
        names = (f"garden {number}" for number in itertools.count())
        yield trial.Trial(
            channel,
            ports.Account(
                ids.TenantId("acme"), ids.AccountId("acc-1"), ids.ChannelName("cliq"), "Acme", simulator.config
            ),
            SECRETS,
            settings.Secret(cliq_sender.WRONG_SECRET),
            requests(),
            _Platform(simulator),
            {
                "nothing": {},
                "no bot": {"api_url": simulator.config["api_url"]},
                "a bot that is a path": {"bot": "../../accounts"},
                "a bot with a query": {"bot": "garden?x=y"},
                "an empty URL": {"bot": "gardenbot", "api_url": ""},
                "plain http": {"bot": "gardenbot", "api_url": "http://cliq.example/api/v2"},
                "credentials": {"bot": "gardenbot", "api_url": "https://user:password@cliq.example/api/v2"},
                "a query": {"bot": "gardenbot", "api_url": "https://cliq.example/api/v2?zapikey="},
                "an owner by name": {"bot": "gardenbot", "owner": "ann"},
                "another kind of token": {"bot": "gardenbot", "token_kind": "basic"},
                "an unknown field": {"bot": "gardenbot", "url": "https://cliq.example"},
            },
            EXCUSED,
            TOKENS,
            lambda: simulator.platform.chat(next(names)).conversation,
        )
        await channel.close()
        assert not simulator.faults, f"the simulator was sent what breaks the documentation: {simulator.faults}"


def sign(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """What a bot's handler posts at that moment."""
    headers = {
        "content-type": "application/json",
        "x-cliq-signature": cliq_sender.signature(secret.reveal(), body, encoding="hex"),
    }
    return ports.WebhookRequest("POST", "/webhooks/cliq/acc-1", "", headers, body, at)


def requests() -> trial.Requests:
    """What a bot's handlers post."""
    sound = _direct("MARKER", 90)
    return trial.Requests(
        sign,
        _good(),
        {
            "somebody subscribed": event("welcome_handler", {"user": _ANN, "newuser": True}),
            "an operation": _channel("added", {"message": {"type": "text", "text": "Hi"}, "time": _TIME}),
            "a thread": _channel("thread_closed", {"time": _TIME}),
        },
        {
            **trial.malformations(sound, "MARKER"),
            "no handler": json.dumps({"params": {"chat": _CHANNEL}, "timestamp": _TIME}).encode(),
            "a handler that is a text": json.dumps({"handler": "message_handler", "params": {}}).encode(),
            "no params": json.dumps({"handler": {"type": "message_handler"}, "timestamp": _TIME}).encode(),
            "params that are a list": event("message_handler", []),
            "no chat": event("message_handler", {"message": "x", "user": _ANN}),
            "a chat without an id": event("mention_handler", {"message": {"text": "x"}, "chat": {"type": "channel"}}),
            "a chat that is a path": event("message_handler", {"message": "x", "chat": {"id": "../bots"}}),
            "no operation": event("participation_handler", {"chat": _CHANNEL, "user": _ANN}),
            "a user without an id": event("message_handler", {"message": "x", "chat": _CHANNEL, "user": {}}),
            "a message that is a number": event("message_handler", {"message": 5, "chat": _CHANNEL}),
            "a strange id": _channel("message_sent", {"message": {"id": "1/../2", "text": "x"}, "time": _TIME}),
            "a strange time": _channel("message_sent", {"message": {"id": "1_2", "text": "x"}, "time": "yesterday"}),
            "no time": event("message_handler", {"message": "x", "chat": _CHANNEL, "user": _ANN}, timestamp=None),
            "text too long": _direct("x" * 20_001, 91),
            "a file that is a number": event("message_handler", {"chat": _CHANNEL, "message": "", "attachments": [5]}),
        },
        {
            "an unknown handler": event("dream_handler", {"anything": [1, {"deep": True}]}),
            "an unknown operation": _channel("message_dreamt", {"time": _TIME}),
            "a command": event("execution_handler", {"arguments": "the tulips", "chat": _CHANNEL, "user": _ANN}),
            "an edit of nothing that is named": _channel("message_edited", {"message": {"text": "x"}, "time": _TIME}),
        },
    )


def event(handler: str, params: object, *, timestamp: int | None = _TIME) -> bytes:
    """A body of this handler."""
    frame = {"name": "Garden Bot", "unique_name": "gardenbot", "handler": {"type": handler}, "type": "bot"}
    return json.dumps({**frame, "timestamp": timestamp, "params": params}, ensure_ascii=False).encode()


def _good() -> dict[str, trial.Good]:
    """Bodies and the messages in them."""
    said, direct, reply, thread, attached = (_message(number) for number in (10, 11, 12, 13, 14))
    said.text = direct.text = "1 < 2 & 你好 👋🏽 *bold*"
    direct.conversation, direct.event_id = f"{_DIRECT}/71000001", f"{_DIRECT}/{_id(11)}"
    direct.attributes.clear()
    reply.text, reply.relation.reply.message_id = "yes", _id(10)
    thread.text, thread.thread, thread.event_id = "in here", _THREAD, f"{_THREAD}/{_id(13)}"
    attached.text = "the plan"
    attached.attachments.add(id="f379", name="plan.pdf", media_type="application/pdf", size_bytes=7, url="https://x/f")
    edit, deletion = _message(10), _message(10)
    edit.message_id = deletion.message_id = ""
    edit.text, edit.relation.edit.message_id = "1 > 2", _id(10)
    deletion.relation.deletion.message_id = _id(10)
    # Derived of chat, message, moments and text: written down, because they must never change.
    edit.event_id = "edited-c10d7d2f9dc5dda5c0be7c635412e660de19bc93"
    deletion.event_id = "deleted-03d5d5fa508ac5a1bfe06d1159405223110d45ca"
    file = {
        "id": "f379",
        "name": "plan.pdf",
        "type": "application/pdf",
        "dimensions": {"size": 7},
        "url": "https://x/f",
    }
    inner = {"id": _id(13), "type": "text", "text": thread.text}
    place = {"id": _THREAD, "type": "thread", "parent_resource": _CHANNEL}
    return {
        "message": _sent(said, {"text": said.text, "new_field": {"ignored": 1}}),
        "direct": trial.Good(_direct(direct.text, 11), [direct]),
        "reply": _sent(reply, {"text": "yes", "replied_message": {"id": _id(10), "text": "x", "type": "text"}}),
        "thread": trial.Good(_channel("message_sent", {"message": inner, "time": _TIME}, chat=place), [thread]),
        "attachment": _sent(attached, {"type": "file", "content": {"file": file, "comment": "the plan"}}),
        "edit": trial.Good(
            _channel("message_edited", {"message": {"id": _id(10), "text": edit.text}, "time": _TIME}), [edit]
        ),
        "deletion": trial.Good(_channel("message_deleted", {"message": {"id": _id(10)}, "time": _TIME}), [deletion]),
    }


def _id(number: int) -> str:
    return f"{_TIME}_2442038920{number:02}"


def _direct(text: str, number: int) -> bytes:
    """What the bot is told alone: no organisation comes with it."""
    details = {"message": {"type": "text", "text": text}, "time": _TIME}
    access = {"user_id": _ANN["id"], "chat_id": _DIRECT, "message_id": _id(number)}
    said = {"message": "" if text == "MARKER" else text, "message_details": details}
    return event("message_handler", {"access": access, "user": _ANN, "chat": {"id": _DIRECT, "type": "bot"}, **said})


def _channel(operation: str, data: object, *, chat: object = _CHANNEL) -> bytes:
    access = {"user_id": _ANN["id"], "organization": _NETWORK, "chat_id": _CHAT}
    params = {"access": access, "user": _ANN, "chat": chat, "operation": operation, "data": data}
    return event("participation_handler", params)


def _sent(message: message_pb2.Message, said: dict[str, Any]) -> trial.Good:
    data = {"message": {"id": message.message_id, "type": "text", **said}, "time": _TIME}
    return trial.Good(_channel("message_sent", data), [message])


def _message(number: int) -> message_pb2.Message:
    message = message_pb2.Message(event_id=f"{_CHAT}/{_id(number)}", conversation=f"{_CHAT}/#garden")
    message.message_id = _id(number)
    message.sender.id, message.sender.display_name = "71000001", "Ann Reuß"
    message.sender.kind = message_pb2.SENDER_KIND_PERSON
    message.sent_at.FromJsonString("2026-03-01T11:59:58.25Z")
    message.attributes["organization_id"] = "60010101"
    return message


class _Platform:
    """The simulator as the suite sees it."""

    def __init__(self, simulator: cliq_simulator.CliqSimulator) -> None:
        self._simulator = simulator

    async def behave(self, how: trial.How) -> None:
        self._simulator.behave(_HOW[how])
        if how is trial.How.DOWN:
            await self._simulator.refuse_connections()
        else:
            await self._simulator.accept_connections()

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        posts = self._simulator.platform.posts(conversation)
        return [(post.message_id, post.text) for post in posts]
