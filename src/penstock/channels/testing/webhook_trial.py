"""The trials of the channels that speak Standard Webhooks: the generic webhook and the terminal.

Bodies and the messages expected of them are written here by hand, from `docs/reference/webhook-channel.md`.
"""

import contextlib
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import conformance, trial, webhook_sender, webhook_signature, webhook_simulator
from penstock.messages.v1 import message_pb2

SECRETS: Final = (
    settings.Secret("whsec_bmV3ZXN0LW5ld2VzdC1uZXdlc3QtbmV3ZXN0"),
    settings.Secret("whsec_b2xkZXN0LW9sZGVzdC1vbGRlc3Qtb2xkZXN0"),
)
"""The live secrets of the account under trial, newest first."""

_EXCUSED: Final = {"names_what_is_uninteresting": "every type of event that the format knows carries a message"}
_TIME: Final = "2026-03-01T11:59:58.25Z"
_ANN: Final = {"id": "u-1", "display_name": "Ann", "kind": "person"}
_HOW: Final = {
    trial.How.WELL: webhook_simulator.Behaviour(),
    trial.How.DOWN: webhook_simulator.Behaviour(),
    trial.How.THROTTLED: webhook_simulator.Behaviour(status=429, retry_after=str(int(trial.THROTTLED_S))),
    trial.How.FAILING: webhook_simulator.Behaviour(status=500),
    trial.How.REFUSING: webhook_simulator.Behaviour(status=422),
    trial.How.SLOW: webhook_simulator.Behaviour(delay_s=5.0),
    trial.How.CUT: webhook_simulator.Behaviour(cut=True),
}


@contextlib.asynccontextmanager
async def webhook(channel: ports.Channel) -> AsyncGenerator[trial.Trial]:
    """The trial of a webhook adapter with a running simulator. The adapter should wait less than 5 s for an answer."""
    async with webhook_simulator.WebhookSimulator([secret.reveal() for secret in SECRETS]) as simulator:
        url = simulator.url
        yield trial.Trial(
            channel,
            _account("webhook", {"url": url}),
            SECRETS,
            settings.Secret(webhook_sender.WRONG_SECRET),
            requests(),
            _Platform(simulator),
            {
                "no URL": {},
                "an empty URL": {"url": ""},
                "plain http": {"url": "http://example.org/hook"},
                "another scheme": {"url": "ftp://example.org/hook"},
                "credentials": {"url": "https://user:password@example.org/hook"},
                "a line break": {"url": "https://example.org/\r\nx: y"},
                "an unknown field": {"url": url, "ulr": url},
            },
            _EXCUSED,
        )
        await channel.close()
        assert not simulator.faults, f"the simulator was sent what breaks the protocol: {simulator.faults}"


def terminal(channel: ports.Channel) -> trial.Trial:
    """The trial of the terminal adapter."""
    calls_nobody = "a terminal reads what was sent from our own rows, so there is no platform to call"
    return trial.Trial(
        channel,
        _account("terminal", {}),
        SECRETS,
        settings.Secret(webhook_sender.WRONG_SECRET),
        requests(),
        None,
        {"an unknown field": {"url": "https://example.org"}},
        {**_EXCUSED, **dict.fromkeys(conformance.SENDING, calls_nobody)},
    )


def sign(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """A delivery of this body; the same body has the same webhook-id, as if it were delivered again."""
    webhook_id, timestamp = f"hook-{hashlib.sha256(body).hexdigest()[:20]}", str(int(at.timestamp()))
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": webhook_signature.signature(
            webhook_signature.key_from(secret.reveal()), webhook_id, timestamp, body
        ),
    }
    return ports.WebhookRequest("POST", "/webhooks/webhook/acc-1", "", headers, body, at)


def requests() -> trial.Requests:
    """What a platform that speaks Standard Webhooks sends."""
    sound = _event("message.created", "evt-1", {"message_id": "m-1", "text": "MARKER", "sender": _ANN})
    return trial.Requests(
        sign,
        _good(),
        {},
        {
            **trial.malformations(sound, "MARKER"),
            "no conversation": _body(type="message.created", id="e", data={"message_id": "m", "sender": _ANN}),
            "no sender": _event("message.created", "e", {"message_id": "m", "text": "hello"}),
            "no target": _event("message.edited", "e", {"text": "hello", "sender": _ANN}),
            "no data": _body(type="message.created", id="e"),
            "no type": _body(id="e", data={}),
            "no events": _body(events=[]),
            "both forms": _body(type="message.created", events=[{"type": "message.created"}]),
            "text is a number": _event("message.created", "e", {"message_id": "m", "text": 5, "sender": _ANN}),
            "text too long": _event("message.created", "e", {"message_id": "m", "text": "x" * 40_001, "sender": _ANN}),
            "an id too long": _event("message.created", "e" * 257, {"message_id": "m", "text": "x", "sender": _ANN}),
            "a file without URL": _event(
                "message.created", "e", {"message_id": "m", "sender": _ANN, "attachments": [{"name": "a"}]}
            ),
            "time without a zone": _body(type="message.created", id="e", timestamp="2026-03-01T12:00:00", data={}),
            "the same id twice": _body(events=[json.loads(sound), json.loads(sound)]),
        },
        {
            "an unknown type": _event("call.started", "evt-90", {"anything": [1, {"deep": True}]}),
            "an unknown type in a batch": _body(events=[json.loads(_event("call.ended", "evt-91", {}))]),
            "an unknown type twice": _body(
                events=[{"type": "call.held", "id": "evt-92"}, {"type": "call.held", "id": "evt-92"}]
            ),
            "an unknown type without an id": _body(type="call.forgotten", data={"anything": None}),
        },
    )


def _good() -> dict[str, trial.Good]:
    """Bodies and the messages in them."""
    target = {"message_id": "m-1", "sender": _ANN}
    file = {"id": "f-1", "name": "plan.pdf", "media_type": "application/pdf", "size_bytes": 7, "url": "https://x.y/f"}
    first, second, last = _message("evt-1"), _message("evt-2"), _message("evt-3")
    first.message_id, first.text = "m-1", "hello, Grüße, 你好 👋🏽"
    second.message_id, second.text, second.relation.reply.message_id = "m-2", "yes", "m-1"
    second.thread = "t-1"
    last.relation.edit.message_id, last.text = "m-1", "hello again"
    deletion, reaction, removed, pin = (_message(f"evt-{number}") for number in (4, 5, 6, 7))
    deletion.relation.deletion.message_id = "m-1"
    reaction.relation.reaction.message_id, reaction.relation.reaction.name = "m-1", "👍"
    removed.relation.reaction_removed.message_id, removed.relation.reaction_removed.name = "m-1", "👍"
    pin.relation.pin.message_id = "m-1"
    pin.ClearField("sender")
    attached = _message("evt-8")
    attached.message_id = "m-8"
    attached.attachments.add(**file)
    attached.attributes["colour"] = "blue"
    files = {"message_id": "m-8", "sender": _ANN, "attachments": [file], "attributes": {"colour": "blue"}}
    reply = {"message_id": "m-2", "text": "yes", "reply_to": "m-1", "thread": "t-1", "sender": _ANN}
    return {
        "message": _pair("message.created", first, {**target, "text": first.text, "new_field": {"ignored": 1}}),
        "reply": _pair("message.created", second, reply),
        "edit": _pair("message.edited", last, {**target, "text": "hello again"}),
        "deletion": _pair("message.deleted", deletion, target),
        "reaction": _pair("reaction.added", reaction, {**target, "reaction": "👍"}),
        "reaction_removed": _pair("reaction.removed", removed, {**target, "reaction": "👍"}),
        "pin": _pair("message.pinned", pin, {"message_id": "m-1"}),
        "attachment": _pair("message.created", attached, files),
        "batch": _batch(),
    }


def _batch() -> trial.Good:
    """Three events: one with an id of its own, one that takes the delivery's, and one that is not known."""
    data = {"conversation": "room-1", "message_id": "m-9", "text": "hello", "sender": _ANN}
    events: list[dict[str, Any]] = [
        {"type": "message.created", "id": "evt-9", "timestamp": _TIME, "data": data},
        {"type": "message.edited", "timestamp": _TIME, "data": data},
        {"type": "call.started", "data": {}},
    ]
    body = _body(events=events)
    said, edited = _message("evt-9"), _message(f"{sign(body, SECRETS[0], trial.NOW).headers['webhook-id']}.1")
    said.message_id, said.text, edited.text, edited.relation.edit.message_id = "m-9", "hello", "hello", "m-9"
    return trial.Good(body, [said, edited])


def _pair(kind: str, message: message_pb2.Message, data: Mapping[str, Any]) -> trial.Good:
    return trial.Good(_event(kind, message.event_id, data), [message])


def _event(kind: str, event_id: str, data: Mapping[str, Any]) -> bytes:
    return _body(type=kind, id=event_id, timestamp=_TIME, data={"conversation": "room-1", **data})


def _body(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _message(event_id: str) -> message_pb2.Message:
    message = message_pb2.Message(event_id=event_id, conversation="room-1")
    message.sender.id, message.sender.display_name = "u-1", "Ann"
    message.sender.kind = message_pb2.SENDER_KIND_PERSON
    message.sent_at.FromJsonString(_TIME)
    return message


def _account(channel: str, config: Mapping[str, str]) -> ports.Account:
    return ports.Account(ids.TenantId("acme"), ids.AccountId("acc-1"), ids.ChannelName(channel), "Acme", config)


class _Platform:
    """The simulator as the suite sees it."""

    def __init__(self, simulator: webhook_simulator.WebhookSimulator) -> None:
        self._simulator = simulator

    async def behave(self, how: trial.How) -> None:
        self._simulator.behave(_HOW[how])
        if how is trial.How.DOWN:
            await self._simulator.refuse_connections()
        else:
            await self._simulator.accept_connections()

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        return [(said.message_id, said.text) for said in self._simulator.conversation(conversation)]
