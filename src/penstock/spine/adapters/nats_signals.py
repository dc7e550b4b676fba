"""Core NATS: listeners that come back after every outage, and signals as they arrive."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.base import telemetry
from penstock.spine import ports
from penstock.spine.adapters import nats_link

BARRIER_S: Final = 5.0

_log = telemetry.logger("spine.nats")


def of(message: Msg) -> ports.Signal:
    """A message of core NATS as a signal."""
    return ports.Signal(message.subject, message.headers or {}, message.data, message.reply)


class NatsListener:
    """One subscription on core NATS; `receive` is called for one signal after the other."""

    def __init__(
        self, link: nats_link.Link, pattern: str, receive: Callable[[ports.Signal], Awaitable[None]], queue: str
    ) -> None:
        self._link, self._pattern, self._receive, self._queue = link, pattern, receive, queue
        self._subscription: Subscription | None = None
        self._paused = False

    async def attach(self) -> None:
        """A connection stands: listen on it. Returns when the server knows."""
        await self._unsubscribe()
        self._subscription = await nats_link.subscribe(self._link.client, self._pattern, self._hear, queue=self._queue)
        await self._link.barrier(BARRIER_S)

    async def detach(self) -> None:
        """The connection is gone."""
        await self._unsubscribe()

    async def _hear(self, message: Msg) -> None:
        if self._paused:
            return
        try:
            await self._receive(of(message))
        except Exception as error:  # noqa: BLE001 - one bad signal must not end the listener
            _log.error("listener failed", pattern=self._pattern, exc_info=error)

    def pause(self) -> None:
        """Let signals pass by."""
        self._paused = True

    def resume(self) -> None:
        """Listen again."""
        self._paused = False

    async def close(self) -> None:
        """Stop listening."""
        self._link.remove(self)
        await self._unsubscribe()

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            # Fails when its client is closed: then it is gone anyway.
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()
