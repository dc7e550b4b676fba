"""Core NATS: listeners that come back after every outage, each called for one signal after the other.

A listener that does not keep up loses signals, the newest first, as core NATS promises: what it holds is bounded by
count and by bytes.
"""

import asyncio
import collections
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import errors, tasks, telemetry
from penstock.spine import ports
from penstock.spine.plane.link import Link
from penstock.spine.plane.message import Message

WAITING_LIMIT: Final = 16_384
WAITING_LIMIT_BYTES: Final = 16 << 20

_log = telemetry.logger("spine.plane")

dropped = telemetry.counter(
    "penstock_spine_signals_dropped_total",
    meaning="Signals that a listener of this process was too slow to take.",
    remedy="Read the log line 'listener is too slow': its handler blocks, or needs a queue group of several processes.",
)


def signal_of(message: Message) -> ports.Signal:
    """A message of core NATS as a signal."""
    return ports.Signal(message.subject, message.headers, message.body, message.reply)


class Listener:
    """One subscription on core NATS; a `ports.Subscription`."""

    def __init__(
        self, link: Link, pattern: str, receive: Callable[[ports.Signal], Awaitable[None]], queue: str
    ) -> None:
        self._link, self._pattern, self._receive = link, pattern, receive
        self._waiting: collections.deque[Message] = collections.deque()
        self._waiting_bytes = 0
        self._paused = self._told = False
        self._task: asyncio.Task[None] | None = None
        self._subscription = link.subscribe(pattern, self._hear, queue=queue)

    async def established(self, timeout_s: float) -> None:
        """Return when the server knows of it, through outages. Raises Rejected `not_permitted`, Unavailable."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while True:
            try:
                return await self._subscription.established(max(0.0, until - loop.time()))
            except errors.Unavailable:
                await self._link.wait_connected(max(0.0, until - loop.time()))
                if loop.time() >= until:
                    raise

    def _hear(self, message: Message) -> None:
        if self._paused:
            return
        if len(self._waiting) >= WAITING_LIMIT or self._waiting_bytes > WAITING_LIMIT_BYTES:
            dropped.inc()
            if not self._told:
                self._told = True
                _log.warning("listener is too slow", pattern=self._pattern)
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message.block) + len(message.body)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"listener {self._pattern}")

    async def _run(self) -> None:
        """Take what waits, one after the other, until nothing does."""
        while self._waiting:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.block) + len(message.body)
            try:
                await self._receive(signal_of(message))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and tasks.is_told_to_stop():
                    raise
                # One bad signal must not end the listener, nor a cancellation of something that it waited for.
                _log.error("listener failed", pattern=self._pattern, exc_info=error)
        self._task, self._told = None, False

    def pause(self) -> None:
        """Let signals pass by."""
        self._paused = True

    def resume(self) -> None:
        """Listen again."""
        self._paused = False

    async def close(self) -> None:
        """Stop listening; what waits is dropped, and what is being received ends."""
        self._subscription.close()
        self._waiting.clear()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
