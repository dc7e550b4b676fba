"""Keeps in Postgres where every durable of our streams is, and makes the durables again that a stream has lost.

One process does so at a time, whoever holds the lease; nobody waits for it. Without it floors grow old and a refill
sends more than it needs to. A durable that is gone while its stream is intact was deleted on purpose: it is forgotten.
"""

import asyncio
import dataclasses
import datetime
from collections.abc import Sequence
from typing import Final, Protocol

from penstock.base import errors, tasks, telemetry
from penstock.database import pool
from penstock.spine import consumer, ports, stream
from penstock.state import floors, heads, register, watch

STANDBY_S: Final = 1.0
MARKED_S: Final = 60.0

_log = telemetry.logger("state.keeper")

oldest = telemetry.gauge(
    "penstock_floor_oldest_seconds",
    labels=("stream",),
    meaning="Age of the oldest floor among the durables of a stream: everything stored earlier is settled by all.",
    remedy="Growing: a durable is not read. Start its app; or delete the durable of an app that is gone, for what is "
    "sent again after a loss begins at the oldest floor.",
)
missing = telemetry.gauge(
    "penstock_stream_missing",
    labels=("stream",),
    meaning="1 while a stream of ours that was there before is not there.",
    remedy="1 for more than half a minute: no core process makes it again, or JetStream refuses; see its log.",
)
waiting = telemetry.gauge(
    "penstock_consumer_waiting",
    labels=("consumer",),
    meaning="Messages that a consumer has not been handed yet (its lag), as the keeper saw them within a second or so.",
    remedy="Growing: the consumer is slower than what comes, or not there (`penstock doctor` says so). Give it another "
    "process, or see penstock_handler_seconds.",
)
unacked = telemetry.gauge(
    "penstock_consumer_unacked",
    labels=("consumer",),
    meaning="Messages that a consumer was handed and has not settled, in all of its processes.",
    remedy="At max_ack_pending (docs/reference/streams.md) for long: handlers hang, or a platform does not answer.",
)
losses = telemetry.counter(
    "penstock_stream_losses_total",
    labels=("stream", "why"),
    meaning="Losses of a stream that the keeper noticed; publishers notice by themselves.",
    remedy="See penstock_outbox_losses_total.",
)
remade = telemetry.counter(
    "penstock_durables_made_again_total",
    labels=("stream",),
    meaning="Durables made again by the keeper after their stream was lost.",
    remedy="Grows with losses only; see penstock_outbox_losses_total.",
)


class Transport(heads.Looks, watch.MakesDurables, Protocol):
    """What the keeper asks of the spine."""

    async def consumer_states(self, stream: str) -> list[ports.ConsumerState]:
        """As `spine.ports.Administration.consumer_states`."""
        ...


class Keeper:
    """For as long as it runs; `look_s` apart at least, more when looking is expensive."""

    def __init__(
        self,
        database: pool.Database,
        spine: Transport,
        *,
        policies: Sequence[stream.StreamPolicy] = stream.STREAMS,
        look_s: float = 1.0,
    ) -> None:
        self._database, self._spine, self._look_s = database, spine, look_s
        self._streams = [policy.name for policy in policies]
        self._tasks = tasks.Tasks()
        self._entries: dict[str, register.Entry] = {}
        self._told: dict[str, set[str]] = {}
        self._marks: dict[str, floors.Marks] = {}
        self.looks = 0

    async def start(self) -> None:
        """Begin; returns at once, whatever is away."""
        self._tasks.forever("keeper of floors", self._lead)

    async def stop(self) -> None:
        """End, and give up the lease."""
        await self._tasks.stop()

    async def _lead(self) -> None:
        """Stand by, then keep floors until the session is lost."""
        book = register.Register(await self._database.session("state"))
        try:
            while not await book.lead():  # noqa: ASYNC110 - another process holds it: nothing here can be told
                await asyncio.sleep(STANDBY_S)
            _log.info("keeps floors")
            self._entries, self._marks = await book.entries(), {}
            await self._keep(book)
        finally:
            self._measure_nothing()
            book.close()

    async def _keep(self, book: register.Register) -> None:
        loop = asyncio.get_running_loop()
        marked_s = -MARKED_S
        while True:
            begun = loop.time()
            at = await book.now()
            seen = await asyncio.gather(*(self._look(book, name, at) for name in self._streams))
            entries = [entry for entry in seen if entry is not None]
            marked = begun - marked_s >= MARKED_S
            if entries:
                await book.write(entries, marked=marked)
            marked_s = begun if marked else marked_s
            self._entries |= {entry.stream: entry for entry in entries}
            self.looks += 1
            await asyncio.sleep(max(self._look_s, watch.COSTS * (loop.time() - begun)))

    async def _look(self, book: register.Register, name: str, at: datetime.datetime) -> register.Entry | None:
        """A stream and its durables as they are; None when nobody can tell, or when it changed under the look.

        `at` is before the look, by the clock that says when rows were published.
        """
        known = self._entries.get(name)
        try:
            found = await heads.look(self._spine, name, known.head if known else None)
            missing.labels(name).set(int(found.state is None and known is not None))
            if found.state is None:
                return None
            if known and found.why:
                known = await self._begin_again(book, known, found)
            self._marks.setdefault(name, floors.Marks()).note(at, found.state.last)
            seen = await self._floors(name, at, found.state, known)
            head = await heads.head_of(self._spine, name, found.state)
            again = await heads.look(self._spine, name, head)
        except errors.Unavailable as error:
            _log.info("a look failed", stream=name, code=error.code)
            return None
        if again.state is None or again.why or again.state.created != found.state.created:
            return None
        oldest.labels(name).set(max([0.0, *((at - floor.at).total_seconds() for floor in seen.values())]))
        return register.Entry(name, known.life if known else 1, head, seen)

    async def _begin_again(self, book: register.Register, known: register.Entry, found: heads.Look) -> register.Entry:
        """A stream has lost something: its durables are made again, and what was known of it is set aside."""
        name = known.stream
        for floor in known.floors.values():
            if floor.policy is not None and await watch.make_again(self._spine, floor.policy):
                remade.labels(name).inc()
        state = found.state
        if state is None:
            raise errors.Broken("no_state", "a stream that is not there cannot begin again")
        head = await heads.head_of(self._spine, name, state)
        entry = register.Entry(name, await book.begin_again(name, head), head, {})
        losses.labels(name, found.why).inc()
        _log.error("stream lost messages", stream=name, why=found.why, durables=len(known.floors))
        self._entries[name] = entry
        self._marks.pop(name, None)
        return entry

    async def _floors(
        self, name: str, at: datetime.datetime, state: ports.StreamState, known: register.Entry | None
    ) -> dict[str, register.Floor]:
        """Where every durable is, and those that did not answer as they were."""
        before = known.floors if known else {}
        states = await self._spine.consumer_states(name)
        self._measure(name, states)
        seen = {one.policy.name: await self._floor(at, state, one, before.get(one.policy.name)) for one in states}
        for durable in before.keys() - seen.keys():
            # One whose server is away is missing from a list, too: only one that is certainly not there is forgotten.
            if await self._spine.describe_consumer(name, durable) is not None:
                seen[durable] = before[durable]
        return seen

    def _measure_nothing(self) -> None:
        """What is not looked at any more is not told any more."""
        for name in list(self._told):
            self._measure(name, ())

    def _measure(self, name: str, states: Sequence[ports.ConsumerState]) -> None:
        """What each consumer of a stream has in front of it, over all of its durables; strangers' are left out."""
        told = self._told.setdefault(name, set())
        lag: dict[str, tuple[int, int]] = {}
        for one in states:
            if is_ours(one.policy.name):
                durable = consumer.consumer_of(one.policy.name)
                left, held = lag.get(durable, (0, 0))
                lag[durable] = left + one.waiting, held + one.held
        for gone in told - lag.keys():
            waiting.remove(gone)
            unacked.remove(gone)
        for durable, (left, held) in lag.items():
            waiting.labels(durable).set(left)
            unacked.labels(durable).set(held)
        self._told[name] = set(lag)

    async def _floor(
        self, at: datetime.datetime, state: ports.StreamState, one: ports.ConsumerState, before: register.Floor | None
    ) -> register.Floor:
        """A durable as it is: settled are all messages stored before a time."""
        name = one.policy.stream
        settled: datetime.datetime | None = at
        if one.waiting or one.held:
            settled = self._marks[name].settled_before(one.floor)
        if settled is None:
            message = await self._spine.message(name, one.floor + 1) if one.floor >= state.first else None
            settled = message.at if message else state.oldest or state.created
        # A floor of a time that has not come yet was noted under a clock that was wrong.
        if before is not None and before.seq <= one.floor and before.at <= at:
            settled = max(settled, before.at)
        return register.Floor(one.floor, settled, again_of(one.policy))


def again_of(policy: consumer.ConsumerPolicy) -> consumer.ConsumerPolicy | None:
    """A durable as it would be made again: with all that its stream holds then; None for one that is not ours."""
    return dataclasses.replace(policy, deliver_new=False) if is_ours(policy.name) else None


def is_ours(durable: str) -> bool:
    """Whether a durable is one of this house's consumers or of an app, and not a stranger's who reads along."""
    name = consumer.consumer_of(durable)
    return name.startswith("app_") or any(name == ours.name for ours in consumer.CONSUMERS)
