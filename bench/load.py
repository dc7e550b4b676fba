"""Offers conversations at a fixed rate, whatever comes back, and counts every answer.

Open loop: message number n is due at a fixed moment and its latency counts from that moment, not from when there was
time to send it; so a system that falls behind cannot hide it by being asked more slowly (coordinated omission).
"""

import asyncio
import contextlib
import dataclasses
import statistics
import time
from collections.abc import Sequence

from penstock.channels.testing import webhook_platform, webhook_sender, webhook_simulator


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """One message each `1 / rate_per_s` seconds, in `conversations` that take turns.

    The first `warm_up_s` open connections and fill caches: their answers are waited for and counted, their latencies
    are not looked at. After the last message `drain_s` remain until every answer must have come.
    """

    rate_per_s: float = 500.0
    warm_up_s: float = 2.0
    measured_s: float = 10.0
    conversations: int = 500
    drain_s: float = 30.0

    @property
    def count(self) -> int:
        """Messages in all."""
        return self.warm_up_count + round(self.rate_per_s * self.measured_s)

    @property
    def warm_up_count(self) -> int:
        """Messages of the warm-up."""
        return round(self.rate_per_s * self.warm_up_s)


class Unkept(Exception):
    """A promise was broken under load: a message without an answer, one answered twice, or a fault of protocol."""


def simulator() -> tuple[webhook_simulator.WebhookSimulator, str]:
    """A platform, not yet started, that posts again what was refused, as platforms do; and the secret it shares."""
    secret = webhook_sender.fresh_secret()
    return webhook_simulator.WebhookSimulator([secret], patience_s=20), secret


async def offer(platform: webhook_simulator.WebhookSimulator, load: Load) -> list[float]:
    """Warm up, say everything when it is due, wait for all answers, and return sorted latencies in ms.

    `platform` is connected to what answers `You said: <text>` to every message. Raises Unkept.
    """
    posts = await _say(platform, load, range(load.warm_up_count))
    begin_s = time.perf_counter()
    posts += await _say(platform, load, range(load.warm_up_count, load.count))
    refused = [post.status for post in posts if not post.ok]
    if refused or platform.faults:
        raise Unkept(f"{len(refused)} webhooks not taken (status {refused[:5]}), faults {platform.faults[:5]}")
    return latencies_ms(platform.arrivals, begin_s, load)


async def _say(platform: webhook_simulator.WebhookSimulator, load: Load, numbers: range) -> list[webhook_sender.Posted]:
    """Say these messages, each when it is due, and wait until as many answers have come as messages were ever said."""
    begin_s = time.perf_counter()
    posts: list[asyncio.Task[webhook_sender.Posted]] = []
    for number in numbers:
        ahead_s = begin_s + len(posts) / load.rate_per_s - time.perf_counter()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        posts.append(asyncio.create_task(platform.say(f"room-{number % load.conversations}", text(number))))
    with contextlib.suppress(TimeoutError):  # `latencies_ms` says what is missing
        await platform.until(
            lambda: len(platform.arrivals) - platform.duplicates >= numbers.stop, timeout_s=load.drain_s
        )
    return await asyncio.gather(*posts)


def text(number: int) -> str:
    """What message `number` says."""
    return f"message {number}"


def latencies_ms(arrivals: Sequence[webhook_platform.Arrival], begin_s: float, load: Load) -> list[float]:
    """From when each measured message was due until its answer arrived, in ms, sorted. Raises Unkept.

    `begin_s` is when the first of them was due.
    """
    answered: dict[str, float] = {}
    for arrival in arrivals:
        if not arrival.duplicate and answered.setdefault(arrival.command.text, arrival.at_s) != arrival.at_s:
            raise Unkept(f"answered twice: {arrival.command.text}")
    expected = [f"You said: {text(number)}" for number in range(load.count)]
    if missing := [one for one in expected if one not in answered]:
        raise Unkept(f"{len(missing)} of {load.count} messages have no answer, the first is {missing[0]!r}")
    measured = expected[load.warm_up_count :]
    return sorted((answered[one] - begin_s - place / load.rate_per_s) * 1000 for place, one in enumerate(measured))


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of sorted `values` do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
