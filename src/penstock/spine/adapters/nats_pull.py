"""Pulling from one consumer: how much to ask for and when, and what the server's status messages mean.

Never more is asked for than fits the window. More is asked for when half of the window is free, or a moment after
nothing is on its way any more, so that a burst costs one request per half window and a trickle is never kept waiting.
Wire format: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.base import errors, tasks
from penstock.spine.adapters import nats_link, nats_policies

EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
SILENCE_S: Final = 2.5 * HEARTBEAT_S
TRICKLE_S: Final = 0.003
RELEASE_TIMEOUT_S: Final = 2.0


class Puller:
    """Asks one consumer for messages and hands them to `take`.

    `take` must not block; `done` tells that one of them needs no room any more. `lost` is told why the consumer does
    not answer (deleted, no server for it, silence); whoever made the puller mends that and calls `start` again.
    """

    def __init__(
        self,
        link: nats_link.Link,
        address: tuple[str, str],
        take: Callable[[Msg], None],
        *,
        window: int,
        lost: Callable[[str], None],
    ) -> None:
        self._link, self._take, self._lost = link, take, lost
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{address[0]}.{address[1]}"
        self._window, self._half = window, max(1, window // 2)
        self._held, self._asked, self._number, self._generation = 0, 0, 0, 0
        self._paused, self._stopped, self._closed = False, True, False
        self._changing = asyncio.Lock()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._heard_at = 0.0
        self._trickle: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._tasks = tasks.Tasks()

    async def start(self) -> None:
        """Listen on a fresh inbox (an old one may still be filled by requests made before) and ask."""
        async with self._changing:
            await self._stop()
            if not self._closed:
                await self._start()

    async def _start(self) -> None:
        self._generation += 1
        generation = self._generation

        async def receive(message: Msg) -> None:
            await self._receive(message, current=generation == self._generation and not self._stopped)

        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._subscription = await nats_link.subscribe(self._link.client, f"{self._inbox}.*", receive)
        self._stopped = False
        self._asked = 0
        self._heard_at = asyncio.get_running_loop().time()
        self._look_again()
        await self._refill()

    async def stop(self) -> None:
        """Ask no more, until `start`; what is still on its way goes back to the server at once."""
        self._stopped = True
        async with self._changing:
            await self._stop()

    async def close(self) -> None:
        """Ask no more, for ever."""
        self._closed = True
        await self.stop()

    async def _stop(self) -> None:
        self._stopped = True
        for timer in (self._trickle, self._watch):
            if timer is not None:
                timer.cancel()
        self._trickle = self._watch = None
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        # What the server had sent already arrives behind `stop_delivery`, and `_receive` gives it back. A connection
        # that is lost meanwhile leaves it to the end of its lease.
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, errors.Unavailable):
            if self._link.ready.is_set():
                async with asyncio.timeout(RELEASE_TIMEOUT_S):
                    await self._link.client.stop_delivery(subscription)
                    await self._link.barrier(RELEASE_TIMEOUT_S)
                    while subscription.pending_msgs:  # noqa: ASYNC110 - its own task empties it, without an event
                        await asyncio.sleep(0)
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    def pause(self) -> None:
        """Ask for nothing more."""
        self._paused = True

    def resume(self) -> None:
        """Ask again."""
        self._paused = False
        self._refill_soon(0)

    async def done(self) -> None:
        """One message that was taken needs no room any more."""
        self._held -= 1
        await self._refill()

    async def _receive(self, message: Msg, *, current: bool) -> None:
        code = nats_link.status(message)
        if not current:
            if not code:
                with contextlib.suppress(errors.Unavailable):
                    await self._link.send(message.reply, b"-NAK")
            return
        self._heard_at = asyncio.get_running_loop().time()
        if code:
            self._told(code, message.headers or {})
        else:
            self._asked = max(0, self._asked - 1)
            self._held += 1
            self._take(message)
        await self._refill()

    def _told(self, code: str, headers: dict[str, str]) -> None:
        """A status: 100 is a heartbeat; others end a request and say how many messages it still waited for."""
        if code == "100":
            return
        unserved = headers.get("Nats-Pending-Messages", "")
        if unserved.isdigit():
            self._asked = max(0, self._asked - int(unserved))
            return
        self._give_up(f"{code} {headers.get('Description', '').strip()}")

    def _give_up(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            self._lost(reason)

    async def _refill(self) -> None:
        if self._stopped or self._paused or not self._link.ready.is_set():
            return
        free = self._window - self._held - self._asked
        if free <= 0:
            return
        if free < self._half:
            if self._asked == 0:
                self._refill_soon(TRICKLE_S)
            return
        await self._ask(free)

    def _refill_soon(self, delay_s: float) -> None:
        if self._trickle is None:
            self._trickle = asyncio.get_running_loop().call_later(delay_s, self._ask_for_the_rest)

    def _ask_for_the_rest(self) -> None:
        self._trickle = None
        free = self._window - self._held - self._asked
        if free > 0 and not self._stopped and not self._paused and self._link.ready.is_set():
            self._tasks.once("pull", self._ask(free))

    async def _ask(self, batch: int) -> None:
        self._asked += batch
        self._number += 1
        request: dict[str, Any] = {
            "batch": batch,
            "expires": nats_policies.nanoseconds(EXPIRES_S),
            "idle_heartbeat": nats_policies.nanoseconds(HEARTBEAT_S),
        }
        with contextlib.suppress(errors.Unavailable):
            await self._link.send(self._subject, msgspec.json.encode(request), reply=f"{self._inbox}.{self._number}")

    def _look_again(self) -> None:
        """Every heartbeat: requests that hear nothing, not even heartbeats, were lost."""
        loop = asyncio.get_running_loop()
        if self._asked and self._link.ready.is_set() and loop.time() - self._heard_at > SILENCE_S:
            self._give_up("silence")
            return
        self._watch = loop.call_later(HEARTBEAT_S, self._look_again)
