"""The trial of the fake channel: the shortest example of a description, and the suite's own test subject."""

import asyncio
from collections.abc import Sequence
from typing import Final

from penstock.base import errors, ids, settings
from penstock.channels import ports
from penstock.channels.testing import fake_channel, trial
from penstock.messages.v1 import message_pb2

SECRETS: Final = (settings.Secret("the-newest-secret"), settings.Secret("the-older-secret"))

_FAILURES: Final[dict[trial.How, errors.PenstockError]] = {
    trial.How.THROTTLED: errors.Unavailable("slow_down", "too many", after_s=trial.THROTTLED_S, throttled=True),
    trial.How.FAILING: errors.Unavailable("failed", "the platform failed"),
    trial.How.DOWN: errors.Unavailable("down", "the platform is down"),
    trial.How.REFUSING: errors.Rejected("refused", "the platform refused it"),
    trial.How.SLOW: ports.Ambiguous("no_answer", "there was no answer in time"),
    trial.How.CUT: ports.Ambiguous("no_answer", "the connection ended"),
}


def fake(channel: fake_channel.FakeChannel) -> trial.Trial:
    """The trial of a fake channel."""
    account = ports.Account(ids.TenantId("acme"), ids.AccountId("acc-1"), channel.name, "Acme", {})
    return trial.Trial(
        channel,
        account,
        SECRETS,
        settings.Secret("a-stranger-secret"),
        requests(),
        _Platform(channel),
        {"a field that must not be there": {"broken": "yes"}},
    )


def requests() -> trial.Requests:
    """What the fake platform sends."""
    marked = fake_channel.body_of(fake_channel.said("room-1", "MARKER", event_id="e"))
    return trial.Requests(
        fake_channel.signed,
        {name: trial.Good(fake_channel.body_of(message), [message]) for name, message in _messages().items()},
        {"typing": fake_channel.body_of(other=["typing"])},
        trial.malformations(marked, "MARKER"),
        {"a call": fake_channel.body_of(unknown=["call"])},
    )


def _messages() -> dict[str, message_pb2.Message]:
    names = ("message", "reply", "edit", "deletion", "reaction", "reaction_removed", "pin", "attachment")
    found = {name: fake_channel.said("room-1", f"hello, Grüße: {name}", event_id=f"evt-{name}") for name in names}
    found["reply"].relation.reply.message_id = "m-1"
    found["attachment"].attachments.add(id="f-1", name="plan.txt")
    found["reaction"].relation.reaction.name = found["reaction_removed"].relation.reaction_removed.name = "👍"
    for name in ("edit", "deletion", "reaction", "reaction_removed", "pin"):
        getattr(found[name].relation, name).message_id = "m-1"
        found[name].message_id = ""
    return found


class _Platform:
    """The fake channel's list, as the suite sees it."""

    def __init__(self, channel: fake_channel.FakeChannel) -> None:
        self._channel = channel

    async def behave(self, how: trial.How) -> None:
        self._channel.script = [_FAILURES[how]] if how in _FAILURES else []
        self._channel.takes_ambiguous = how in (trial.How.SLOW, trial.How.CUT)
        self._channel.gate.set()
        if how is trial.How.SLOW:
            self._channel.gate.clear()
            asyncio.get_running_loop().call_later(0.2, self._channel.gate.set)

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        taken = [command for command in self._channel.taken if command.conversation == conversation]
        return [(fake_channel.message_id_of(command), command.text) for command in taken]
