"""A real server with processes of `range_member`, and what they wrote into their journal."""

import asyncio
import collections
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from penstock.messages.v1 import quarantine_pb2
from penstock.spine import provision, stream
from penstock.spine.adapters import spine_nats
from tests.integration.spine import range_member

REPOSITORY = Path(__file__).parents[3]


class Process:
    """One member as a process of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name, self.process = name, process

    async def says(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode().strip()

    async def ended(self, number: signal.Signals) -> str:
        """Its last words after a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        said = await self.says()
        await self.process.wait()
        return said


class Company:
    """The server, the processes, and what they wrote into their journal."""

    def __init__(self, url: str, spine: spine_nats.NatsSpine, folder: Path) -> None:
        self.url, self.spine, self.journal = url, spine, folder / "journal"
        self.journal.touch()
        self.processes: list[Process] = []
        self.written = 0

    async def join(self, name: str) -> Process:
        made = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.spine.range_member",
            self.url,
            str(self.journal),
            name,
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )
        member = Process(name, made)
        self.processes.append(member)
        assert await member.says() == "ready"
        return member

    async def write(self, count: int, *, pause_s: float = 0.0) -> None:
        for _ in range(count):
            self.written += 1
            await self.spine.publish(range_member.letter(self.written, self.written % 64))
            await asyncio.sleep(pause_s)

    def lines(self) -> list[tuple[str, str, int]]:
        """Who began what of which key, in the order of time."""
        words = [line.split() for line in self.journal.read_text().splitlines()]
        return [(name, key, int(number)) for name, key, number, _ in words if number.isdigit()]

    def count(self, name: str) -> int:
        return sum(1 for who, _, _ in self.lines() if who == name)

    async def until(self, condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.05)

    async def all_arrived(self) -> None:
        await self.until(lambda: len({number for _, _, number in self.lines()}) == self.written)

    async def settled(self) -> None:
        """Nothing waits and nothing is un-acked in any durable."""
        async with asyncio.timeout(30):
            while any(state.waiting or state.held for state in await self.spine.consumer_states("LETTERS")):
                await asyncio.sleep(0.1)

    def assert_ordered(self) -> None:
        first: dict[str, dict[int, None]] = collections.defaultdict(dict)
        for _, key, number in self.lines():
            first[key].setdefault(number)
        assert all(list(numbers) == sorted(numbers) for numbers in first.values())

    async def quarantined(self) -> quarantine_pb2.Quarantined:
        browsed = self.spine.browse("QUARANTINE", "tenant.acme.quarantine.>", after=0)
        async with asyncio.timeout(60), contextlib.aclosing(browsed):
            return quarantine_pb2.Quarantined.FromString((await anext(browsed)).body)

    async def close(self) -> None:
        for member in self.processes:
            if member.process.returncode is None:
                member.process.send_signal(signal.SIGCONT)
                member.process.kill()
                await member.process.wait()


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Company]:
    """Nobody has joined yet."""
    spine = await spine_nats.NatsSpine.connect(url)
    await provision.streams(spine, [range_member.LETTERS, stream.QUARANTINE])
    await provision.durable(spine, range_member.POLICY)
    made = Company(url, spine, folder)
    try:
        yield made
    finally:
        await made.close()
        await spine.close()
