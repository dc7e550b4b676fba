"""Core NATS in memory: signals go to whoever listens now, one member of each queue, one at a time per listener."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable

from penstock.base import telemetry
from penstock.spine import ports, stream

_log = telemetry.logger("spine.memory")


class MemoryListener:
    """One subscription on core NATS, with a task of its own that calls `receive` for one signal after the other."""

    def __init__(
        self, exchange: "Exchange", pattern: str, receive: Callable[[ports.Signal], Awaitable[None]], queue: str
    ) -> None:
        self.pattern, self.queue = pattern, queue
        self._exchange, self._receive = exchange, receive
        self._waiting: asyncio.Queue[ports.Signal] = asyncio.Queue()
        self._paused = False
        self.online = True
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"listener {pattern}")

    def offer(self, signal: ports.Signal) -> None:
        """Take a signal; paused or offline, it is lost, as core NATS promises."""
        if self.online and not self._paused:
            self._waiting.put_nowait(signal)

    async def _run(self) -> None:
        while True:
            signal = await self._waiting.get()
            try:
                await self._receive(signal)
            except Exception as error:  # noqa: BLE001 - one bad signal must not end the listener
                _log.error("listener failed", pattern=self.pattern, exc_info=error)

    def pause(self) -> None:
        """Let signals pass by."""
        self._paused = True

    def resume(self) -> None:
        """Listen again."""
        self._paused = False

    async def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(ValueError):
            self._exchange.listeners.remove(self)
        if self._task is not asyncio.current_task():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


class Exchange:
    """All listeners of one in-memory server."""

    def __init__(self) -> None:
        self.listeners: list[MemoryListener] = []
        self._replies: dict[str, asyncio.Future[ports.Signal]] = {}
        self._turn = itertools.count()

    def listen(self, pattern: str, receive: Callable[[ports.Signal], Awaitable[None]], queue: str) -> MemoryListener:
        """Add a listener."""
        listener = MemoryListener(self, pattern, receive, queue)
        self.listeners.append(listener)
        return listener

    def expect_reply(self) -> tuple[str, asyncio.Future[ports.Signal]]:
        """An inbox for one answer, and the future of that answer."""
        inbox = f"_INBOX.memory.{next(self._turn)}"
        future = self._replies[inbox] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._replies.pop(inbox, None))
        return inbox, future

    def deliver(self, signal: ports.Signal) -> int:
        """Hand a signal to everybody who listens; returns how many that were."""
        waiting = self._replies.get(signal.subject)
        if waiting is not None and not waiting.done():
            waiting.set_result(signal)
            return 1
        interested = [li for li in self.listeners if li.online and stream.covers(li.pattern, signal.subject)]
        queues: dict[str, list[MemoryListener]] = {}
        for listener in interested:
            if listener.queue:
                queues.setdefault(listener.queue, []).append(listener)
            else:
                listener.offer(signal)
        for members in queues.values():
            members[next(self._turn) % len(members)].offer(signal)
        return len(interested)
