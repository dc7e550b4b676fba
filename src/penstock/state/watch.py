"""Watches the streams that a publisher fills: nothing is sent to one that was not verified, and losses are refilled.

Streams are looked at on each new connection before anything is published, then every second, and whenever an answer
does not fit what is known. One that lost something is refilled: what is on its way lands, its durables are made again,
the loss is noted, and rows wait again; only then does anything leave for it. A stream whose messages are made by
handlers of another (replies, of what was said) is watched beside that one, and refilled through it.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from penstock.base import errors, telemetry
from penstock.spine import consumer, ports, stream
from penstock.state import course, floors, heads, ledger

COSTS: Final = 20
"""Looking takes at most one part in so many of the time."""

SOON_S: Final = 0.25
"""How soon to look again while something is shut."""

LEAST_S: Final = 0.01
"""How soon to look again at the earliest."""

LOOK_MOST_S: Final = 2.0
"""How long one look may take."""

NOTED_S: Final = 5.0
"""How often it is noted that a stream is intact."""

_log = telemetry.logger("state.publisher")

losses = telemetry.counter(
    "penstock_outbox_losses_total",
    labels=("room", "stream", "why"),
    meaning="Losses of a stream that this room's publisher noticed: recreated (it is another one), shortened (an older "
    "copy of its store), replaced (an older copy that has grown again).",
    remedy="Find out who deleted or restored the store of NATS. What was lost is being sent again; consumers see some "
    "messages twice.",
)
refilled = telemetry.counter(
    "penstock_outbox_refilled_total",
    labels=("room", "stream"),
    meaning="Published rows that were sent again because this stream lost something.",
    remedy="Far more than ten minutes of traffic: a durable that nobody reads holds the oldest floor back, see "
    "penstock_floor_oldest_seconds.",
)


class MakesDurables(Protocol):
    """What making a durable again asks of the spine."""

    async def describe_consumer(self, stream: str, name: str) -> consumer.ConsumerPolicy | None:
        """As `spine.ports.Administration.describe_consumer`."""
        ...

    async def create_consumer(self, policy: consumer.ConsumerPolicy) -> None:
        """As `spine.ports.Administration.create_consumer`."""
        ...


class Transport(heads.Looks, MakesDurables, Protocol):
    """What a publisher asks of the spine."""

    @property
    def connection(self) -> int:
        """As `spine.ports.Spine.connection`."""
        ...

    async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
        """As `spine.ports.Spine.publish`."""
        ...


class Carrier(Protocol):
    """What the watch asks of whoever carries the rows."""

    def course_of(self, stream: str) -> course.Course:
        """The course of a stream; a new one when rows have not gone there before."""
        ...

    def courses(self) -> Sequence[course.Course]:
        """All there are."""
        ...

    def opened(self, connection: int) -> None:
        """Courses were opened: publish on this connection and on no other."""
        ...

    async def settle(self, courses: Sequence[course.Course]) -> None:
        """Let nothing leave on these courses, wait for what is on its way, record it, and forget what waits."""
        ...


class Watch:
    """Beside one carrier, for as long as it leads."""

    def __init__(
        self, carrier: Carrier, spine: Transport, book: ledger.Ledger, policies: Sequence[stream.StreamPolicy]
    ) -> None:
        self._carrier, self._spine, self._book = carrier, spine, book
        self._filled_by = {policy.name: tuple(policy.filled_by) for policy in policies}
        self._asked = asyncio.Event()
        self._noted_s: dict[str, float] = {}
        self._connection = 0

    def ask(self) -> None:
        """Look again soon: something does not fit."""
        self._asked.set()

    async def run(self, look_s: float) -> None:
        """For ever. Raises Unavailable when the database is away."""
        loop = asyncio.get_running_loop()
        for name, known in (await self._book.known()).items():
            self._carrier.course_of(name).adopt(known.head)
        for loss in await self._book.losses():
            await self._refill(loss)
        while True:
            self._asked.clear()
            begun = loop.time()
            await self._look_around()
            all_open = self._connection and not any(one.flow.shut for one in self._carrier.courses())
            pause_s = max(look_s, COSTS * (loop.time() - begun)) if all_open else min(look_s, SOON_S)
            # Whatever asks, and however often: others get their turn in between.
            await asyncio.sleep(LEAST_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def _look_around(self) -> None:
        """Look at every stream; open the courses of those that are intact, refill those that are not."""
        connection = self._spine.connection
        if connection != self._connection:
            self._shut(self._carrier.courses())
            self._connection = 0
        courses = self._watched()
        looks = dict(zip(courses, await asyncio.gather(*map(self._look, courses)), strict=True))
        doubtful = [one for one, found in looks.items() if found is None or (found.state is None and one.last)]
        held = self._behind(doubtful)
        self._shut([*held, *(one for one, found in looks.items() if found and not found.state)])
        lost = [(one, found) for one, found in looks.items() if found and found.why and one not in held]
        if lost:
            self._shut([one for one, _ in lost])
            # What is filled by hand of others comes last: its refill then finds less left to do.
            for one, found in sorted(lost, key=lambda pair: bool(self._filled_by.get(pair[0].name))):
                if await self._lose(one, found.why):
                    self.ask()
            return
        intact = {one: found.state for one, found in looks.items() if found and found.state and one not in held}
        for one, state in intact.items():
            await self._note(one, state)
        if connection and connection == self._spine.connection:
            self._open(intact, connection)
        elif connection != self._spine.connection:
            self.ask()

    def _watched(self) -> list[course.Course]:
        """All courses, those of streams that handlers fill from ours among them."""
        ours = {one.name for one in self._carrier.courses()}
        for name, fillers in self._filled_by.items():
            if ours.intersection(fillers):
                self._carrier.course_of(name)
        return list(self._carrier.courses())

    def _behind(self, courses: Iterable[course.Course]) -> list[course.Course]:
        """These courses and those through which their streams are filled."""
        found: list[course.Course] = []
        waiting = list(courses)
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.append(one)
                waiting += [self._carrier.course_of(name) for name in self._filled_by.get(one.name, ())]
        return found

    async def _look(self, one: course.Course) -> heads.Look | None:
        """What there is of a stream; None when nobody can tell now: others do not wait for one that hangs."""
        try:
            async with asyncio.timeout(LOOK_MOST_S):
                return await heads.look(self._spine, one.name, one.head)
        except (errors.PenstockError, TimeoutError):
            return None

    def _shut(self, courses: Iterable[course.Course]) -> None:
        for one in courses:
            one.flow.shut = True

    def _open(self, courses: Collection[course.Course], connection: int) -> None:
        fresh = connection != self._connection
        self._connection = connection
        for one in courses:
            if one.flow.shut:
                one.flow.shut, one.news = False, True
            if fresh:
                one.flow.probe()
        self._carrier.opened(connection)

    async def _note(self, one: course.Course, state: ports.StreamState) -> None:
        """Remember that a stream is intact, and where its head is when others move it."""
        now_s = asyncio.get_running_loop().time()
        head, due = one.head, now_s - self._noted_s.get(one.name, -NOTED_S) >= NOTED_S
        if head is None or (head.last == 0 and head.created != state.created):
            head, due = heads.Head(state.created), True
        if state.last > head.last and self._filled_by.get(one.name):
            try:
                head, due = await heads.head_of(self._spine, one.name, state), True
            except errors.PenstockError:
                return
        if due and (one.head is None or head.last >= one.last):
            one.adopt(head)
            await self._book.note(one.name, head)
            self._noted_s[one.name] = now_s

    async def _lose(self, one: course.Course, why: str) -> bool:
        """Note a loss and refill the stream; False when the spine is away meanwhile, and it will be noticed again."""
        targets = self._behind([one])
        await self._carrier.settle(targets)
        known = await self._book.known()
        try:
            state = await self._spine.stream_state(one.name)
            if state is None or one.name not in known:
                return False
            head = await heads.head_of(self._spine, one.name, state)
            await self._make_durables_again(one.name, known[one.name].intact_at)
        except errors.PenstockError as error:
            _log.warning("a loss waits to be refilled", stream=one.name, why=why, code=error.code)
            return False
        since = await self._since(one.name, [target.name for target in targets], known)
        loss = await self._book.lost(one.name, why, head, targets=[target.name for target in targets], since=since)
        one.adopt(head)
        losses.labels(self._book.room, one.name, why).inc()
        _log.error("stream lost messages", room=self._book.room, stream=one.name, why=why, since=str(since or "ever"))
        await self._refill(loss)
        return True

    async def _make_durables_again(self, name: str, intact_at: datetime) -> None:
        """Before anything is sent again, so that whoever reads them and is down now misses nothing."""
        for policy in await self._book.durables(name, intact_at):
            await make_again(self._spine, policy)

    async def _since(self, lost: str, targets: Sequence[str], known: Mapping[str, ledger.Known]) -> datetime | None:
        """From when on rows are sent again: what any durable of these streams may not have settled.

        A reply that was lost answers a message that was handled after the oldest floor, however early that was stored.
        """
        oldest = await self._book.oldest_floor(lost, known[lost].intact_at)
        found = [oldest]
        for name in targets:
            if name != lost and name in known:
                found.append(await self._book.oldest_floor(name, known[name].intact_at))
                marked = await self._book.floor_as_of(name, oldest) if oldest else None
                found += [marked] if marked else []
        return floors.since(found)

    async def _refill(self, loss: ledger.Loss) -> None:
        """Let all rows that the loss concerns wait again, batch by batch; they leave once the streams are verified."""
        await self._carrier.settle([self._carrier.course_of(name) for name in loss.targets])
        total = 0
        for day in await self._book.days():
            first, last = await self._book.span(loss, day)
            after = first - 1
            while after < last:
                count, after = await self._book.take_up(loss, day, after)
                total += count
        await self._book.finish(loss)
        refilled.labels(self._book.room, loss.stream).inc(total)
        _log.warning("stream is being refilled", room=self._book.room, stream=loss.stream, rows=total)


async def make_again(spine: MakesDurables, policy: consumer.ConsumerPolicy) -> bool:
    """Make a durable that its stream lost, from the stream's beginning; False when somebody was faster.

    Raises Unavailable. One that the server refuses is logged and left: it must not hold up everybody else's.
    """
    if await spine.describe_consumer(policy.stream, policy.name) is not None:
        return False
    try:
        await spine.create_consumer(policy)
    except errors.Rejected as error:
        if error.code != "consumer_exists":
            _log.error("durable cannot be made again", stream=policy.stream, durable=policy.name, code=error.code)
        return False
    _log.warning("durable made again", stream=policy.stream, durable=policy.name)
    return True
