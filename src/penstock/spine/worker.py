"""The worker contract: take deliveries of one durable consumer to a handler, and react to how the handler ends.

| the handler | the delivery |
|---|---|
| returns | is acked |
| raises Rejected | is acked after `on_rejected` gave its negative answer; without one it is quarantined |
| raises Unavailable | stays leased, in its lane, and is tried again after `after_s`; uses up no delivery |
| raises Poisoned | is quarantined at once |
| raises anything else, outlives its deadline | is tried again after a backoff; after `attempts`, quarantined |

With a lane function, deliveries of one lane are handled strictly one after the other; a lane that waits holds up no
other. Without one each delivery is on its own and Unavailable pauses the whole consumer.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, tasks, telemetry
from penstock.spine import consumer, lane, lease, ports, quarantine, subject

Handler = Callable[[contexts.Context, ports.Delivery], Awaitable[None]]
OnRejected = Callable[[contexts.Context, ports.Delivery, errors.Rejected], Awaitable[None]]

_log = telemetry.logger("spine.worker")

handled = telemetry.counter(
    "penstock_deliveries_total",
    labels=("consumer", "outcome"),
    meaning="Deliveries settled, by outcome: acked, skipped, rejected, quarantined, dropped.",
    remedy="A growing share of quarantined: `penstock quarantine ls` says which and why. dropped: somebody "
    "publishes under subjects of no tenant.",
)
retried = telemetry.counter(
    "penstock_delivery_retries_total",
    labels=("consumer", "reason"),
    meaning="Tries that did not settle their delivery, by reason: unavailable, failed, deadline, settle; and "
    "messages delivered again while they were still held here: redelivered.",
    remedy="unavailable: look at what the handler calls. failed, deadline: read the handler's log lines. redelivered: "
    "leases run out; the process stalls, or NATS was away.",
)
seconds = telemetry.histogram(
    "penstock_handler_seconds",
    labels=("consumer",),
    meaning="Seconds one try of a handler took.",
    remedy="Slow handlers need more concurrency, or a component of their own.",
)
held = telemetry.gauge(
    "penstock_deliveries_held",
    labels=("consumer",),
    meaning="Deliveries held under a lease: being handled, or waiting in a lane.",
    remedy="Near max_ack_pending for long: the handler is too slow or a platform does not answer.",
)
deepest = telemetry.gauge(
    "penstock_lane_depth",
    labels=("consumer",),
    meaning="Deliveries in the longest lane.",
    remedy="One conversation gets more than its platform or handler takes; others are not held up.",
)


PREFETCH: Final = 4
"""Deliveries fetched per handler that may run, where lanes may make some of them wait."""

SHORTEST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 600.0


class Worker:
    """One process's share of one durable consumer. The durable must exist (`provision.durable`)."""

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        handle: Handler,
        *,
        lane_of: Callable[[ports.Delivery], str] | None = None,
        on_rejected: OnRejected | None = None,
    ) -> None:
        self._spine, self._policy, self._handle = spine, policy, handle
        self._lane_of, self._on_rejected = lane_of, on_rejected
        self._lanes: lane.Lanes[lease.Held] = lane.Lanes()
        self._held = lease.Holding()
        self._work = asyncio.Semaphore(0)
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = tasks.Tasks()
        self._subscription: ports.Subscription | None = None
        self._sequence = 0
        self._parked = 0
        self._draining = False
        # Looked up once: it costs more than the counting.
        self._seconds, self._holding = seconds.labels(policy.name), held.labels(policy.name)
        self._acked = handled.labels(policy.name, "acked")

    @property
    def holding(self) -> int:
        """Deliveries received and not yet settled."""
        return len(self._held)

    async def start(self) -> None:
        """Begin to fetch and handle. Returns when the subscription stands."""
        name = self._policy.name
        self._tasks.forever(f"{name} lease", self._keep_leases)
        for number in range(self._policy.concurrency):
            self._tasks.forever(f"{name} handler {number}", self._run)
        # Enough to keep every handler busy while some lanes wait, and no more: what is here, no replica can have.
        ahead = PREFETCH if self._lane_of else 1
        window = min(self._policy.max_ack_pending, self._policy.concurrency * ahead)
        self._subscription = await self._spine.consume(self._policy, self._receive, window=window)

    async def drain(self, timeout_s: float) -> int:
        """Fetch nothing more, finish what is being handled or may be, and give back the rest; returns how many.

        The rest is what time does not suffice for, and at once what waits behind a pause: another process may be
        luckier, and nobody should wait for a platform that asked for ten minutes.
        """
        self._draining = True
        if self._subscription is not None:
            await self._subscription.close()
        self._look_whether_idle()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("drain ran out of time", consumer=self._policy.name, left=len(self._held))
        await self._tasks.stop()
        left = self._held.clear()
        for item in left:
            await item.give_back()
        return len(left)

    def _receive(self, delivery: ports.Delivery) -> None:
        item = self._held.add(delivery)
        if item is None:
            retried.labels(self._policy.name, "redelivered").inc()
            return
        self._idle.clear()
        self._sequence += 1
        try:
            key = self._lane_of(delivery) if self._lane_of else str(self._sequence)
        except Exception:  # noqa: BLE001 - a lane function that fails must not end the subscription
            key = f"unlaned {self._sequence}"
        self._lanes.add(key, item)
        self._work.release()
        self._holding.set(len(self._held))

    async def _run(self) -> None:
        """One of `concurrency` tasks: take the next item whose lane is free, forever."""
        while True:
            await self._work.acquire()
            taken = self._lanes.take()
            if taken is None:
                continue
            key, item = taken
            try:
                pause_s = await self._try(item)
            except Exception as error:  # noqa: BLE001 - settling itself failed: the lane must not be stuck for ever
                _log.error("settling failed", consumer=self._policy.name, exc_info=error)
                retried.labels(self._policy.name, "settle").inc()
                pause_s = self._policy.pause_s(1)
            if pause_s is None:
                self._settled(key, item)
            else:
                self._park(key, pause_s)

    def _settled(self, key: str, item: lease.Held) -> None:
        self._lanes.done(key)
        self._work.release()
        self._held.remove(item)
        self._holding.set(len(self._held))
        self._look_whether_idle()

    def _look_whether_idle(self) -> None:
        """Nothing is held; or, while draining, everything that is stands behind a pause."""
        if not self._held or (self._draining and self._parked == self._lanes.open):
            self._idle.set()

    def _park(self, key: str, pause_s: float) -> None:
        """Try the lane again after `pause_s`; without lanes, fetch nothing meanwhile either."""
        subscription = None if self._lane_of else self._subscription
        self._parked += 1
        if subscription is not None:
            subscription.pause()

        def again() -> None:
            self._parked -= 1
            self._lanes.release(key)
            self._work.release()
            if subscription is not None and self._parked == 0:
                subscription.resume()

        asyncio.get_running_loop().call_later(pause_s, again)
        self._look_whether_idle()

    async def _try(self, item: lease.Held) -> float | None:
        """Handle once; None when the delivery is settled, else the seconds to wait before the next try."""
        delivery, name = item.delivery, self._policy.name
        try:
            context = bind(delivery)
        except errors.Poisoned as error:
            return await self._unbound(item, error)
        only = delivery.headers.get(contexts.ONLY)
        if only and only != name:
            return await self._settle(item, "skipped")
        begun = time.perf_counter()
        try:
            with telemetry.bound(context), telemetry.span(f"{name} handle", context, "consumer") as inner:
                async with asyncio.timeout(self._policy.deadline_s):
                    await self._handle(inner, delivery)
        except asyncio.CancelledError:
            if tasks.is_told_to_stop():
                raise
            # Of something that the handler waited for. Let through, it would end this task, and the lane with it.
            broken = errors.Broken("handler_cancelled", "the handler ended with a cancellation of its own")
            return await self._react(context, item, broken)
        except Exception as error:  # noqa: BLE001 - one of the three places where errors become reactions
            return await self._react(context, item, error)
        finally:
            self._seconds.observe(time.perf_counter() - begun)
        self._acked.inc()
        await item.ack()
        return None

    async def _unbound(self, item: lease.Held, error: errors.Poisoned) -> float | None:
        """Set aside what its headers disown; what no tenant owns has no quarantine, and only a log line."""
        try:
            context = quarantine.unbound(item.delivery)
        except errors.Broken:
            _log.error("dropped: nobody's", consumer=self._policy.name, sequence=item.delivery.sequence)
            handled.labels(self._policy.name, "dropped").inc()
            await item.terminate()
            return None
        return await self._set_aside(context, item, error)

    async def _react(self, context: contexts.Context, item: lease.Held, error: Exception) -> float | None:
        delivery, name = item.delivery, self._policy.name
        if isinstance(error, errors.Rejected) and self._on_rejected is not None:
            try:
                await self._on_rejected(context, delivery, error)
            except Exception as second:  # noqa: BLE001 - the negative answer may fail like a handler
                error = second
            else:
                return await self._settle(item, "rejected")
        if isinstance(error, errors.Unavailable):
            retried.labels(name, "unavailable").inc()
            _log.info("delivery waits", consumer=name, code=error.code, after_s=error.after_s)
            return pause_of(error)
        if isinstance(error, errors.Poisoned | errors.Rejected):
            return await self._set_aside(context, item, error)
        pause_s = self._failed(item, error)
        return pause_s if item.failures < self._policy.attempts else await self._set_aside(context, item, error)

    def _failed(self, item: lease.Held, error: Exception) -> float:
        item.failures += 1
        name = self._policy.name
        retried.labels(name, "deadline" if isinstance(error, TimeoutError) else "failed").inc()
        _log.error("handler failed", consumer=name, failures=item.failures, exc_info=error)
        return self._policy.pause_s(item.failures)

    async def _set_aside(self, context: contexts.Context, item: lease.Held, error: Exception) -> float | None:
        """Publish to the quarantine stream, then terminate; a stream that is away makes the delivery wait."""
        try:
            await quarantine.publish(self._spine, context, item.delivery, error, item.failures)
        except errors.Unavailable as unavailable:
            return pause_of(unavailable)
        name, sequence = self._policy.name, item.delivery.sequence
        handled.labels(name, "quarantined").inc()
        _log.warning("quarantined", consumer=name, sequence=sequence, reason=type(error).__name__)
        await item.terminate()
        return None

    async def _settle(self, item: lease.Held, outcome: str) -> None:
        handled.labels(self._policy.name, outcome).inc()
        await item.ack()

    async def _keep_leases(self) -> None:
        """Renew, three times a lease, what has been held for a third of it."""
        third = self._policy.ack_wait_s / 3
        await asyncio.sleep(third)
        deepest.labels(self._policy.name).set(self._lanes.deepest)
        for item in self._held.older_than(third / 2):
            await item.extend()


def bind(delivery: ports.Delivery) -> contexts.Context:
    """The delivery's context, bound to the tenant of its subject. Raises Poisoned when a header says another one."""
    try:
        tenant = subject.tenant_of(delivery.subject)
    except errors.Rejected as error:
        raise errors.Poisoned("bad_subject", error.detail) from None
    contexts.check_tenant(tenant, delivery.headers)
    return contexts.from_headers(tenant, delivery.headers)


def pause_of(error: errors.Unavailable) -> float:
    """Seconds to wait; an author may have asked for no pause at all, or for one that never ends."""
    wanted_s = error.after_s if math.isfinite(error.after_s) else LONGEST_PAUSE_S
    return max(SHORTEST_PAUSE_S, min(wanted_s, LONGEST_PAUSE_S))
