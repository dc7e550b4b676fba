"""What a worker holds under lease, and that it holds each message once, however often the server hands it out.

A lease that ran out (the process slept, the connection was away) makes the server deliver again what is still being
handled here, or still waits in its lane. Taken for another message it would be handled twice, behind what came later.
"""

import dataclasses
import time
from collections.abc import Awaitable, Callable

from penstock.spine import ports


@dataclasses.dataclass(slots=True, eq=False)
class Held:
    """A message under lease: since when (monotonic seconds), how often its handler has failed here, and its copies.

    What is said about the message is said about every delivery of it, so that each gives back its room.
    """

    delivery: ports.Delivery
    leased_at: float
    failures: int = 0
    copies: list[ports.Delivery] = dataclasses.field(default_factory=list[ports.Delivery])

    async def ack(self) -> None:
        """It is done."""
        await self._each(lambda delivery: delivery.ack())

    async def terminate(self) -> None:
        """It is set aside."""
        await self._each(lambda delivery: delivery.terminate())

    async def give_back(self) -> None:
        """Somebody else shall have it, at once."""
        await self._each(lambda delivery: delivery.retry(0))

    async def extend(self) -> None:
        """Renew the lease, which is that of the latest delivery."""
        await (self.copies[-1] if self.copies else self.delivery).extend()
        self.leased_at = time.monotonic()

    async def _each(self, say: Callable[[ports.Delivery], Awaitable[None]]) -> None:
        for delivery in (self.delivery, *self.copies):
            await say(delivery)


class Holding:
    """Everything that one worker holds."""

    def __init__(self) -> None:
        self._items: set[Held] = set()
        self._latest: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, delivery: ports.Delivery) -> Held | None:
        """Hold a delivery; None when its message is held already, which then has this delivery's lease too.

        A sequence alone does not tell: a stream that was made again counts from 1 again.
        """
        now_s, known = time.monotonic(), self._latest.get(delivery.sequence)
        if known is not None and known.delivery.at == delivery.at:
            known.copies.append(delivery)
            known.leased_at = now_s
            return None
        item = self._latest[delivery.sequence] = Held(delivery, now_s)
        self._items.add(item)
        return item

    def remove(self, item: Held) -> None:
        """It was settled."""
        self._items.discard(item)
        if self._latest.get(item.delivery.sequence) is item:
            del self._latest[item.delivery.sequence]

    def older_than(self, age_s: float) -> list[Held]:
        """What was leased, or renewed, that long ago."""
        due_s = time.monotonic() - age_s
        return [item for item in self._items if item.leased_at <= due_s]

    def clear(self) -> list[Held]:
        """Hold nothing any more; returns what was held, in the order of the stream."""
        items, self._items = self._items, set()
        self._latest.clear()
        return sorted(items, key=lambda item: item.delivery.sequence)
