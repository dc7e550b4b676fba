"""One publisher's time as the holder of the lease: rows are read, published, recorded; what it knows dies with it.

Each stream has a course of its own, shut until a watch, which runs beside the carrying, has verified the stream on the
connection that publishes. Every message goes out on that connection and no other, so that nothing reaches a stream that
nobody has looked at, and what fails is not overtaken.
"""

import asyncio
import datetime
import math
from collections.abc import Sequence
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, telemetry
from penstock.spine import ports, route, subject
from penstock.state import course, flow, ledger, limits, outbox, relay, watch

SWEEP_S: Final = 3600.0

FULL: Final = frozenset({"stream_full", "storage_full"})
"""Answers of a stream that is where it was: it need not be verified again."""

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
depth = telemetry.gauge(
    "penstock_outbox_depth",
    labels=("room",),
    meaning="Rows that wait to be published, counted up to 10,000.",
    remedy="Hundreds for a moment are a burst. Growing: as for penstock_outbox_oldest_seconds; no row is lost.",
)
batch = telemetry.gauge(
    "penstock_outbox_batch",
    labels=("room",),
    meaning="Rows read in the last exchange with the table.",
    remedy="Always at the limit: rows come faster than they leave; the spine or this process is the bottleneck.",
)


class Reign:
    """From taking the lease to losing it."""

    def __init__(
        self, table: relay.Relay, spine: watch.Transport, *, limit: limits.PublisherLimits | None = None
    ) -> None:
        self._table, self._spine, self._room = table, spine, table.room
        self._limits = limit or limits.PublisherLimits()
        self._send = self._traced if telemetry.tracing() else spine.publish
        self._loop = asyncio.get_running_loop()
        self._wake, self._landed, self._abandoned = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._courses: dict[str, course.Course] = {}
        self._watch = watch.Watch(self, spine, ledger.Ledger(table), self._limits.policies)
        self._running: set[asyncio.Task[None]] = set()
        self._connection = 0
        self._closing = False
        self._unlisten = outbox.listen(self._room, self._appended)
        self._batch, self._oldest = batch.labels(self._room), oldest.labels(self._room)
        self._depth = depth.labels(self._room)
        self._next_poll_s = 0.0
        self._next_sweep_s = self._loop.time() + SWEEP_S

    @property
    def backend_pid(self) -> int:
        """The database process behind the lease."""
        return self._table.backend_pid

    @property
    def shut(self) -> frozenset[str]:
        """The streams for which nothing leaves now."""
        return frozenset(one.name for one in self._courses.values() if one.flow.shut)

    async def run(self) -> None:
        """For as long as the session lasts. Raises Unavailable when it is lost."""
        parts = [asyncio.create_task(part) for part in (self._carry(), self._watch.run(self._limits.look_s))]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
            # Closing: the watch is left alone until all is recorded, as a statement that is cut short ends the session.
            await self._abandoned.wait()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _carry(self) -> None:
        while not self._closing:
            begun = self._loop.time()
            self._wake.clear()
            await self._exchange(begun)
            self._pump()
            if begun > self._next_sweep_s:
                await self._sweep()
            await self._pause(begun)

    async def finish(self, timeout_s: float) -> None:
        """Publish nothing new; record what is on its way once it has landed."""
        self._closing = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_landed(self.courses())
                await self._table.exchange(self._records(), [])
        except (TimeoutError, errors.Unavailable):
            # Published again by the next one, under the same ids.
            _log.info("outbox stopped with rows on their way", room=self._room)

    def abandon(self) -> None:
        """The lease is gone: nothing of this may go on."""
        self._closing = True
        self._abandoned.set()
        self._landed.set()
        self._unlisten()
        for task in self._running:
            task.cancel()

    def course_of(self, stream: str) -> course.Course:
        """The course of a stream; a new one when rows have not gone there before."""
        found = self._courses.get(stream)
        if found is None:
            found = self._courses[stream] = course.Course(
                stream,
                flow.Flow(
                    window=self._limits.window,
                    capacity=self._limits.capacity,
                    attempts=self._limits.attempts,
                    capacity_bytes=self._limits.capacity_bytes,
                ),
            )
            self._watch.ask()
        return found

    def courses(self) -> Sequence[course.Course]:
        """All there are."""
        return list(self._courses.values())

    def opened(self, connection: int) -> None:
        """Courses were opened: publish on this connection and on no other."""
        self._connection = connection
        self._wake.set()

    async def settle(self, courses: Sequence[course.Course]) -> None:
        """Let nothing leave on these courses, wait for what is on its way, record it, and forget what waits."""
        for one in courses:
            one.flow.shut = True
        await self._until_landed(courses)
        await self._table.exchange(self._records(), [])
        for one in courses:
            one.flow.empty()

    async def _until_landed(self, courses: Sequence[course.Course]) -> None:
        while any(one.flow.in_flight for one in courses) and not self._abandoned.is_set():
            self._landed.clear()
            await self._landed.wait()

    def _appended(self, stream: str) -> None:
        for one in [self.course_of(stream)] if stream else self._courses.values():
            one.news = True
        self._wake.set()

    def _records(self) -> list[relay.Record]:
        """What is settled since the last time."""
        found = [relay.Record(one.name, one.flow.take_settled(), one.take_head()) for one in self._courses.values()]
        for one in self._courses.values():
            for outcome, count in one.take_counts():
                published.labels(self._room, one.name, outcome).inc(count)
        return [record for record in found if record.settled or record.head]

    def _readings(self) -> list[relay.Reading]:
        """What to read now: of every stream with news, as much as there is room for."""
        found: list[relay.Reading] = []
        for one in self._courses.values():
            limit = min(one.flow.space, self._limits.capacity // 2) if one.news else 0
            if limit:
                one.news = False
                found.append(relay.Reading(one.name, *one.flow.reading(), limit))
        return found

    async def _exchange(self, now_s: float) -> None:
        if now_s >= self._next_poll_s:
            await self._poll()
            self._next_poll_s = now_s + self._limits.poll_s
        readings = self._readings()
        found = await self._table.exchange(self._records(), readings)
        for reading, rows in zip(readings, found, strict=True):
            one = self._courses[reading.stream]
            one.flow.add(rows)
            one.news = one.news or len(rows) >= reading.limit
        self._batch.set(sum(map(len, found)))

    async def _poll(self) -> None:
        """See what waits, whoever appended it."""
        waiting, number = await self._table.waiting()
        self._depth.set(number)
        for name in waiting:
            self.course_of(name).news = True
        now = datetime.datetime.now(datetime.UTC)
        ages = [(now - since).total_seconds() for since in waiting.values()]
        self._oldest.set(max(0.0, *ages) if ages else 0.0)

    def _pump(self) -> None:
        """Start what may start."""
        if self._closing:
            return
        if self._spine.connection != self._connection:
            self._watch.ask()
            return
        now = self._loop.time()
        for one in self._courses.values():
            self._start(one, now)

    def _start(self, one: course.Course, now_s: float) -> None:
        while (row := one.flow.take(now_s)) is not None:
            task = self._loop.create_task(self._work(one, row))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self, one: course.Course, row: flow.Row | None) -> None:
        """Publish a row, and then whatever comes next on the course, until there is nothing."""
        while row is not None:
            row.above = one.last
            try:
                answer = await self._send(row.outgoing, on=self._connection)
            except errors.Unavailable as error:
                self._unavailable(one, row, error)
            except Exception as error:  # noqa: BLE001 - whatever a transport does, the row's key must go on
                self._refused(one, row, error)
            else:
                if not one.acknowledged(row, answer):
                    self._distrust(one)
            self._landed.set()
            if self._closing or self._spine.connection != self._connection:
                break
            now = self._loop.time()
            row = one.flow.take(now)
            self._start(one, now)
        if one.flow.unrecorded == 1 or self._is_due() or (one.news and one.flow.space):
            self._wake.set()

    async def _traced(self, outgoing: ports.Outgoing, *, on: int) -> ports.Published:
        """Publish as a span between the one that wrote the row and the one that will handle the message."""
        context = _context_of(outgoing)
        with telemetry.span("outbox publish", context, "producer", room=self._room, stream=outgoing.stream) as inner:
            return await self._spine.publish(route.at_span(inner, outgoing), on=on)

    def _unavailable(self, one: course.Course, row: flow.Row, error: errors.PenstockError) -> None:
        failures.labels(self._room, error.code).inc()
        one.flow.unavailable(row, self._loop.time())
        if error.code not in FULL:
            self._distrust(one)

    def _distrust(self, one: course.Course) -> None:
        """Nothing more for this stream until it has been looked at again."""
        one.flow.shut = True
        self._watch.ask()

    def _refused(self, one: course.Course, row: flow.Row, error: Exception) -> None:
        code = error.code if isinstance(error, errors.PenstockError) else type(error).__name__
        if code == "no_stream" and isinstance(error, errors.PenstockError):
            # No fault of the row: it leaves once somebody has brought the stream back, however late.
            self._unavailable(one, row, error)
            return
        failures.labels(self._room, code).inc()
        given_up = one.flow.refused(row, code, self._loop.time())
        one.news = True
        if given_up:
            failures.labels(self._room, "given_up").inc()
        with telemetry.bound(_context_of(row.outgoing)):
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
        return sum(one.flow.unrecorded for one in self._courses.values()) * 2 >= self._limits.window

    def _next_due_s(self) -> float | None:
        """When something that waits may be tried again."""
        due = [at for one in self._courses.values() if not one.flow.shut and (at := one.flow.next_due_s()) is not None]
        return min(due) if due else None

    async def _pause(self, begun: float) -> None:
        """Until there is a reason to exchange again; under load, until enough has gathered to be worth it."""
        while True:
            now = self._loop.time()
            due = self._next_due_s()
            unrecorded = any(one.flow.unrecorded for one in self._courses.values())
            latest = min(begun + self._limits.record_s if unrecorded else math.inf, self._next_poll_s)
            until = latest if due is None else min(latest, due)
            if self._closing or now >= latest:
                return
            if any(one.news and one.flow.space for one in self._courses.values()) or self._is_due():
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


def _context_of(outgoing: ports.Outgoing) -> contexts.Context:
    """Whose a row is, and where in its trace whoever wrote it was."""
    return contexts.from_headers(subject.tenant_of(outgoing.subject), outgoing.headers)
