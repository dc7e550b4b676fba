"""The trial of the Carrier adapter: what the platform sends, what is in it, and how the platform may misbehave."""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from examples.carrier import carrier_simulator
from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import trial
from penstock.messages.v1 import message_pb2

SIGNING: Final = (settings.Secret("the-newest-signing-secret"), settings.Secret("the-oldest-signing-secret"))
"""The account's live signing secrets, newest first."""

TOKENS: Final = (settings.Secret("the-newest-token-of-the-bot"), settings.Secret("the-oldest-token-of-the-bot"))
"""Its live tokens, newest first."""

_PLAIN: Final = "people on Carrier send plain texts, and can neither change nor take back what they sent"
EXCUSED: Final[dict[str, str]] = {
    "reads_replies": _PLAIN,
    "reads_edits": _PLAIN,
    "reads_deletions": _PLAIN,
    "reads_reactions": _PLAIN,
    "reads_removed_reactions": _PLAIN,
    "reads_pins": _PLAIN,
    "reads_attachments": _PLAIN,
}
"""Promises that nobody can keep on Carrier, and why."""

_AT: Final = 1772366398
_HOW: Final = {
    trial.How.WELL: carrier_simulator.Behaviour(),
    trial.How.DOWN: carrier_simulator.Behaviour(),
    trial.How.THROTTLED: carrier_simulator.Behaviour(429, retry_after=str(int(trial.THROTTLED_S)), taken=False),
    trial.How.FAILING: carrier_simulator.Behaviour(500, taken=False),
    trial.How.REFUSING: carrier_simulator.Behaviour(422, taken=False),
    trial.How.SLOW: carrier_simulator.Behaviour(delay_s=5.0),
    trial.How.CUT: carrier_simulator.Behaviour(cut=True),
}


@contextlib.asynccontextmanager
async def carrier(channel: ports.Channel) -> AsyncGenerator[trial.Trial]:
    """The trial with a running simulator. The adapter should wait less than 5 s for an answer."""
    signing, tokens = ([secret.reveal() for secret in secrets] for secrets in (SIGNING, TOKENS))
    async with carrier_simulator.CarrierSimulator(signing, tokens) as simulator:
        yield trial.Trial(
            channel,
            ports.Account(ids.TenantId("acme"), ids.AccountId("acc-1"), channel.name, "Acme", simulator.config),
            SIGNING,
            settings.Secret("a-secret-of-another-account"),
            requests(),
            _Platform(simulator),
            {
                "no URL": {},
                "plain http": {"api_url": "http://carrier.example"},
                "credentials": {"api_url": "https://user:password@carrier.example"},
                "an unknown field": {**simulator.config, "colour": "red"},
            },
            EXCUSED,
            TOKENS,
        )
        await channel.close()
        if simulator.faults:
            raise AssertionError(f"the simulator was sent what breaks the platform's rules: {simulator.faults}")


def sign(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """The request with this body, as the platform would send it at that moment."""
    signature = carrier_simulator.signature(secret.reveal(), int(at.timestamp()), body)
    headers = {"content-type": "application/json", "carrier-signature": signature}
    return ports.WebhookRequest("POST", "/webhooks/carrier/acc-1", "", headers, body, at)


def requests() -> trial.Requests:
    """What the platform sends."""
    said = message_pb2.Message(event_id="evt-1", conversation="loft", message_id="msg-1", text="hello, Grüße, 你好")
    said.sender.id, said.sender.kind, said.sent_at.seconds = "ann", message_pb2.SENDER_KIND_PERSON, _AT
    return trial.Requests(
        sign,
        {"message": trial.Good(_event("message", text=said.text, new_field={"ignored": 1}), [said])},
        {"somebody types": _event("typing")},
        {
            **trial.malformations(_event("message", text="MARKER"), "MARKER"),
            "no kind": json.dumps({"id": "evt-1"}).encode(),
            "no id": json.dumps({"kind": "message"}).encode(),
            "no room": json.dumps({"kind": "message", "id": "e", "at": _AT, "from": "ann", "message": "m"}).encode(),
            "text is a number": _event("message", text=5),
            "text too long": _event("message", text="x" * 10_001),
        },
        {"a kind that is new": _event("hologram", anything=[1, {"deep": True}])},
    )


def _event(kind: str, **fields: object) -> bytes:
    known = {"kind": kind, "id": "evt-1", "at": _AT, "room": "loft", "from": "ann", "message": "msg-1"}
    return json.dumps({**known, **fields}, ensure_ascii=False).encode()


class _Platform:
    """The simulator as the suite sees it."""

    def __init__(self, simulator: carrier_simulator.CarrierSimulator) -> None:
        self._simulator = simulator

    async def behave(self, how: trial.How) -> None:
        self._simulator.behaviour = _HOW[how]
        await (self._simulator.stop() if how is trial.How.DOWN else self._simulator.start())

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        return [(heard.message_id, heard.text) for heard in self._simulator.heard(conversation)]
