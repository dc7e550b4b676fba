"""The trial of the Slack adapter, with a running simulator.

Bodies and the messages expected of them are written here by hand, from https://docs.slack.dev/reference/events.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import slack_delivery, slack_simulator, trial
from penstock.messages.v1 import message_pb2

SECRETS: Final = (
    settings.Secret("0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e"),
    settings.Secret("1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"),
)
"""The live signing secrets of the account under trial, newest first."""

TOKENS: Final = (settings.Secret("xoxb-1000-the-newest-token"), settings.Secret("xoxb-1000-the-older-token"))
"""Its live tokens, newest first."""

_CHANNEL: Final = "C0ROOM1"
_TS: Final = "1772366398.250000"
_TIME: Final = "2026-03-01T11:59:58.25Z"
_TARGET: Final = "1772366300.000100"
_HOW: Final = {
    trial.How.WELL: slack_simulator.Behaviour(),
    trial.How.DOWN: slack_simulator.Behaviour(),
    trial.How.THROTTLED: slack_simulator.Behaviour(
        status=429, error="ratelimited", retry_after=str(int(trial.THROTTLED_S))
    ),
    trial.How.FAILING: slack_simulator.Behaviour(status=503, error="service_unavailable"),
    trial.How.REFUSING: slack_simulator.Behaviour(error="restricted_action"),
    trial.How.SLOW: slack_simulator.Behaviour(delay_s=5.0),
    trial.How.CUT: slack_simulator.Behaviour(cut=True),
}


@contextlib.asynccontextmanager
async def slack(channel: ports.Channel) -> AsyncGenerator[trial.Trial]:
    """The trial of a Slack adapter. It should wait less than 5 s for an answer."""
    secrets, tokens = ([one.reveal() for one in pair] for pair in (SECRETS, TOKENS))
    async with slack_simulator.SlackSimulator(secrets, tokens) as simulator:
        url = simulator.config["api_url"]
        yield trial.Trial(
            channel,
            ports.Account(
                ids.TenantId("acme"), ids.AccountId("acc-1"), ids.ChannelName("slack"), "Acme", simulator.config
            ),
            SECRETS,
            settings.Secret(slack_delivery.WRONG_SECRET),
            requests(),
            _Platform(simulator),
            {
                "an empty URL": {"api_url": ""},
                "plain http": {"api_url": "http://example.org/api"},
                "another scheme": {"api_url": "ftp://example.org/api"},
                "credentials": {"api_url": "https://user:password@example.org/api"},
                "a fragment": {"api_url": "https://example.org/api#x"},
                "a query": {"api_url": "https://example.org/api?x=y"},
                "a line break": {"api_url": "https://example.org/\r\nx: y"},
                "an unknown field": {"api_url": url, "url": url},
            },
            {"resends_recognisably": "Slack's Web API documents no key by which a repeated call would be known"},
            TOKENS,
        )
        await channel.close()
        assert not simulator.faults, f"the simulator was sent what breaks the protocol: {simulator.faults}"


def sign(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """A delivery of this body at that moment."""
    timestamp = str(int(at.timestamp()))
    headers = {
        "content-type": "application/json",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": slack_delivery.signature(secret.reveal(), timestamp, body),
    }
    return ports.WebhookRequest("POST", "/webhooks/slack/acc-1", "", headers, body, at)


def requests() -> trial.Requests:
    """What Slack sends."""
    said = {"type": "message", "channel": _CHANNEL, "user": "U0ANN", "ts": _TS}
    sound = envelope({**said, "text": "MARKER"})
    edit = {"type": "message", "subtype": "message_changed", "channel": _CHANNEL, "ts": _TS}
    reaction = {"type": "reaction_added", "user": "U0ANN", "event_ts": _TS}
    item = {"type": "message", "channel": _CHANNEL, "ts": _TARGET}
    return trial.Requests(
        sign,
        _good(),
        {
            "a notice": envelope({**said, "subtype": "channel_join", "text": "<@U0ANN> has joined the channel"}),
            "another kind of event": envelope({"type": "team_join", "user": {"id": "U0NEW"}}),
            "a preview": envelope(
                {**edit, "message": {**said, "text": "same"}, "previous_message": {**said, "text": "same"}}
            ),
            "too many events": json.dumps({"type": "app_rate_limited", "minute_rate_limited": 1772366400}).encode(),
        },
        {
            **trial.malformations(sound, "MARKER"),
            "no type": json.dumps({"event": said, "event_id": "Ev1"}).encode(),
            "no event": json.dumps({"type": "event_callback", "event_id": "Ev1"}).encode(),
            "no event id": json.dumps({"type": "event_callback", "event": {**said, "text": "x"}}).encode(),
            "an event that is a text": envelope("hello"),
            "no channel": envelope({"type": "message", "user": "U0ANN", "ts": _TS, "text": "x"}),
            "no timestamp": envelope({"type": "message", "user": "U0ANN", "channel": _CHANNEL, "text": "x"}),
            "a strange timestamp": envelope({**said, "ts": "yesterday", "text": "x"}),
            "text is a number": envelope({**said, "text": 5}),
            "text too long": envelope({**said, "text": "x" * 200_001}),
            "an edit of nothing": envelope({**edit, "previous_message": said}),
            "a deletion of nothing": envelope({**edit, "subtype": "message_deleted"}),
            "a reaction to nothing": envelope({**reaction, "reaction": "eyes"}),
            "a reaction without a name": envelope({**reaction, "item": item}),
            "a reaction nowhere": envelope({**reaction, "reaction": "eyes", "item": {"type": "message", "ts": _TS}}),
            "a pin of nothing": envelope({"type": "pin_added", "user": "U0ANN", "channel_id": _CHANNEL}),
            "a file without an id": envelope({**said, "subtype": "file_share", "files": [{"name": "a"}]}),
            "no challenge": json.dumps({"type": "url_verification"}).encode(),
        },
        {
            "an unknown event": envelope({"type": "canvas_dreamt", "anything": [1, {"deep": True}]}),
            "an unknown subtype": envelope({**said, "subtype": "message_dreamt", "text": "x"}),
            "an unknown envelope": json.dumps({"type": "something_new", "data": []}).encode(),
        },
    )


def envelope(event: object, event_id: str = "Ev1") -> bytes:
    """A body with this event."""
    fields = {"type": "event_callback", "event_id": event_id, "team_id": "T0ACME", "event": event}
    installed = {"enterprise_id": None, "team_id": "T0ACME", "user_id": "U0BOT", "is_bot": True}
    return json.dumps({**fields, "authorizations": [installed]}, ensure_ascii=False).encode()


def _good() -> dict[str, trial.Good]:
    """Bodies and the messages in them."""
    said = {"type": "message", "channel": _CHANNEL, "user": "U0ANN", "ts": _TS, "event_ts": _TS}
    old = {"type": "message", "user": "U0ANN", "ts": _TARGET, "text": "helo"}
    item = {"type": "message", "channel": _CHANNEL, "ts": _TARGET}
    hidden = {"type": "message", "hidden": True, "channel": _CHANNEL, "ts": _TS, "previous_message": old}
    file = {
        "id": "F0PLAN",
        "name": "plan.pdf",
        "mimetype": "application/pdf",
        "size": 7,
        "url_private": "https://x.y/f",
    }
    message, reply, attached = (_message(f"{_CHANNEL}/{_TS[:-1]}{number}") for number in range(3))
    for number, one in enumerate((message, reply, attached)):
        one.message_id = f"{_TS[:-1]}{number}"
        one.sent_at.nanos += number * 1000
    message.text, reply.text, attached.text = "1 < 2 & 你好 👋🏽 <@U0BOT>", "yes", ""
    reply.thread = reply.relation.reply.message_id = _TARGET
    attached.attachments.add(
        id="F0PLAN", name="plan.pdf", media_type="application/pdf", size_bytes=7, url="https://x.y/f"
    )
    edit, deletion, reaction, removed, pin = (_message(f"Ev{number}") for number in range(3, 8))
    edit.relation.edit.message_id, edit.text = _TARGET, "hello"
    deletion.relation.deletion.message_id = pin.relation.pin.message_id = _TARGET
    reaction.relation.reaction.message_id, reaction.relation.reaction.name = _TARGET, "👍"
    reaction.attributes["reaction_name"] = "thumbsup"
    removed.relation.reaction_removed.message_id, removed.relation.reaction_removed.name = _TARGET, "party_parrot"
    removed.attributes["reaction_name"] = "party_parrot"
    reacted = {"user": "U0ANN", "item": item, "event_ts": _TS}
    pinned = {"type": "pin_added", "user": "U0ANN", "channel_id": _CHANNEL, "event_ts": _TS}
    return {
        "message": _pair(message, {**said, "text": "1 &lt; 2 &amp; 你好 👋🏽 <@U0BOT>", "new": {"ignored": 1}}),
        "reply": _pair(reply, {**said, "ts": reply.message_id, "text": "yes", "thread_ts": _TARGET}),
        "attachment": _pair(
            attached, {**said, "ts": attached.message_id, "subtype": "file_share", "text": "", "files": [file]}
        ),
        "edit": _pair(edit, {**hidden, "subtype": "message_changed", "message": {**old, "text": "hello"}}),
        "deletion": _pair(deletion, {**hidden, "subtype": "message_deleted", "deleted_ts": _TARGET}),
        "reaction": _pair(reaction, {**reacted, "type": "reaction_added", "reaction": "thumbsup"}),
        "reaction_removed": _pair(removed, {**reacted, "type": "reaction_removed", "reaction": "party_parrot"}),
        "pin": _pair(pin, {**pinned, "item": {"type": "message", "message": old}}),
    }


def _pair(message: message_pb2.Message, event: dict[str, Any]) -> trial.Good:
    return trial.Good(envelope(event, message.event_id if message.event_id.startswith("Ev") else "Ev1"), [message])


def _message(event_id: str) -> message_pb2.Message:
    message = message_pb2.Message(event_id=event_id, conversation=_CHANNEL)
    message.sender.id, message.sender.kind = "U0ANN", message_pb2.SENDER_KIND_PERSON
    message.sent_at.FromJsonString(_TIME)
    message.attributes.update({"team_id": "T0ACME", "bot_user_id": "U0BOT"})
    return message


class _Platform:
    """The simulator as the suite sees it."""

    def __init__(self, simulator: slack_simulator.SlackSimulator) -> None:
        self._simulator = simulator

    async def behave(self, how: trial.How) -> None:
        self._simulator.behave(_HOW[how])
        if how is trial.How.DOWN:
            await self._simulator.refuse_connections()
        else:
            await self._simulator.accept_connections()

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        return [(post.ts, post.seen) for post in self._simulator.workspace.posts(conversation) if post.bot]
