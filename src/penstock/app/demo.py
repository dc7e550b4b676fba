"""The demonstration: two tenants on every channel, real signatures, a realistic conversation through every layer.

Everything lives in a temporary folder and is gone afterwards. The platforms are simulators on loopback that check every
byte they are sent; the app is `examples/echo`, run as its own process as a user would run it. What was said and what
came back is counted by channel, and what is missing, doubled or out of order.
"""

import asyncio
import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from penstock.app import apps, configuration, examples, house, up
from penstock.channels.testing import simulator as simulated
from penstock.channels.testing import simulators

TENANTS: Final = ("acme", "globex")
AT_ONCE: Final = 16
ANSWER_S: Final = 20.0
DUPLICATES: Final = "penstock_inbound_duplicates_total"
CHANGES: Final = ("edit", "react", "attach", "delete")
"""What people do in a conversation besides saying something twice, where their platform lets them."""

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """What went in and came out on one channel, for both tenants."""

    messages_in: int
    replies_out: int


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What the demonstration counted; latencies in milliseconds from posting a webhook to the answer's arrival."""

    channels: Mapping[str, Counted]
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

    def __init__(self, simulator: simulated.Simulator, name: str) -> None:
        self.simulator, self._name = simulator, name
        self.length = 2 + sum(change in simulator.abilities for change in CHANGES)
        self.expected: list[str] = []
        self.latencies_s: list[float] = []
        self.sent = 0
        self.duplicates = 0

    async def hold(self, told: Callable[[], None]) -> None:
        """Say, answer, change, react, send a file, take back, as far as people here can; one delivery is repeated."""
        platform, name = self.simulator, self._name
        first = await self._answered(platform.say(name, f"Hello from {name}"), f"You said: Hello from {name}")
        told()
        self.duplicates += 1
        await platform.repeat(first)
        answering = first.message_id if "reply" in platform.abilities else ""
        second = await self._answered(
            platform.say(name, "Is anybody there?", reply_to=answering), "You said: Is anybody there?"
        )
        told()
        changes: Mapping[str, tuple[Callable[[], Awaitable[simulated.Posted]], str]] = {
            "edit": (
                lambda: platform.edit(name, second.message_id, "Is somebody there?"),
                "Edited: Is somebody there?",
            ),
            "react": (lambda: platform.react(name, first.message_id, "👍"), "Saw 👍"),
            "attach": (lambda: platform.attach(name, "plan.txt", b"one, two, three"), "Got plan.txt"),
            "delete": (lambda: platform.delete(name, second.message_id), "Forgot it"),
        }
        for change in CHANGES:
            if change in platform.abilities:
                do, answer = changes[change]
                await self._answered(do(), answer)
                told()

    async def _answered(self, posting: Awaitable[simulated.Posted], answer: str) -> simulated.Posted:
        """Post, then wait for the app's answer; one that does not come is counted as lost in the end."""
        begun = time.perf_counter()
        posted = await posting
        self.sent += 1
        self.expected.append(answer)
        count = len(self.expected)
        with contextlib.suppress(TimeoutError):
            await self.simulator.until(lambda: len(self.heard()) >= count, timeout_s=ANSWER_S)
            self.latencies_s.append(self.heard()[count - 1].at_s - begun)
        return posted

    def heard(self) -> Sequence[simulated.Heard]:
        """What came back, in order."""
        return self.simulator.heard(self._name)

    def compare(self) -> tuple[int, int, bool]:
        """How many answers never came, how many came too often, and whether those that came are out of order."""
        said = [one.text for one in self.heard()]
        lost, doubled = Counter(self.expected) - Counter(said), Counter(said) - Counter(self.expected)
        wanted = [text for text in self.expected if text in said]
        return lost.total(), doubled.total(), list(dict.fromkeys(said)) != list(dict.fromkeys(wanted))


async def run(conversations: int, progress: Progress) -> Report:
    """Hold the conversations; raises Rejected or Unavailable when the installation cannot start."""
    begun = time.perf_counter()
    with _temporary_folder() as folder:
        environ = _environment(folder)
        settings = configuration.load(environ)
        async with up.running(settings, environ) as installation, contextlib.AsyncExitStack() as stack:
            async with house.of_running_installation(settings) as joined:
                platforms = [one for tenant in TENANTS for one in await _tenant(joined, stack, tenant)]
            echo = examples.path("echo") / "app.py"
            environ = {**installation.environ, "PENSTOCK_TENANT": ",".join(TENANTS)}
            await stack.enter_async_context(apps.running(echo, environ))
            talks = [Talk(platforms[n % len(platforms)], f"ROOM{n}") for n in range(conversations)]
            await _hold(talks, progress)
            suppressed = await _suppressed(installation.endpoints.http_url)
        return _report(talks, platforms, suppressed, time.perf_counter() - begun)


@contextlib.contextmanager
def _temporary_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # root's servers run as another user, who must be able to pass through
        yield folder


def _environment(folder: Path) -> dict[str, str]:
    """The user's environment without their Penstock settings: the demonstration touches nothing of theirs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {
        **kept,
        "PENSTOCK_DATA": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PENSTOCK_TELEMETRY__LOG_LEVEL": "error",
        "PENSTOCK_SDK__LOG_LEVEL": "error",
        "PENSTOCK_SERVERS__STOP_INTAKE_BELOW_BYTES": str(64 << 20),
        "PENSTOCK_SERVERS__RESUME_INTAKE_ABOVE_BYTES": str(96 << 20),
    }


async def _tenant(joined: house.House, stack: contextlib.AsyncExitStack, tenant: str) -> Sequence[simulated.Simulator]:
    """A tenant with an account on each platform, of which it has one of its own."""
    await joined.tenancy.create(tenant)
    platforms: list[simulated.Simulator] = []
    for channel, start in simulators.ALL.items():
        platform = await stack.enter_async_context(start(patience_s=ANSWER_S))
        made = await joined.channels.accounts.create(
            tenant, channel, f"demo {channel}", config=platform.config, secrets=platform.secrets
        )
        platform.connect(joined.webhook_url(made.account))
        platforms.append(platform)
    return platforms


async def _hold(talks: list[Talk], progress: Progress) -> None:
    """All conversations, some at once."""
    turns, told, total = asyncio.Semaphore(AT_ONCE), 0, sum(talk.length for talk in talks)

    def tell() -> None:
        nonlocal told
        told += 1
        progress(told, total)

    async def one(talk: Talk) -> None:
        async with turns:
            await talk.hold(tell)

    await asyncio.gather(*(one(talk) for talk in talks))


async def _suppressed(http_url: str) -> int:
    """How many repeated webhooks the core recognised, from its own metrics."""
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"{http_url}/metrics")).text
    values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(DUPLICATES)]
    return int(sum(map(float, values)))


def _report(talks: list[Talk], platforms: Sequence[simulated.Simulator], suppressed: int, seconds: float) -> Report:
    compared = [talk.compare() for talk in talks]
    latencies = sorted(latency * 1000 for talk in talks for latency in talk.latencies_s) or [0.0, 0.0]
    channels = dict.fromkeys(platform.channel for platform in platforms)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return Report(
        channels={
            channel: _counted([talk for talk in talks if talk.simulator.channel == channel]) for channel in channels
        },
        lost=sum(lost for lost, _, _ in compared),
        doubled=sum(doubled for _, doubled, _ in compared),
        out_of_order=sum(disordered for _, _, disordered in compared),
        duplicates_sent=sum(talk.duplicates for talk in talks),
        duplicates_suppressed=suppressed,
        faults=sum(len(platform.faults) for platform in platforms),
        p50_ms=cuts[49],
        p95_ms=cuts[94],
        p99_ms=cuts[98],
        seconds=seconds,
    )


def _counted(talks: list[Talk]) -> Counted:
    return Counted(sum(talk.sent for talk in talks), sum(len(talk.heard()) for talk in talks))
