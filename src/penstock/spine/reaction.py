"""How the way in which a handler ended becomes what is said about its delivery: one of the three places of errors.

| the handler | the delivery |
|---|---|
| returns | is acked |
| raises Rejected | is acked after `on_rejected` gave its negative answer; without one it is quarantined |
| raises Unavailable | stays leased, in its lane, and is tried again after `after_s`; uses up no delivery |
| raises Poisoned | is quarantined at once |
| raises anything else, outlives its deadline | is tried again after a backoff; after `attempts`, quarantined |
"""

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, telemetry
from penstock.spine import consumer, lease, ports, quarantine, subject

OnRejected = Callable[[contexts.Context, ports.Delivery, errors.Rejected], Awaitable[None]]

SHORTEST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 600.0

_log = telemetry.logger("spine.worker")

handled = telemetry.counter(
    "penstock_deliveries_total",
    labels=("consumer", "outcome"),
    meaning="Deliveries settled, by outcome: acked, skipped, rejected, quarantined, dropped.",
    remedy="A growing share of quarantined: `penstock quarantine ls` says which and why. dropped: somebody "
    "publishes under subjects of no tenant, or the server says what we do not understand.",
)
retried = telemetry.counter(
    "penstock_delivery_retries_total",
    labels=("consumer", "reason"),
    meaning="Tries that did not settle their delivery, by reason: unavailable, failed, deadline, settle.",
    remedy="unavailable: look at what the handler calls. failed, deadline: read the handler's log lines.",
)


class Reactions:
    """What one consumer does about each end.

    Every method returns None when the delivery is settled, else the seconds to wait before the next try.
    """

    def __init__(self, spine: ports.Spine, policy: consumer.ConsumerPolicy, on_rejected: OnRejected | None) -> None:
        self._spine, self._policy, self._on_rejected = spine, policy, on_rejected
        # Looked up once: it costs more than the counting.
        self._acked = handled.labels(policy.name, "acked")

    async def succeeded(self, item: lease.Held) -> None:
        """The handler returned."""
        self._acked.inc()
        await item.ack()

    async def skipped(self, item: lease.Held) -> None:
        """It was redriven to another consumer."""
        handled.labels(self._policy.name, "skipped").inc()
        await item.ack()

    async def unbound(self, item: lease.Held, error: errors.Poisoned) -> float | None:
        """Set aside what its headers disown; what no tenant owns has no quarantine, and only a log line."""
        try:
            context = quarantine.unbound(item.delivery)
        except errors.Broken:
            return await self._drop(item)
        return await self._set_aside(context, item, error, item.failures)

    async def failed(self, context: contexts.Context, item: lease.Held, error: Exception) -> float | None:
        """The handler raised, or was ended at its deadline (TimeoutError)."""
        name = self._policy.name
        if isinstance(error, errors.Rejected) and self._on_rejected is not None:
            try:
                await self._on_rejected(context, item.delivery, error)
            except Exception as second:  # noqa: BLE001 - the negative answer may fail like a handler
                error = second
            else:
                handled.labels(name, "rejected").inc()
                return await item.ack()
        if isinstance(error, errors.Unavailable):
            retried.labels(name, "unavailable").inc()
            _log.info("delivery waits", consumer=name, code=error.code, after_s=error.after_s)
            return pause_of(error)
        if isinstance(error, errors.Poisoned | errors.Rejected):
            return await self._set_aside(context, item, error, item.failures)
        item.failures += 1
        retried.labels(name, "deadline" if isinstance(error, TimeoutError) else "failed").inc()
        _log.error("handler failed", consumer=name, failures=item.failures, exc_info=error)
        if item.failures < self._policy.attempts:
            return self._policy.pause_s(item.failures)
        return await self._set_aside(context, item, error, item.failures)

    async def killed(self, context: contexts.Context, item: lease.Held, runs: int) -> float | None:
        """Its process ended each of the `runs` times that it ran alone."""
        error = errors.Broken("kills_process", f"the process ended {runs} times while it handled this message alone")
        return await self._set_aside(context, item, error, runs)

    async def _set_aside(
        self, context: contexts.Context, item: lease.Held, error: Exception, attempts: int
    ) -> float | None:
        """Publish to the quarantine stream, then terminate; a stream that is away makes the delivery wait."""
        if self._policy.of_server:
            return await self._drop(item)
        name, sequence, code = self._policy.name, item.delivery.sequence, telemetry.failure_of(error)
        with telemetry.bound(context):
            try:
                with telemetry.span("quarantine publish", context, "producer", consumer=name, code=code) as inner:
                    await quarantine.publish(self._spine, inner, item.delivery, error, attempts)
            except errors.Unavailable as unavailable:
                return pause_of(unavailable)
            handled.labels(name, "quarantined").inc()
            _log.warning("quarantined", consumer=name, sequence=sequence, reason=type(error).__name__, code=code)
            await item.terminate()
        return None

    async def _drop(self, item: lease.Held) -> None:
        _log.error("dropped: nobody's", consumer=self._policy.name, sequence=item.delivery.sequence)
        handled.labels(self._policy.name, "dropped").inc()
        await item.terminate()


def bind(delivery: ports.Delivery) -> contexts.Context:
    """The delivery's context, bound to the tenant of its subject. Raises Poisoned when a header says another one."""
    try:
        tenant = subject.tenant_of(delivery.subject)
    except errors.Rejected as error:
        raise errors.Poisoned("bad_subject", error.detail) from None
    return contexts.of_message(tenant, delivery.headers)


def told_of(delivery: ports.Delivery) -> contextlib.AbstractContextManager[None]:
    """Log lines inside carry the ids of this delivery, if it has any that can be believed."""
    try:
        return telemetry.bound(bind(delivery))
    except errors.Poisoned:
        return contextlib.nullcontext()


def pause_of(error: errors.Unavailable) -> float:
    """Seconds to wait; an author may have asked for no pause at all, or for one that never ends."""
    wanted_s = error.after_s if math.isfinite(error.after_s) else LONGEST_PAUSE_S
    return max(SHORTEST_PAUSE_S, min(wanted_s, LONGEST_PAUSE_S))
