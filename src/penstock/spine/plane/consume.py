"""This process's share of one durable: deliveries handed on as they come, and the durable mended when it is gone."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple

from penstock.base import tasks, telemetry
from penstock.spine import consumer, ports
from penstock.spine.plane import pinning, pull
from penstock.spine.plane.delivery import Delivery
from penstock.spine.plane.link import Link
from penstock.spine.plane.message import Message
from penstock.spine.plane.voice import Keeps, Voice

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 15.0
"""A durable that answered for so long was well: what fails then is a new failure."""

_log = telemetry.logger("spine.plane")

Restore = Callable[[datetime | None], Awaitable[None]]
"""Makes the durable again if somebody deleted it; told when the last message seen was stored."""


class Backing(NamedTuple):
    """What is asked of whoever may do more on the bus: `keeps` of the server itself, unless somebody else answers."""

    restore: Restore
    keeps: Keeps | None = None


class Consumption:
    """A `ports.Subscription`. `group` is the priority group of a durable that has one owner at a time."""

    def __init__(
        self,
        link: Link,
        policy: consumer.ConsumerPolicy,
        receive: Callable[[ports.Delivery], None],
        *,
        window: int,
        backing: Backing,
        group: str,
    ) -> None:
        self._link, self._name, self._receive, self._backing = link, policy.name, receive, backing
        address = (policy.stream, policy.name)
        pin = pinning.Pin(address, group=group, timeout_s=policy.pin_timeout_s) if policy.pin_timeout_s else None
        self._puller = pull.Puller(link, address, self._take, window=window, lost=self._lost, pin=pin)
        self._latest: Delivery | None = None
        self._voices: weakref.WeakSet[Voice] = weakref.WeakSet()
        self._speak()
        self._unfollow = (link.on_down(self._down), link.on_up(self._up))
        self._tasks = tasks.Tasks()
        self._closed = self._recovering = False
        self._attempts = 0
        self._recovered_at = 0.0
        self._puller.start()

    def _take(self, message: Message, session: int) -> None:
        delivery = self._latest = Delivery(message, self._voice, session)
        self._voice.heard(delivery)
        try:
            self._receive(delivery)
        except Exception as error:  # noqa: BLE001 - one receiver's bug must not end the subscription
            _log.error("receiver failed", consumer=self._name, exc_info=error)

    def _down(self, _: int) -> None:
        for voice in self._voices:
            voice.hold()

    def _up(self, _: int) -> None:
        for voice in self._voices:
            voice.prove()
        self._speak()

    def _speak(self) -> None:
        """Deliveries from here on have a voice of their own; older ones keep theirs for as long as they are held."""
        self._voice = Voice(self._link, self._name, self._puller.done, keeps=self._backing.keeps)
        self._voices.add(self._voice)

    def _lost(self, reason: str) -> None:
        if not self._closed and not self._recovering:
            self._recovering = True
            self._tasks.once(f"restore {self._name}", self._recover(reason))

    async def _recover(self, reason: str) -> None:
        """Make sure that the durable exists, then ask again on a fresh inbox; until it works."""
        _log.warning("consumer does not answer", consumer=self._name, reason=reason)
        loop = asyncio.get_running_loop()
        if loop.time() - self._recovered_at > STEADY_S:
            self._attempts = 0
        while True:
            self._attempts += 1
            await asyncio.sleep(tasks.backoff_s(self._attempts, first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S))
            try:
                await self._backing.restore(self._latest.at if self._latest else None)
            except Exception as error:  # noqa: BLE001 - a durable that nobody mends stays silent for ever
                _log.warning("consumer is still away", consumer=self._name, error=f"{error}")
            else:
                break
        self._recovering, self._recovered_at = False, loop.time()
        self._puller.start()

    def pause(self) -> None:
        """Ask for nothing more; what was asked for may still arrive."""
        self._puller.pause()

    def resume(self) -> None:
        """Ask again."""
        self._puller.resume()

    async def close(self) -> None:
        """Stop receiving; what was not handed over goes back at once."""
        self._closed = True
        await self._tasks.stop()
        for unfollow in self._unfollow:
            unfollow()
        for voice in self._voices:
            voice.leave()
        await self._puller.close()
