"""Pulling from one consumer: how much to ask for and when, and what the server's status messages mean.

Never more is asked for than fits the window. More is asked for when half of the window is free, or a moment after
nothing is on its way any more, so that a burst costs one request per half window and a trickle is never kept waiting.
Wire format: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final

from penstock.base import errors, tasks
from penstock.spine.plane import delivery, pinning
from penstock.spine.plane.link import Link
from penstock.spine.plane.message import Message
from penstock.spine.plane.subscription import Subscription

EXPIRES_S: Final = 30
HEARTBEAT_S: Final = 5
SILENCE_S: Final = 2.5 * HEARTBEAT_S
TRICKLE_S: Final = 0.003
CONGESTED_S: Final = 0.05
LEAVE_S: Final = 2.0

_HEARTBEAT: Final = "100"
_NOT_THE_OWNER: Final = "423"


class Puller:
    """Asks one consumer for messages and hands them to `take`, with the session that they belong to.

    `take` must not block; `done` tells that one of them needs no room any more. `lost` is told why the consumer does
    not answer (deleted, no server for it, silence); whoever made the puller mends that and calls `start` again. It
    follows the link by itself from one connection to the next, with a fresh inbox each time: an old one may still be
    filled by requests made before. `pin` is how to own a durable that has one owner at a time.
    """

    def __init__(
        self,
        link: Link,
        address: tuple[str, str],
        take: Callable[[Message, int], None],
        *,
        window: int,
        lost: Callable[[str], None],
        pin: pinning.Pin | None = None,
    ) -> None:
        self._link, self._take, self._lost, self._pin = link, take, lost, pin
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{address[0]}.{address[1]}"
        self._request = b'"expires":%d,"idle_heartbeat":%d' % (
            EXPIRES_S * delivery.NANOSECONDS,
            HEARTBEAT_S * delivery.NANOSECONDS,
        )
        self._window, self._half = window, max(1, window // 2)
        self._held = self._asked = self._number = self._void = self._generation = 0
        self._paused, self._stopped, self._closed = False, True, False
        self._session = 0
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._late: list[Message] | None = None
        self._heard_at = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks = tasks.Tasks()
        self._unfollow = (link.on_up(lambda _: self.start()), link.on_down(lambda _: self._forget()))

    def start(self) -> None:
        """Listen on a fresh inbox and ask, as soon as there is a connection."""
        self._leave()
        if self._closed or not self._link.connected:
            return
        self._generation += 1
        self._session += 1
        self._inbox = f"{self._link.inbox}.{secrets.token_hex(8)}"
        self._subscription = self._link.subscribe(f"{self._inbox}.*", self._receiver())
        self._stopped = False
        self._asked, self._void = 0, self._number
        self._heard_at = asyncio.get_running_loop().time()
        self._look_again()
        if self._pin is not None and self._pin.id:
            self._keep_pin()
        self._refill()

    async def close(self) -> None:
        """Ask no more, for ever; what is on its way goes back to the server, and so does the pin."""
        self._closed = True
        for unfollow in self._unfollow:
            unfollow()
        subscription, self._subscription = self._subscription, None
        self._forget()
        if self._pin is not None:
            await self._release(self._pin)
        if subscription is not None:
            await self._give_back(subscription)
        await self._tasks.stop()

    def _forget(self) -> None:
        """Hear nothing more: the connection is gone, and what was on its way comes again when its lease is over."""
        subscription, self._subscription = self._subscription, None
        self._stopped = True
        self._generation += 1
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if subscription is not None:
            subscription.close()

    def _leave(self) -> None:
        """Ask no more here; what is on its way goes back to the server at once."""
        subscription, self._subscription = self._subscription, None
        self._forget()
        if subscription is not None:
            self._tasks.once("pull gives back", self._give_back(subscription))

    async def _release(self, pin: pinning.Pin) -> None:
        # While our server still listens for us: in a cluster the one that hands out may be another, which hears later
        # that nobody does, and what it sends until then is dropped. To an owner that is none any more it sends nothing,
        # and its answer to a last request comes behind all that it sent. What we gave back before would come to us.
        if not pin.id:
            return
        last = pin.keep_request
        late: list[Message] = []
        self._late = late
        await pin.release(self._link, LEAVE_S)
        with contextlib.suppress(errors.PenstockError):
            await self._link.call(self._subject, last, LEAVE_S)
        self._late = None
        for message in late:
            self._send_back(message)

    async def _give_back(self, subscription: Subscription) -> None:
        # What the server had sent already arrives behind `stop_delivery`, and the receiver gives it back. A connection
        # that is lost meanwhile leaves it to the end of its lease.
        subscription.stop_delivery()
        with contextlib.suppress(errors.PenstockError):
            await self._link.barrier(LEAVE_S)
        subscription.close()

    def pause(self) -> None:
        """Ask for nothing more."""
        self._paused = True

    def resume(self) -> None:
        """Ask again."""
        self._paused = False
        self._refill_soon(0.0)

    def done(self) -> None:
        """One delivery needs no room any more."""
        self._held -= 1
        self._refill()

    def _receiver(self) -> Callable[[Message], None]:
        """What hears one inbox. The reply of a message is where it is settled; a status has none."""
        generation, loop_time, pin = self._generation, asyncio.get_running_loop().time, self._pin

        def receive(message: Message) -> None:
            if generation != self._generation:
                self._send_back(message)
                return
            self._heard_at = loop_time()
            if not message.reply:
                self._told(message)
                return
            if pin is not None and pin.mark not in message.block:
                self._pinned(pin, message)
            self._asked -= self._asked > 0
            self._held += 1
            self._take(message, self._session)
            self._refill()

        return receive

    def _send_back(self, message: Message) -> None:
        """A message that came too late for whoever asked for it."""
        if self._late is not None:
            self._late.append(message)
        elif message.reply:
            with contextlib.suppress(errors.PenstockError):
                self._link.publish(message.reply, delivery.NAK)

    def _told(self, message: Message) -> None:
        """A status: 100 is a heartbeat; others end a request and say how many messages it still waited for."""
        code, request = message.status, message.subject[len(self._inbox) + 1 :]
        if code == _HEARTBEAT:
            return
        if request == pinning.KEEP:
            if code == _NOT_THE_OWNER:
                self._unpinned()
            elif code not in pinning.KEPT:
                self._give_up(f"{code} {message.description}")
            return
        if request.isdigit() and int(request) <= self._void:
            return
        if code == _NOT_THE_OWNER:
            self._unpinned()
            return
        unserved = message.headers.get("Nats-Pending-Messages", "")
        if unserved.isdigit():
            self._asked = max(0, self._asked - int(unserved))
            self._refill()
            return
        self._give_up(f"{code} {message.description}")

    def _pinned(self, pin: pinning.Pin, message: Message) -> None:
        """The first message that says so: we own the durable now, and other hands may hold what is older."""
        if pin.take(message.headers.get(delivery.PIN, "")):
            self._session += 1
            self._keep_pin()

    def _unpinned(self) -> None:
        """Another one owns the durable, or nobody. What we asked for as its owner is void: ask as anybody."""
        if self._pin is not None:
            self._pin.lose()
            self._void, self._asked = self._number, 0
            self._cancel("pin")
            self._refill()

    def _keep_pin(self) -> None:
        """Say that we are still there, three times in the time after which the server would not believe it any more.

        Full windows and streams where nothing happens do not matter: this asks for a message that cannot be.
        """
        pin = self._pin
        if pin is not None and pin.id and not self._stopped:
            with contextlib.suppress(errors.PenstockError):
                self._link.publish(self._subject, pin.keep_request, reply=f"{self._inbox}.{pinning.KEEP}")
            self._later("pin", pin.timeout_s / 3, self._keep_pin)

    def _give_up(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            self._lost(reason)

    def _refill(self) -> None:
        free = self._window - self._held - self._asked
        if free <= 0 or self._stopped or self._paused:
            return
        if self._pin is not None and self._asked and not self._pin.id:
            return  # what was asked for as anybody is not served to an owner: never have more than one of that kind
        if free >= self._half:
            self._ask(free)
        elif self._asked == 0:
            self._refill_soon(TRICKLE_S)

    def _refill_soon(self, delay_s: float) -> None:
        if "trickle" not in self._timers:
            self._later("trickle", delay_s, self._ask_for_the_rest)

    def _ask_for_the_rest(self) -> None:
        self._cancel("trickle")
        free = self._window - self._held
        if self._asked or self._stopped or self._paused:
            self._refill()
        elif free > 0:
            self._ask(free)

    def _ask(self, batch: int) -> None:
        self._number += 1
        identity = b"" if self._pin is None else self._pin.identity
        request = b'{"batch":%d,%b%b}' % (batch, self._request, identity)
        try:
            self._link.publish(self._subject, request, reply=f"{self._inbox}.{self._number}")
        except errors.Unavailable:
            self._refill_soon(CONGESTED_S)
        except errors.Rejected as refused:
            self._give_up(refused.detail)
        else:
            self._asked += batch

    def _look_again(self) -> None:
        """Every heartbeat: requests that hear nothing, not even heartbeats, were lost."""
        if self._asked and asyncio.get_running_loop().time() - self._heard_at > SILENCE_S:
            self._give_up("silence")
            return
        self._later("watch", HEARTBEAT_S, self._look_again)

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, call)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
