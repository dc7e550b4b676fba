"""Callbacks at moments of the clock that was handed in, so that a test with a manual clock decides when leases end."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable

from penstock.base import clock as clocks


class Alarm:
    """Calls back when its clock has passed a moment. One task sleeps at a time, and only while somebody waits."""

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._ringing = False

    def at(self, moment_s: float, call: Callable[[], None]) -> None:
        """Call `call` once the monotonic clock reads `moment_s`; at once, but not from here, when it already does."""
        heapq.heappush(self._entries, (moment_s, next(self._numbers), call))
        if self._ringing or (self._task is not None and self._entries[0][0] < moment_s):
            return
        self.stop()
        self._task = asyncio.get_running_loop().create_task(self._ring(), name="memory spine alarm")

    def stop(self) -> None:
        """Let the sleeping task go; entries stay and a later `at` wakes them."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ring(self) -> None:
        while self._entries:
            wait_s = self._entries[0][0] - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                continue
            _, _, call = heapq.heappop(self._entries)
            self._ringing = True
            try:
                call()
            finally:
                self._ringing = False
        self._task = None


async def wait_for(event: asyncio.Event, clock: clocks.Clock, timeout_s: float) -> bool:
    """Wait until the event is set, at most `timeout_s` of `clock`; whether it was."""
    if event.is_set():
        return True
    loop = asyncio.get_running_loop()
    waiters = [loop.create_task(event.wait()), loop.create_task(clock.sleep(timeout_s))]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiter
    return event.is_set()
