"""What a process holds under lease, that it holds each message once, and what our own clock knows about that lease.

A lease that ran out (the process slept, the connection was away) makes the server deliver again what is still being
handled here, or still waits in its lane. Taken for another message it would be handled twice, behind what came later.
"""

import asyncio
import collections
import dataclasses
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from penstock.base import errors
from penstock.spine import origin, ports

FINISHED_KEPT: Final = 1024
"""Messages remembered that were finished too late to say so."""


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Seconds by a clock that goes on while the machine sleeps, as leases do; where there is none, it stands still."""
    return time.clock_gettime(_CLOCK)


class Pulse:
    """When this process was certainly awake: what arrives after a sleep may have lain in a socket for as long.

    `beat` is called every so often. After a late beat the moment stays where it was until the next one, so that
    nothing read in the first turn after waking counts as fresh.
    """

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._latest_s = self._awake_at_s = now_s()

    @property
    def awake_at_s(self) -> float:
        """The latest moment (monotonic seconds) at which a message now read had not been sent yet, or just so."""
        return self._awake_at_s

    def beat(self) -> None:
        """The event loop turns."""
        beaten_at_s = now_s()
        late = beaten_at_s - self._latest_s > 2 * self.every_s
        self._awake_at_s = self._latest_s if late else beaten_at_s
        self._latest_s = beaten_at_s


@dataclasses.dataclass(slots=True, eq=False)
class Held:
    """A message under lease: since when (monotonic seconds), how often its handler has failed here, and its copies.

    What is said about the message is said about every delivery of it, so that each gives back its room. `key` is its
    lane once it has one; `running` while a handler has it; `dropped` when no handler may have it any more; `epoch` when
    the stream was last known to keep it.
    """

    holding: "Holding"
    delivery: ports.Delivery
    leased_at: float
    failures: int = 0
    copies: list[ports.Delivery] = dataclasses.field(default_factory=list[ports.Delivery])
    key: str = ""
    running: bool = False
    dropped: bool = False
    epoch: tuple[int, int] = (0, 0)

    @property
    def latest(self) -> ports.Delivery:
        """The delivery whose lease counts."""
        return self.copies[-1] if self.copies else self.delivery

    @property
    def lapsed(self) -> bool:
        """The lease has run out, by our own clock: somebody else has the message now, or the server will say so."""
        return now_s() - self.leased_at > self.holding.lease_s

    @property
    def doubtful(self) -> bool:
        """Whether the stream may have become another one since: see `origin`."""
        return self.epoch != self.holding.origin.epoch

    async def is_kept(self) -> bool:
        """Ask whether the stream still has it in its place; if not, nothing is done with it any more.

        Raises Unavailable while nobody can say.
        """
        if self.doubtful:
            await self.holding.verify()
        return not self.dropped

    async def ack(self) -> None:
        """It is done."""
        await self._settle(lambda delivery: delivery.ack())

    async def terminate(self) -> None:
        """It is set aside."""
        await self._settle(lambda delivery: delivery.terminate())

    async def give_back(self) -> None:
        """Somebody else shall have it, at once. What has lapsed, or may be another's, is not ours to give."""
        if not self.lapsed and not self.doubtful:
            await self._each(lambda delivery: delivery.retry(0))

    async def extend(self) -> None:
        """Renew the lease, which is that of the latest delivery."""
        asked_at = now_s()
        await self.latest.extend()
        self.leased_at = max(self.leased_at, asked_at)

    async def _settle(self, say: Callable[[ports.Delivery], Awaitable[None]]) -> None:
        """Once the lease has lapsed another owner counts on the message: it is only remembered that it is done."""
        try:
            if self.doubtful and not await self.is_kept():
                return
        except errors.Unavailable:
            self.holding.finished(self)
            return
        if self.lapsed:
            self.holding.finished(self)
        elif self.copies:
            await self._each(say)
        else:
            await say(self.delivery)

    async def _each(self, say: Callable[[ports.Delivery], Awaitable[None]]) -> None:
        for delivery in (self.delivery, *self.copies):
            await say(delivery)


class Holding:
    """What one process holds of one durable.

    `changed` is called when something was settled or let go, `lapse` by whoever finds that a lease has run out before
    its message was begun.
    """

    def __init__(
        self, lease_s: float, source: origin.Origin, *, changed: Callable[[], None], lapse: Callable[[], None]
    ) -> None:
        self.lease_s, self.origin, self.changed, self.lapse = lease_s, source, changed, lapse
        self._items: set[Held] = set()
        self._latest: dict[int, Held] = {}
        self._verifying = asyncio.Lock()
        self._finished: collections.OrderedDict[tuple[int, datetime], None] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def sequences(self) -> frozenset[int]:
        """The positions of everything held under a lease that has not run out."""
        return frozenset(sequence for sequence, item in self._latest.items() if not (item.lapsed or item.dropped))

    @property
    def items(self) -> list[Held]:
        """Everything held, in the order of the stream."""
        return sorted(self._items, key=lambda item: item.delivery.sequence)

    def add(self, delivery: ports.Delivery, leased_at: float) -> Held | None:
        """Hold a delivery; None when its message is held already, which then has this delivery's lease too.

        A sequence alone does not tell: a stream that was made again counts from 1 again.
        """
        known = self._latest.get(delivery.sequence)
        if known is not None and known.delivery.at == delivery.at:
            known.copies.append(delivery)
            known.leased_at = max(known.leased_at, leased_at)
            known.epoch = self.origin.epoch
            return None
        item = self._latest[delivery.sequence] = Held(self, delivery, leased_at, epoch=self.origin.epoch)
        self._items.add(item)
        return item

    def remove(self, item: Held) -> None:
        """It was settled, or let go."""
        self._items.discard(item)
        if self._latest.get(item.delivery.sequence) is item:
            del self._latest[item.delivery.sequence]
        self.changed()

    def drop(self, item: Held) -> None:
        """Nothing is done with it any more; one that a handler has is let go when that has ended."""
        item.dropped = True
        if not item.running:
            self.remove(item)

    async def verify(self) -> None:
        """Drop what the stream does not keep any more. Raises Unavailable while nobody can say.

        What a stream loses is its end: when it keeps the latest message of an epoch, it keeps all before it.
        """
        async with self._verifying:
            while doubtful := [item for item in self.items if item.doubtful and not item.dropped]:
                epoch, latest = self.origin.epoch, doubtful[-1]
                if not await self.origin.keeps(latest.delivery):
                    self.drop(latest)
                    continue
                known = latest.epoch
                for item in doubtful:
                    if item.epoch == known:
                        item.epoch = epoch

    def older_than(self, age_s: float) -> list[Held]:
        """What was leased, or renewed, that long ago, and has not lapsed."""
        due_s = now_s() - age_s
        return [item for item in self._items if item.leased_at <= due_s and not item.lapsed]

    def finished(self, item: Held) -> None:
        """It is done, and nobody could be told."""
        self._finished[item.delivery.sequence, item.delivery.at] = None
        if len(self._finished) > FINISHED_KEPT:
            self._finished.popitem(last=False)

    def was_finished(self, delivery: ports.Delivery) -> bool:
        """Whether that message was done here before; asked once, because it can be told now."""
        if not self._finished:
            return False
        missing = object()
        return self._finished.pop((delivery.sequence, delivery.at), missing) is not missing
