"""Group commit: concurrent transactions of one kind share a round trip and an fsync, and none feels its neighbour.

Batching is natural, there is no timer: a group leaves as soon as one of a few places is free, with what waits at that
moment. So a row on an idle system leaves at once, and under load groups grow by themselves.

A group that fails for a reason that one row can cause is split in halves until the row that causes it stands alone. So
a bad row costs its neighbours a few round trips more, and nothing else. What only the world can cause (the server is
away, nobody knows whether it committed) is told to every row of the group as it is.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, Protocol

from penstock.base import errors, telemetry
from penstock.database.transaction import Transaction
from penstock.database.waiting import A, Entry, GroupLimits, R, Waiting

_LOCK_WAIT: Final = "select set_config('lock_timeout', %s, true)"

_BY_ONE_ROW: Final = frozenset({"database_contended"})
"""What is Unavailable because of one row: somebody else holds a lock that it needs."""

committed = telemetry.counter(
    "penstock_group_rows_total",
    labels=("kind",),
    meaning="Rows committed in groups.",
    remedy="Divided by penstock_groups_total with outcome committed it is how many share one commit: 1 when idle; "
    "near the limit of 256 Postgres is what everybody waits for.",
)
groups = telemetry.counter(
    "penstock_groups_total",
    labels=("kind", "outcome"),
    meaning="Groups of rows by outcome: committed, split (a row failed, and its neighbours were tried without it), "
    "refused (a single row that failed), unavailable (told to each of its rows).",
    remedy="split, refused: a row that Postgres refuses; the answer to whoever sent it says why. unavailable: look at "
    "Postgres.",
)
waited = telemetry.histogram(
    "penstock_group_wait_seconds",
    labels=("kind",),
    meaning="Seconds that the first row of a group waited for its group to leave.",
    remedy="Above 0.1: Postgres commits slowly (look at its disk), or this process lacks CPU.",
)
overloaded = telemetry.counter(
    "penstock_group_overloaded_total",
    labels=("kind",),
    meaning="Rows that were refused or gave up because too much was waiting for Postgres.",
    remedy="Postgres is stalled or too slow for the load; callers try again.",
)

Write = Callable[[Transaction, Sequence[R], Sequence[int]], Callable[[], Sequence[A]]]
"""Queues what writes rows, waiting for nothing; what it returns reads one answer a row, once all has been committed.

The rows come sorted by key; the numbers beside them say as which one each had arrived. Rows may have the same key.
"""


class Transacts(Protocol):
    """What a group asks of the pool."""

    def transaction(self, room: str, tenants: Sequence[str]) -> AbstractAsyncContextManager[Transaction]:
        """As `pool.Database.transaction`."""
        ...


class Group(Generic[R, A]):
    """Transactions of one kind, as the role of `room`. `kind` names them in metrics."""

    def __init__(
        self, database: Transacts, room: str, write: Write[R, A], *, kind: str, limits: GroupLimits | None = None
    ) -> None:
        self._database, self._room, self._write, self._kind = database, room, write, kind
        self._limits = limits or GroupLimits()
        self._waiting = Waiting[R, A](self._limits)
        self._under_way: dict[asyncio.Task[None], int] = {}
        self._leaving: asyncio.Handle | None = None
        self._impatience: asyncio.TimerHandle | None = None
        self._committed, self._waited = committed.labels(kind), waited.labels(kind)
        self._overloaded = overloaded.labels(kind)

    def join(self, rows: Sequence[R]) -> asyncio.Future[list[A]]:
        """Write these rows, all or none, with whatever else is written now; the future has an answer for each.

        Raises at once, and nobody else notices, what cannot be sent: Rejected `bad_slug` for what is no tenant,
        `row_too_large`; and Unavailable `overloaded` when too much waits. The future raises what the rows by themselves
        would have: Unavailable `commit_unknown` when nobody knows whether they were committed. Cancel it to leave; rows
        that are on their way by then may be written.
        """
        loop = asyncio.get_running_loop()
        try:
            size_bytes = self._waiting.measure(rows)
        except errors.Unavailable:
            self._overloaded.inc(len(rows))
            raise
        entry: Entry[R, A] = Entry(rows, size_bytes, loop.time(), loop.create_future())
        if rows:
            self._waiting.add(entry)
            self._wake()
        else:
            entry.done.set_result([])
        return entry.done

    async def close(self) -> None:
        """Wait for what is on its way; what still waits is told that it was not written."""
        for entry in self._waiting.clear():
            _tell(entry, errors.Unavailable("database_away", "this process is stopping"))
        while self._under_way:
            await asyncio.wait(list(self._under_way))
        for handle in (self._leaving, self._impatience):
            if handle is not None:
                handle.cancel()
        self._leaving = self._impatience = None

    def _wake(self) -> None:
        """Let a group leave once everybody who is about to join in this turn of the loop has joined."""
        if not self._way_is_free:
            self._watch()
        elif self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_soon(self._leave)

    @property
    def _way_is_free(self) -> bool:
        return (
            len(self._under_way) < self._limits.in_flight and sum(self._under_way.values()) <= self._limits.small_rows
        )

    def _leave(self) -> None:
        self._leaving = None
        loop = asyncio.get_running_loop()
        while self._way_is_free and (entries := self._waiting.take()):
            self._waited.observe(loop.time() - entries[0].joined_s)
            task = loop.create_task(self._carry(entries), name=f"group of {self._kind}")
            self._under_way[task] = sum(len(entry.rows) for entry in entries)
        if self._waiting:
            self._watch()

    def _watch(self) -> None:
        """See to it that nobody waits for ever."""
        if self._impatience is None:
            self._impatience = asyncio.get_running_loop().call_later(self._limits.wait_s / 4, self._give_up)

    def _give_up(self) -> None:
        """Tell whoever has waited too long; the others wait on."""
        self._impatience = None
        for entry in self._waiting.impatient(asyncio.get_running_loop().time()):
            self._overloaded.inc(len(entry.rows))
            detail = f"the database was busy for {self._limits.wait_s:g} s"
            _tell(entry, errors.Unavailable("overloaded", detail, after_s=1.0))
        if self._waiting:
            self._watch()

    async def _carry(self, entries: list[Entry[R, A]]) -> None:
        """Take a group to its end, whatever that is."""
        try:
            await self._settle(entries)
        except BaseException:
            for entry in entries:
                _tell(entry, errors.Unavailable("commit_unknown", "this process is stopping"))
            raise
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._under_way.pop(task, None)
            self._waiting.landed(entries)
            if self._waiting:
                self._wake()

    async def _settle(self, entries: list[Entry[R, A]]) -> None:
        """Answer each entry, by halves when one of them fails."""
        try:
            read, places = await self._commit(entries)
        except errors.Unavailable as error:
            if error.code not in _BY_ONE_ROW or len(entries) == 1:
                self._count("unavailable")
                for entry in entries:
                    _tell(entry, errors.Unavailable(error.code, error.detail, hint=error.hint, after_s=error.after_s))
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to whoever caused it
            if len(entries) == 1:
                self._count("refused")
                _tell(entries[0], error)
                return
        else:
            self._answer(entries, read, places)
            return
        self._count("split")
        self._let_others_pass()
        half = len(entries) // 2
        for part in (entries[:half], entries[half:]):
            await self._settle(part)

    def _let_others_pass(self) -> None:
        """A group in trouble takes its time; whoever waits for it does not have to."""
        task = asyncio.current_task()
        if task in self._under_way:
            self._under_way[task] = 0
        self._wake()

    async def _commit(self, entries: Sequence[Entry[R, A]]) -> tuple[Callable[[], Sequence[A]], list[int]]:
        """One transaction; returns what reads the answers, and the place of arrival of each row they are about."""
        arrived = [row for entry in entries for row in entry.rows]
        keys = [row.key for row in arrived]
        places = sorted(range(len(keys)), key=keys.__getitem__)
        async with self._database.transaction(self._room, sorted({row.tenant for row in arrived})) as bound:
            bound.send(_LOCK_WAIT, (str(round(self._limits.lock_s * 1000)),))
            read = self._write(bound, [arrived[place] for place in places], places)
        self._count("committed")
        self._committed.inc(len(arrived))
        return read, places

    def _answer(self, entries: Sequence[Entry[R, A]], read: Callable[[], Sequence[A]], places: list[int]) -> None:
        """Tell each entry about its rows. They are committed: an error of reading them is told to all."""
        try:
            by_place = dict(zip(places, read(), strict=True))
        except Exception as error:  # noqa: BLE001 - it goes to everybody who waits
            for entry in entries:
                _tell(entry, errors.Broken("answer_unread", f"rows were committed, their answers not read: {error}"))
            return
        first = 0
        for entry in entries:
            last = first + len(entry.rows)
            if not entry.left:
                entry.done.set_result([by_place[place] for place in range(first, last)])
            first = last

    def _count(self, outcome: str) -> None:
        groups.labels(self._kind, outcome).inc()


def _tell(entry: Entry[Any, Any], error: BaseException) -> None:
    if not entry.left:
        entry.done.set_exception(error)
