"""Carries committed outbox rows to their streams: one publisher per room's outbox, in row order, at least once.

Whoever holds the lease publishes; others stand by. A crash anywhere means that a row is published again under the same
message id, and the stream drops the second. Webhooks go on committing while the spine is away, and rows wait.

A row that its stream refuses must not hold up its key for ever: it is tried `attempts` times over about two minutes
(once when no later try can end otherwise, as when it is too large), then marked failed, counted and logged; it stays in
the table, keeps its partition from being dropped, and `revive` sends it after all. A stream that is not there is no
fault of the row: such a row waits for it.
"""

import asyncio
import dataclasses
import datetime
import math
from typing import Final, Protocol

from penstock.base import context as contexts
from penstock.base import errors, tasks, telemetry
from penstock.database import pool
from penstock.spine import ports, route, stream, subject
from penstock.state import flow, outbox, relay

SWEEP_S: Final = 3600.0
STANDBY_S: Final = 0.5
LONGEST_PAUSE_S: Final = 1.0

_log = telemetry.logger("state.publisher")

published = telemetry.counter(
    "penstock_outbox_published_total",
    labels=("room", "stream", "outcome"),
    meaning="Outbox rows acknowledged by their stream: new, or duplicate (it had the same message id already).",
    remedy="duplicate grows after a crash only; steadily: a publisher dies again and again, see its log.",
)
failures = telemetry.counter(
    "penstock_outbox_failures_total",
    labels=("room", "code"),
    meaning="Tries to publish that failed, by code; `given_up` are rows marked failed.",
    remedy="unavailable codes: look at NATS. given_up: `penstock outbox ls` says which and why; mend the cause, then "
    "`penstock outbox revive`.",
)
oldest = telemetry.gauge(
    "penstock_outbox_oldest_seconds",
    labels=("room",),
    meaning="Age of the oldest row that waits to be published.",
    remedy="Growing: NATS is away, a stream refuses, or no publisher runs; penstock_outbox_leading says which.",
)
leading = telemetry.gauge(
    "penstock_outbox_leading",
    labels=("room",),
    meaning="1 in the process that publishes this room's outbox.",
    remedy="0 everywhere: no process runs the role, or none gets a database session.",
)
batch = telemetry.gauge(
    "penstock_outbox_batch",
    labels=("room",),
    meaning="Rows read in the last exchange with the table.",
    remedy="Always at the limit: rows come faster than they leave; the spine or this process is the bottleneck.",
)


class Publishes(Protocol):
    """What a publisher asks of the spine."""

    async def publish(self, message: ports.Outgoing) -> ports.Published:
        """As `spine.ports.Spine.publish`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class PublisherLimits:
    """How much a publisher takes on.

    `window` messages are un-acknowledged at most, `capacity` rows held in memory. Exchanges with the table are at
    least `spacing_s` apart under load and at most `poll_s` when idle. What was published is recorded with the next
    exchange, or after `record_s`: a crash before that publishes it again under the same id, which is harmless, and an
    exchange for it alone would double the work. `keep_days` is how long published rows stay.
    """

    window: int = 256
    capacity: int = 2000
    attempts: int = 12
    spacing_s: float = 0.005
    record_s: float = 0.05
    poll_s: float = 0.5
    keep_days: int = math.ceil(
        max(policy.max_age_s for policy in stream.STREAMS if policy is not stream.QUARANTINE) / stream.DAY_S
    )


class Publisher:
    """Publishes one room's outbox for as long as it runs."""

    def __init__(
        self, database: pool.Database, spine: Publishes, room: str, *, limits: PublisherLimits | None = None
    ) -> None:
        self._database, self._spine, self._room = database, spine, room
        self._limits = limits or PublisherLimits()
        self._tasks = tasks.Tasks()
        self._reign: _Reign | None = None

    @property
    def leads(self) -> bool:
        """This process holds the lease."""
        return self._reign is not None

    @property
    def backend_pid(self) -> int:
        """The database process behind the lease; 0 while another one leads."""
        return self._reign.backend_pid if self._reign else 0

    async def start(self) -> None:
        """Begin; returns at once, whatever is away."""
        self._tasks.forever(f"outbox {self._room}", self._lead)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Start nothing more, wait for what is on its way, record it and give up the lease."""
        if self._reign is not None:
            await self._reign.finish(timeout_s)
        await self._tasks.stop()

    async def _lead(self) -> None:
        """Lead once; what is away is tried again within a second, however long it has been away."""
        try:
            await self._reign_once()
        except errors.Unavailable as error:
            _log.info("outbox waits for the database", room=self._room, code=error.code)
            await asyncio.sleep(min(error.after_s, LONGEST_PAUSE_S))

    async def _reign_once(self) -> None:
        """Connect, stand by, reign until the session is lost."""
        table = await relay.connect(self._database, self._room)
        try:
            while not await table.lead():  # noqa: ASYNC110 - another process holds it: nothing here can be told
                await asyncio.sleep(STANDBY_S)
            await table.prepare()
            self._reign = _Reign(table, self._spine, self._room, self._limits)
            leading.labels(self._room).set(1)
            _log.info("leads an outbox", room=self._room)
            await self._reign.run()
        finally:
            if self._reign is not None:
                self._reign.abandon()
                self._reign = None
                leading.labels(self._room).set(0)
            table.close()


class _Reign:
    """One publisher's time as the holder of the lease. What it knows dies with its session."""

    def __init__(self, table: relay.Relay, spine: Publishes, room: str, limits: PublisherLimits) -> None:
        self._table, self._spine, self._room, self._limits = table, spine, room, limits
        self._flow = flow.Flow(window=limits.window, capacity=limits.capacity, attempts=limits.attempts)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False
        self._unlisten = outbox.listen(room, self._appended)
        self._news = True
        self._batch, self._oldest = batch.labels(room), oldest.labels(room)
        self._next_sweep_s = self._loop.time() + SWEEP_S
        self.backend_pid = table.backend_pid

    async def run(self) -> None:
        """For as long as the session lasts. Raises Unavailable when it is lost."""
        while not self._closing:
            begun = self._loop.time()
            self._wake.clear()
            await self._exchange()
            self._pump()
            if begun > self._next_sweep_s:
                await self._sweep()
            await self._pause(begun)
        await self._abandoned.wait()

    async def finish(self, timeout_s: float) -> None:
        """Publish nothing new; record what is on its way once it has landed."""
        self._closing = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self._flow.in_flight and not self._abandoned.is_set():
                    self._landed.clear()
                    await self._landed.wait()
                if settled := self._flow.take_settled():
                    await self._table.exchange(settled, [], [], 0)
        except (TimeoutError, errors.Unavailable):
            _log.warning("outbox stopped with rows on their way", room=self._room, left=self._flow.in_flight)

    def abandon(self) -> None:
        """The lease is gone: nothing of this may go on."""
        self._closing = True
        self._abandoned.set()
        self._landed.set()
        self._unlisten()
        for task in self._running:
            task.cancel()

    def _appended(self) -> None:
        self._news = True
        self._wake.set()

    async def _exchange(self) -> None:
        flowing, limit = self._flow, min(self._flow.space, self._limits.capacity // 2)
        settled = flowing.take_settled()
        self._news = False
        held, stuck = flowing.reading()
        rows = await self._table.exchange(settled, held, stuck, limit)
        flowing.add(rows)
        self._news = self._news or 0 < limit <= len(rows)
        self._batch.set(len(rows))
        first = flowing.oldest
        age = (datetime.datetime.now(datetime.UTC) - first.created_at).total_seconds() if first else 0.0
        self._oldest.set(max(0.0, age))

    def _pump(self) -> None:
        """Start what may start."""
        if self._closing:
            return
        now = self._loop.time()
        while (row := self._flow.take(now)) is not None:
            task = self._loop.create_task(self._publish(row))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _publish(self, row: flow.Row) -> None:
        try:
            answer = await self._send(row.outgoing)
        except errors.Unavailable as error:
            failures.labels(self._room, error.code).inc()
            self._flow.unavailable(row, self._loop.time())
        except Exception as error:  # noqa: BLE001 - whatever a transport does, the row's key must go on
            self._refused(row, error)
        else:
            published.labels(self._room, answer.stream, "duplicate" if answer.duplicate else "new").inc()
            self._flow.published(row, answer.sequence)
        self._landed.set()
        self._pump()
        if self._flow.unrecorded == 1 or self._is_due():
            self._wake.set()

    async def _send(self, outgoing: ports.Outgoing) -> ports.Published:
        """Publish as a span between the one that wrote the row and the one that will handle the message."""
        if not telemetry.tracing():
            return await self._spine.publish(outgoing)
        context = contexts.from_headers(subject.tenant_of(outgoing.subject), outgoing.headers)
        with telemetry.span("outbox publish", context, "producer", room=self._room, stream=outgoing.stream) as inner:
            return await self._spine.publish(route.at_span(inner, outgoing))

    def _refused(self, row: flow.Row, error: Exception) -> None:
        code = error.code if isinstance(error, errors.PenstockError) else type(error).__name__
        failures.labels(self._room, code).inc()
        given_up = self._flow.refused(row, code, self._loop.time())
        if given_up:
            failures.labels(self._room, "given_up").inc()
        _log.error(
            "outbox row refused",
            room=self._room,
            stream=row.outgoing.stream,
            seq=row.seq,
            code=code,
            tries=row.tries,
            given_up=given_up,
        )

    def _is_due(self) -> bool:
        """Recording pays off now: enough has landed."""
        return self._flow.unrecorded * 2 >= self._limits.window

    async def _pause(self, begun: float) -> None:
        """Until there is a reason to exchange again; under load, until enough has gathered to be worth it."""
        while True:
            now = self._loop.time()
            due = self._flow.next_due_s()
            latest = begun + (self._limits.record_s if self._flow.unrecorded else self._limits.poll_s)
            until = latest if due is None else min(latest, due)
            if self._closing or now >= latest:
                return
            if (self._news and self._flow.space) or self._is_due():
                await asyncio.sleep(max(0.0, begun + self._limits.spacing_s - now))
                return
            try:
                async with asyncio.timeout_at(max(until, now)):
                    await self._wake.wait()
            except TimeoutError:
                self._pump()
            self._wake.clear()

    async def _sweep(self) -> None:
        self._next_sweep_s = self._loop.time() + SWEEP_S
        dropped = await self._table.sweep(self._limits.keep_days)
        if dropped:
            _log.info("dropped old outbox partitions", room=self._room, partitions=dropped)
