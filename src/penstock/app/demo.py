"""The demonstration: two tenants, real signatures, a realistic conversation through every layer, and a count.

Everything lives in a temporary folder and is gone afterwards. The platforms are simulators on loopback that check every
byte they are sent; the app is `examples/echo`, run as its own process as a user would run it.
"""

import asyncio
import dataclasses
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.app import configuration, house, up
from penstock.base import errors
from penstock.channels.testing import webhook_simulator

TENANTS: Final = ("acme", "globex")
AT_ONCE: Final = 16
ANSWER_S: Final = 20.0

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What the demonstration counted; latencies in milliseconds from posting a webhook to the answer's arrival."""

    messages_in: int
    replies_out: int
    lost: int
    doubled: int
    out_of_order: int
    duplicates_sent: int
    duplicates_suppressed: int
    faults: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        kept = self.duplicates_sent == self.duplicates_suppressed
        return kept and not (self.lost or self.doubled or self.out_of_order or self.faults)


class Talk:
    """One conversation of one person with one tenant's app, and what should have come back, in order."""

    def __init__(self, simulator: webhook_simulator.WebhookSimulator, name: str) -> None:
        self._simulator, self._name = simulator, name
        self.expected: list[str] = []
        self.latencies_s: list[float] = []
        self.sent = 0
        self.duplicates = 0

    async def hold(self, told: Callable[[], None]) -> None:
        """Say, answer in a thread, change, react, send a file, take back; one delivery is repeated."""
        simulator, name = self._simulator, self._name
        first = await self._answered(simulator.say(name, f"Hello from {name}"), f"You said: Hello from {name}")
        told()
        self.duplicates += 1
        await simulator.repeat(first)
        second = await self._answered(
            simulator.say(name, "Is anybody there?", thread=first.message_id, reply_to=first.message_id),
            "You said: Is anybody there?",
        )
        told()
        await self._answered(simulator.edit(name, second.message_id, "Is somebody there?"), "Edited: Is somebody there?")
        told()
        await self._answered(simulator.react(name, first.message_id, "👍"), "Saw 👍")
        told()
        await self._answered(simulator.attach(name, "plan.txt", b"one, two, three"), "Got plan.txt")
        told()
        await self._answered(simulator.delete(name, second.message_id), "Forgot it")
        told()

    async def _answered(
        self, posting: "asyncio.Future[webhook_simulator.Posted] | object", answer: str
    ) -> "webhook_simulator.Posted":
        begun = time.perf_counter()
        posted = await posting  # type: ignore[misc]
        self.sent += 1
        self.expected.append(answer)
        count = len(self.expected)
        arrivals = self._simulator.arrivals_in
        try:
            await self._simulator.until(lambda: len(arrivals(self._name)) >= count, timeout_s=ANSWER_S)
        except TimeoutError:
            return posted  # counted as lost at the end
        self.latencies_s.append(arrivals(self._name)[count - 1].at_s - begun)
        return posted
