"""Time is handed in, so that a test owns it.

Two clocks are kept apart: the wall clock (what people and other machines call now) and the monotonic clock (how long
something took). A clock that jumps must never make a lease expire early.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What code asks of time."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` seconds of monotonic time."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The machine's wall-clock time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The machine's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(delay_s)


class ManualClock:
    """A clock that moves only when a test says so; sleepers wake in the order of their deadlines."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The start plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until a test has advanced the clock past the deadline."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed_s + delay_s, future))
        await future

    async def advance(self, delay_s: float) -> None:
        """Let tasks just started reach their wait, move time, and let everybody due run in order of deadline."""
        await _settle()
        target = self._elapsed_s + delay_s
        while due := sorted((s for s in self._sleepers if s[0] <= target), key=lambda s: s[0]):
            deadline, future = due[0]
            self._sleepers.remove(due[0])
            self._elapsed_s = max(self._elapsed_s, deadline)
            if not future.done():
                future.set_result(None)
            await _settle()
        self._elapsed_s = target
        await _settle()


async def _settle(turns: int = 20) -> None:
    """Give tasks woken just now a bounded number of turns of the loop to reach their next wait."""
    for _ in range(turns):
        await asyncio.sleep(0)
