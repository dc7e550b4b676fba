"""The publisher's side of an outbox table: the lease, and one exchange that records what left and reads what waits.

All of it goes through one session that holds the lease as an advisory lock, so a publisher that lost its connection can
neither read nor record, and the next one may begin.
"""

import dataclasses
import datetime
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Final

from penstock.database import pool, session, transaction, wire
from penstock.spine import ports
from penstock.state import flow, heads

AHEAD_DAYS: Final = 14
"""Partitions are made this long ahead, so that a publisher may be away for that long."""

MOST_COUNTED: Final = 10_000
"""Waiting rows are counted up to here: how many more there are would cost a walk through all of them."""

# Recording needs no fsync: what is forgotten is published again under the same id. And a plan made while the table was
# empty must not walk through all of it when it is large.
_SESSION: Final = """
select set_config('synchronous_commit', 'off', false), set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false), set_config('enable_sort', 'off', false)"""


_decode: Final = json.JSONDecoder().raw_decode


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What to read of one stream: at most `limit` rows, none of those in `held`, none of the keys in `stuck`."""

    stream: str
    held: list[int]
    stuck: list[str]
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What is settled in one stream, and where its head is then (None: as it was)."""

    stream: str
    settled: Sequence[flow.Settled]
    head: heads.Head | None


class Relay:
    """One publisher's access to one room's outbox."""

    def __init__(self, held: session.Session, room: str) -> None:
        self.session, self.room = held, room

    @property
    def backend_pid(self) -> int:
        """The server process behind the session."""
        return self.session.backend_pid

    async def lead(self) -> bool:
        """Try to become the one publisher of this outbox; True from then on until the session ends."""
        row = await self.session.fetch_one(
            "select pg_try_advisory_lock(hashtextextended(%s, 0))", (f"penstock outbox {self.room}",)
        )
        return bool(row and row[0])

    async def prepare(self) -> None:
        """Set the session up, and see to the partitions of the coming days."""
        await self.session.execute(_SESSION)
        await self.session.execute(_prepare(self.room), (AHEAD_DAYS,))

    async def sweep(self, keep_days: int) -> list[str]:
        """Drop partitions older than `keep_days` in which nothing waits; returns their names."""
        await self.session.execute(_prepare(self.room), (AHEAD_DAYS,))
        row = await self.session.fetch_one(_sweep(self.room), (keep_days,))
        return list(row[0]) if row else []

    async def waiting(self) -> tuple[dict[str, datetime.datetime], int]:
        """The streams that rows wait for, since when the first one does, and how many wait (`MOST_COUNTED` at most)."""
        rows = await self.session.fetch_all(_waiting(self.room))
        return {row[0]: row[1] for row in rows}, rows[0][2] if rows else 0

    async def exchange(self, records: Sequence[Record], readings: Sequence[Reading]) -> list[list[flow.Row]]:
        """Record what is settled and read what waits, in one round trip; returns the rows of each reading, in order.

        Raises Unavailable; nothing counts as recorded then.
        """
        if not records and not readings:
            return []
        async with self.session.transaction() as bound:
            for record in records:
                _record(bound, self.room, record)
            answers = [
                bound.send(_read(self.room), (one.stream, _array(one.held), one.stuck, one.limit)) for one in readings
            ]
        return [_rows(one.stream, answer) for one, answer in zip(readings, answers, strict=True)]

    def close(self) -> None:
        """Give up the lease."""
        self.session.close()


async def connect(database: pool.Database, room: str) -> Relay:
    """A session for one outbox. Raises Unavailable when the server is away."""
    return Relay(await database.session("relay"), room)


def note_head(bound: transaction.Transaction, room: str, stream: str, head: heads.Head) -> None:
    """Queue the statement that remembers where a stream's head is."""
    bound.send(_head(room), (stream, head.created, head.last, head.digest))


def _record(bound: transaction.Transaction, room: str, record: Record) -> None:
    published = [one for one in record.settled if not one.failure]
    for day in {one.row.day for one in published}:
        mine = [one for one in published if one.row.day == day]
        created = record.head.created if record.head else None
        numbers, places = [one.row.seq for one in mine], [one.stream_seq for one in mine]
        bound.send(_published(room), (created, _array(numbers), _array(places), day))
    for one in record.settled:
        if one.failure:
            bound.send(_failed(room), (one.failure, one.row.day, one.row.seq))
    if record.head is not None:
        note_head(bound, room, record.stream, record.head)


@functools.cache
def _read(room: str) -> str:
    return (
        "select created_day, seq, subject, key, headers::text, body "  # noqa: S608
        f"from {room}.outbox where stream = %s and published_at is null and failed_at is null "
        "and seq <> all((select %s::text::bigint[])::bigint[]) and key <> all(%s::text[]) order by seq limit %s::bigint"
    )


@functools.cache
def _waiting(room: str) -> str:
    """One step of the index per stream, instead of all that waits."""
    waits = f"from {room}.outbox where published_at is null and failed_at is null"
    return (
        f"with recursive waiting(stream) as ((select min(stream) {waits}) union all "  # noqa: S608
        f"select (select min(stream) {waits} and stream > waiting.stream) from waiting where stream is not null"
        f") select stream, (select created_at {waits} and stream = waiting.stream order by seq limit 1), "
        f"(select count(*) from (select 1 {waits} limit {MOST_COUNTED}) as counted) from waiting "
        "where stream is not null"
    )


@functools.cache
def _published(room: str) -> str:
    return (
        f"update {room}.outbox as row set published_at = now(), stream_seq = done.stream_seq, "  # noqa: S608
        "stream_created = %s::timestamptz from unnest(%s::text::bigint[], %s::text::bigint[]) as done(seq, stream_seq) "
        "where row.created_day = %s::date and row.seq = done.seq"
    )


@functools.cache
def _failed(room: str) -> str:
    return (
        f"update {room}.outbox set failed_at = now(), failure = %s "  # noqa: S608
        "where created_day = %s::date and seq = %s::bigint"
    )


@functools.cache
def _head(room: str) -> str:
    return (
        f"insert into {room}.outbox_stream as known (stream, created, last_seq, digest) "  # noqa: S608
        "values (%s, %s, %s, %s) on conflict (stream) do update set created = excluded.created, "
        "last_seq = excluded.last_seq, digest = excluded.digest"
    )


@functools.cache
def _prepare(room: str) -> str:
    return f"select {room}.outbox_prepare(%s::integer)"


@functools.cache
def _sweep(room: str) -> str:
    return f"select {room}.outbox_sweep(%s::integer)"


def _rows(stream: str, answer: wire.Answer) -> list[flow.Row]:
    """Rows as they leave. Headers travel as text: their parser in C is called without psycopg's detours."""
    outgoing, decode = ports.Outgoing, _decode
    return [
        flow.Row(day, seq, outgoing(stream, subject, key, decode(headers)[0], body))
        for day, seq, subject, key, headers, body in answer.rows()
    ]


def _array(numbers: Iterable[int]) -> str:
    """An array of numbers as Postgres reads it: a tenth of what psycopg takes to look at each."""
    return "{" + ",".join(map(str, numbers)) + "}"
