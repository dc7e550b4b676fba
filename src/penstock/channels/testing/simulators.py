"""Every platform that can be simulated, by its channel's slug: who talks on all of them at once starts here."""

from collections.abc import Mapping
from typing import Final, Protocol

from penstock.channels.testing import cliq_simulator, simulator, slack_simulator, telegram_simulator, webhook_simulator


class Starts(Protocol):
    """Makes a simulator with secrets of its own."""

    def __call__(self, *, patience_s: float = 0.0) -> simulator.Simulator:
        """`patience_s`: for how long an event that got no answer is posted again, as platforms do."""
        ...


ALL: Final[Mapping[str, Starts]] = {
    "webhook": webhook_simulator.WebhookSimulator,
    "slack": slack_simulator.SlackSimulator,
    "telegram": telegram_simulator.TelegramSimulator,
    "cliq": cliq_simulator.CliqSimulator,
}
