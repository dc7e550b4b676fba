"""A durable consumer in memory: leases, redelivery, windows, work shared between subscriptions, or pinned to one."""

import asyncio
import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from penstock.base import clock as clocks
from penstock.spine import consumer, ports
from penstock.spine.adapters import memory_alarm, memory_stream


@dataclasses.dataclass(slots=True)
class Lease:
    """One message handed out: how often, until when (monotonic seconds), and whether somebody holds it now."""

    deliveries: int = 0
    until_s: float = math.inf
    held: bool = False


class MemoryDelivery:
    """One message in the hands of one subscription (None when browsed: nothing to settle)."""

    __slots__ = ("_settled", "_stored", "_subscription", "consumer", "deliveries", "session", "stream")

    def __init__(
        self,
        stored: memory_stream.Stored,
        *,
        stream: str,
        consumer: str = "",
        deliveries: int = 1,
        subscription: "MemorySubscription | None" = None,
    ) -> None:
        self._stored, self._subscription, self._settled = stored, subscription, subscription is None
        self.stream, self.consumer, self.deliveries = stream, consumer, deliveries
        self.session = subscription.session if subscription is not None else 0

    @property
    def subject(self) -> str:
        """The subject it was published under."""
        return self._stored.subject

    @property
    def sequence(self) -> int:
        """Its position in the stream."""
        return self._stored.sequence

    @property
    def at(self) -> datetime:
        """When the stream stored it, in UTC."""
        return self._stored.at

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names as they were sent."""
        return self._stored.headers

    @property
    def body(self) -> bytes:
        """Its body."""
        return self._stored.body

    async def ack(self) -> None:
        """Never deliver it to this consumer again."""
        self._settle(lambda durable: durable.finish(self.sequence))

    async def retry(self, delay_s: float) -> None:
        """Deliver it again after `delay_s`."""
        self._settle(lambda durable: durable.retry(self.sequence, delay_s))

    async def terminate(self) -> None:
        """Never deliver it to this consumer again, although it was not handled."""
        self._settle(lambda durable: durable.finish(self.sequence))

    async def extend(self) -> None:
        """Renew the lease."""
        if self._subscription is not None and not self._settled:
            self._subscription.tell(lambda durable: durable.extend(self.sequence))

    def _settle(self, say: "Callable[[MemoryDurable], None]") -> None:
        if self._subscription is not None and not self._settled:
            self._settled = True
            self._subscription.release(say)


class MemorySubscription:
    """One client's share of a durable: at most `window` deliveries unsettled.

    While `online` says no, nothing is handed over and what is said about deliveries waits for `flush`.
    """

    def __init__(
        self, durable: "MemoryDurable", receive: Callable[[ports.Delivery], None], *, window: int, online: bool
    ) -> None:
        self._durable, self._receive, self._window = durable, receive, window
        self._held = 0
        self._paused, self._closed, self.online = False, False, online
        self._unsaid: list[Callable[[MemoryDurable], None]] = []
        self.session = 1

    @property
    def free(self) -> bool:
        """Whether it may be handed another delivery."""
        return self.online and not self._paused and not self._closed and self._held < self._window

    def hand_over(self, delivery: MemoryDelivery) -> None:
        """Give it a delivery."""
        self._held += 1
        self._receive(delivery)

    def tell(self, say: "Callable[[MemoryDurable], None]") -> None:
        """Say something to the durable, now or once the server is back."""
        if self.online:
            say(self._durable)
        else:
            self._unsaid.append(say)

    def release(self, say: "Callable[[MemoryDurable], None]") -> None:
        """One delivery is settled."""
        self._held -= 1
        self.tell(say)
        self._durable.wake()

    def go_offline(self) -> None:
        """The connection is lost."""
        self.online = False
        self._durable.miss(self)

    def go_online(self) -> None:
        """The connection is back: say what could not be said, then go on."""
        self.session += not self.online
        self.online = True
        unsaid, self._unsaid = self._unsaid, []
        for say in unsaid:
            say(self._durable)
        self._durable.wake()

    def pause(self) -> None:
        """Ask for nothing more."""
        self._paused = True

    def resume(self) -> None:
        """Ask again."""
        self._paused = False
        self._durable.wake()

    async def close(self) -> None:
        """Stop receiving. Nothing is ever under way here: what was not handed over is with the durable."""
        self._closed = True
        with contextlib.suppress(ValueError):
            self._durable.subscriptions.remove(self)
        self._durable.release(self)


class MemoryDurable:
    """One durable consumer of one stream."""

    def __init__(
        self,
        policy: consumer.ConsumerPolicy,
        source: memory_stream.MemoryStream,
        clock: clocks.Clock,
        alarm: memory_alarm.Alarm,
    ) -> None:
        self.policy = policy
        self.subscriptions: collections.deque[MemorySubscription] = collections.deque()
        self._source, self._clock, self._alarm = source, clock, alarm
        self._position = source.last_sequence if policy.deliver_new else 0
        self._leases: dict[int, Lease] = {}
        self._again: collections.deque[int] = collections.deque()
        self._check_at_s = math.inf
        self._woken = False
        self._owner: MemorySubscription | None = None
        self._former: MemorySubscription | None = None

    @property
    def backlog(self) -> tuple[int, int]:
        """How many it has not handed out yet, and how many are un-acked."""
        return sum(1 for _ in self._source.after(self._position, self.policy.filters)), len(self._leases)

    @property
    def floor(self) -> int:
        """The sequence up to which everything is settled."""
        return min(self._leases, default=self._position + 1) - 1

    def begin_behind(self, sequence: int) -> None:
        """Hand out what is behind this sequence, whatever the policy says."""
        self._position = sequence

    def release(self, owner: MemorySubscription | None = None) -> None:
        """Take the pin from whoever has it, or from `owner` if that is who."""
        if self._owner is not None and owner in (None, self._owner):
            self._former, self._owner = self._owner, None
            self.wake()

    def miss(self, subscription: MemorySubscription) -> None:
        """A subscription is silent; as the owner it loses the pin unless it is back in time."""
        if subscription is not self._owner:
            return
        session = subscription.session

        def give_up() -> None:
            if not subscription.online and subscription.session == session:
                self.release(subscription)

        self._alarm.at(self._clock.monotonic() + self.policy.pin_timeout_s, give_up)

    def wake(self) -> None:
        """Hand out what can be, soon: never from inside the call that made it possible."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def finish(self, sequence: int) -> None:
        """Acked or terminated, even late: it is not delivered again."""
        settled = self._leases.pop(sequence, None) is not None
        if settled and self._source.policy.retention == "workqueue":
            self._source.remove(sequence)

    def forget(self, sequences: Iterable[int]) -> None:
        """These messages are no more: whoever holds one has nothing left to settle."""
        for sequence in sequences:
            self._leases.pop(sequence, None)
        self.wake()

    def retry(self, sequence: int, delay_s: float) -> None:
        """Hand it out again after a delay."""
        lease = self._leases.get(sequence)
        if lease is not None and lease.held:
            lease.held = False
            self._lapse_at(lease, self._clock.monotonic() + max(delay_s, 0.0))

    def extend(self, sequence: int) -> None:
        """Count the lease from now."""
        lease = self._leases.get(sequence)
        if lease is not None and lease.held:
            self._lapse_at(lease, self._clock.monotonic() + self.policy.ack_wait_s)

    def _lapse_at(self, lease: Lease, moment_s: float) -> None:
        lease.until_s = moment_s
        if moment_s < self._check_at_s:
            self._check_at_s = moment_s
            self._alarm.at(moment_s, self._check)

    def _check(self) -> None:
        """Take back what is due. One alarm covers all leases: the earliest."""
        now_s = self._clock.monotonic()
        self._check_at_s = math.inf
        for sequence, lease in list(self._leases.items()):
            if lease.until_s > now_s:
                continue
            lease.until_s, lease.held = math.inf, False
            if lease.deliveries >= self.policy.max_deliver > 0:
                del self._leases[sequence]
            else:
                self._again.append(sequence)
        upcoming_s = min((lease.until_s for lease in self._leases.values()), default=math.inf)
        if upcoming_s < math.inf:
            self._check_at_s = upcoming_s
            self._alarm.at(upcoming_s, self._check)
        self.wake()

    def _hand_out(self) -> None:
        self._woken = False
        while (subscription := self._next_free()) is not None and (stored := self._next_message()) is not None:
            lease = self._leases.setdefault(stored.sequence, Lease())
            lease.deliveries += 1
            lease.held = True
            self._lapse_at(lease, self._clock.monotonic() + self.policy.ack_wait_s)
            self._pin(subscription)
            subscription.hand_over(
                MemoryDelivery(
                    stored,
                    stream=self.policy.stream,
                    consumer=self.policy.name,
                    deliveries=lease.deliveries,
                    subscription=subscription,
                )
            )

    def _pin(self, subscription: MemorySubscription) -> None:
        """Who is handed the first message of a durable that nobody owns is its owner from then on."""
        if self.policy.pin_timeout_s and self._owner is None:
            self._owner = subscription
            subscription.session += 1

    def _next_free(self) -> MemorySubscription | None:
        """The subscription whose turn it is, so that several share the work; of a pinned durable, its owner only."""
        if self._owner is not None:
            return self._owner if self._owner.free else None
        for _ in range(len(self.subscriptions)):
            self.subscriptions.rotate(-1)
            # Who was relieved of a pin asks behind all others.
            if self.subscriptions[-1].free and self.subscriptions[-1] is not self._former:
                return self.subscriptions[-1]
        return self._former if self._former is not None and self._former.free else None

    def _next_message(self) -> memory_stream.Stored | None:
        while self._again:
            sequence = self._again.popleft()
            stored = self._source.messages.get(sequence)
            if sequence in self._leases and stored is not None:
                return stored
            self._leases.pop(sequence, None)
        if len(self._leases) >= self.policy.max_ack_pending:
            return None
        found = next(self._source.after(self._position, self.policy.filters), None)
        self._position = self._source.last_sequence if found is None else found.sequence
        return found
