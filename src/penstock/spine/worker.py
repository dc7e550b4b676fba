"""The worker contract: take what this process has of a consumer to a handler, in lanes, and let it go in order.

With a lane function, deliveries of one lane are handled strictly one after the other; a lane that waits holds up no
other. Without one each delivery is on its own and Unavailable pauses the whole consumer. What the end of a handler
means for its delivery is in `reaction`; which durables are asked, and when a message may be handled, in `ranges`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, ids, tasks, telemetry
from penstock.spine import consumer, deadline, effects, lane, lease, ports, ranges, reaction, suspects

Handler = Callable[[contexts.Context, ports.Delivery], Awaitable[None]]

_log = telemetry.logger("spine.worker")

seconds = telemetry.histogram(
    "penstock_handler_seconds",
    labels=("consumer",),
    meaning="Seconds one try of a handler took.",
    remedy="Slow handlers need more concurrency, or a component of their own.",
)
held = telemetry.gauge(
    "penstock_deliveries_held",
    labels=("consumer",),
    meaning="Deliveries held under a lease: being handled, or waiting in a lane or in front of a gate.",
    remedy="Near max_ack_pending for long: the handler is too slow or a platform does not answer.",
)
deepest = telemetry.gauge(
    "penstock_lane_depth",
    labels=("consumer",),
    meaning="Deliveries in the longest lane.",
    remedy="One conversation gets more than its platform or handler takes; others are not held up.",
)

behind = telemetry.gauge(
    "penstock_gate_held",
    labels=("consumer",),
    meaning="Deliveries that wait behind a gate, because older messages may be in other hands since a take-over.",
    remedy="For about a lease after a crash: nothing. For longer: see penstock_gates_closed.",
)

PREFETCH: Final = 4
"""Deliveries fetched per handler that may run, where lanes may make some of them wait."""

NOBODY: Final = ids.TenantId("")
"""The tenant of what the server itself says."""


class Worker:
    """One process's share of one consumer, at work. Its durables must exist (`provision.durable`).

    All workers of one process should have the same `solo`: a suspect then runs alone among all of them.
    """

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        handle: Handler,
        *,
        lane_of: Callable[[ports.Delivery], str] | None = None,
        on_rejected: reaction.OnRejected | None = None,
        solo: suspects.Suspects | None = None,
    ) -> None:
        self._policy, self._handle, self._lane_of = policy, handle, lane_of
        self._reactions = reaction.Reactions(spine, policy, on_rejected)
        self._suspects = solo or suspects.Suspects(spine)
        self._lanes: lane.Lanes[lease.Held] = lane.Lanes()
        # Enough to keep every handler busy while some lanes wait, and no more: what is here, no replica can have.
        window = min(policy.max_ack_pending, policy.concurrency * (PREFETCH if lane_of else 1))
        self._share = ranges.Share(spine, policy, self._take_in, window=window, is_stuck=self._is_stuck)
        self._idle: list[asyncio.Future[None]] = []
        self._deadlines = deadline.Deadlines(policy.deadline_s)
        self._tasks = tasks.Tasks()
        self._sequence = 0
        self._parked: set[str] = set()
        # Looked up once: it costs more than the counting.
        self._seconds, self._holding = seconds.labels(policy.name), held.labels(policy.name)
        self._span = f"{policy.name} handle"

    @property
    def holding(self) -> int:
        """Deliveries received and not yet settled."""
        return len(self._share)

    @property
    def ranges(self) -> frozenset[int]:
        """The numbers of the ranges that this process asks for; none of a consumer without ranges."""
        return self._share.ranges

    async def start(self) -> None:
        """Begin to fetch and handle. Returns when it has begun to ask; it can be called again when it raised.

        Raises Rejected `no_stream` or `no_consumer`, Unavailable.
        """
        await self._share.start()
        name = self._policy.name
        self._tasks.forever(f"{name} gauges", self._measure)
        for number in range(self._policy.concurrency):
            self._tasks.forever(f"{name} handler {number}", self._run)

    def pause(self) -> None:
        """Ask for nothing more; what is held is handled."""
        self._share.pause()

    def resume(self) -> None:
        """Ask again."""
        self._share.resume()

    async def drain(self, timeout_s: float) -> int:
        """Fetch nothing more, finish what is being handled or may be, and give back the rest; returns how many.

        The rest is what time does not suffice for, and at once what waits behind a pause or for older messages:
        another process may be luckier, and nobody should wait for a platform that asked for ten minutes.
        """
        given_back = await self._share.drain(timeout_s)
        await self._tasks.stop()
        self._deadlines.close()
        given_back += await self._share.close()
        self._holding.set(0)
        return given_back

    def _take_in(self, item: lease.Held) -> None:
        """A message that may be handled as soon as its lane is free."""
        self._sequence += 1
        try:
            item.key = self._lane_of(item.delivery) if self._lane_of else str(self._sequence)
        except Exception:  # noqa: BLE001 - a lane function that fails must not end the subscription
            item.key = f"unlaned {self._sequence}"
        self._lanes.add(item.key, item)
        self._wake()

    def _wake(self) -> None:
        """Let one idle handler look for work; a semaphore would look through all of them, for every message."""
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _is_stuck(self, item: lease.Held) -> bool:
        return item.key in self._parked

    async def _run(self) -> None:
        """One of `concurrency` tasks: take the next item whose lane is free, forever."""
        while True:
            taken = self._lanes.take()
            if taken is None:
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(waiting)
                await waiting
                continue
            key, item = taken
            pause_s = None if item.dropped or self._is_late(item) else await self._run_item(item)
            if pause_s is None:
                self._lanes.done(key)
            else:
                self._park(item, pause_s)

    async def _run_item(self, item: lease.Held) -> float | None:
        """Handle an item once; None when nothing more is to be done with it, else the seconds to wait."""
        item.running = True
        try:
            pause_s = None if item.doubtful and not await item.is_kept() else await self._try(item)
        except errors.Unavailable as away:
            pause_s = reaction.pause_of(away)
        except Exception as error:  # noqa: BLE001 - settling itself failed: the lane must not be stuck for ever
            with reaction.told_of(item.delivery):
                _log.error("settling failed", consumer=self._policy.name, exc_info=error)
            reaction.retried.labels(self._policy.name, "settle").inc()
            pause_s = self._policy.pause_s(1)
        item.running = False
        if pause_s is None:
            item.holding.remove(item)
        return pause_s

    def _park(self, item: lease.Held, pause_s: float) -> None:
        """Try the lane again after `pause_s`; without lanes, fetch nothing meanwhile either."""
        self._parked.add(item.key)
        if not self._lane_of:
            self._share.pause()

        def again() -> None:
            self._parked.discard(item.key)
            self._lanes.release(item.key)
            self._wake()
            if not self._lane_of and not self._parked:
                self._share.resume()

        asyncio.get_running_loop().call_later(pause_s, again)
        item.holding.changed()

    async def _try(self, item: lease.Held) -> float | None:
        delivery, name = item.delivery, self._policy.name
        try:
            context = contexts.start(NOBODY) if self._policy.of_server else reaction.bind(delivery)
        except errors.Poisoned as error:
            return await self._reactions.unbound(item, error)
        only = delivery.headers.get(contexts.ONLY)
        if only and only != name:
            return await self._reactions.skipped(item)
        with telemetry.bound(context):
            if item.delivery.deliveries >= self._policy.watched_from:
                return await self._try_watched(context, item)
            return await self._try_beside(context, item)

    async def _try_beside(self, context: contexts.Context, item: lease.Held) -> float | None:
        turnstile = self._suspects.turnstile
        await turnstile.enter()
        try:
            if self._is_late(item):
                return None
            error = await self._attempt(context, item)
        finally:
            turnstile.leave()
        return await self._react(context, item, error)

    async def _try_watched(self, context: contexts.Context, item: lease.Held) -> float | None:
        try:
            async with self._suspects.watched(self._policy.name, item.delivery) as runs:
                if self._is_late(item):
                    return None
                if runs == suspects.SOLO_RUNS:
                    return await self._reactions.killed(context, item, runs)
                error = await self._attempt(context, item)
        except errors.Unavailable as away:
            error = away
        return await self._react(context, item, error)

    def _is_late(self, item: lease.Held) -> bool:
        """Whether its lease has run out before it is begun. Then nothing else that waits here may be begun either."""
        if item.lapsed:
            item.holding.lapse()
        return item.lapsed

    async def _react(self, context: contexts.Context, item: lease.Held, error: Exception | None) -> float | None:
        if error is None:
            return await self._reactions.succeeded(item)
        return await self._reactions.failed(context, item, error)

    async def _attempt(self, context: contexts.Context, item: lease.Held) -> Exception | None:
        """Let the handler have it once; returns what it raised."""
        begun, limit = time.perf_counter(), self._deadlines.begin()
        answering = effects.begin(item)
        try:
            with telemetry.span(
                self._span, context, "consumer", attempt=item.failures + 1, delivery=item.delivery.deliveries
            ) as inner:
                async with limit:
                    await self._handle(inner, item.delivery)
        except asyncio.CancelledError:
            if tasks.is_told_to_stop():
                raise
            # Of something that the handler waited for. Let through, it would end this task, and the lane with it.
            return errors.Broken("handler_cancelled", "the handler ended with a cancellation of its own")
        except Exception as error:  # noqa: BLE001 - `reaction` is one of the three places where errors become reactions
            return error
        finally:
            effects.end(answering)
            self._deadlines.end(limit)
            self._seconds.observe(time.perf_counter() - begun)
        return None

    async def _measure(self) -> None:
        deepest.labels(self._policy.name).set(self._lanes.deepest)
        behind.labels(self._policy.name).set(self._share.behind_gates)
        self._holding.set(len(self._share))
        await asyncio.sleep(self._policy.ack_wait_s / 3)
