"""The publisher's side of an outbox table: the lease, and one exchange that records what left and reads what waits.

All of it goes through one session that holds the lease as an advisory lock, so a publisher that lost its connection can
neither read nor record, and the next one may begin.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final

from penstock.database import pool, session, transaction
from penstock.spine import ports
from penstock.state import flow

AHEAD_DAYS: Final = 14
"""Partitions are made this long ahead, so that a publisher may be away for that long."""

# Recording needs no fsync: what is forgotten is published again under the same id. And a plan made while the table was
# empty must not walk through all of it when it is large.
_SESSION: Final = """
select set_config('synchronous_commit', 'off', false), set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false), set_config('enable_sort', 'off', false)"""


class Relay:
    """One publisher's access to one room's outbox."""

    def __init__(self, held: session.Session, room: str) -> None:
        self._session, self._room = held, room

    @property
    def backend_pid(self) -> int:
        """The server process behind the session."""
        return self._session.backend_pid

    async def lead(self) -> bool:
        """Try to become the one publisher of this outbox; True from then on until the session ends."""
        row = await self._session.fetch_one(
            "select pg_try_advisory_lock(hashtextextended(%s, 0))", (f"penstock outbox {self._room}",)
        )
        return bool(row and row[0])

    async def prepare(self) -> None:
        """Set the session up, and see to the partitions of the coming days."""
        await self._session.execute(_SESSION)
        await self._session.execute(_prepare(self._room), (AHEAD_DAYS,))

    async def sweep(self, keep_days: int) -> list[str]:
        """Drop partitions older than `keep_days` in which nothing waits; returns their names."""
        await self._session.execute(_prepare(self._room), (AHEAD_DAYS,))
        row = await self._session.fetch_one(_sweep(self._room), (keep_days,))
        return list(row[0]) if row else []

    async def exchange(
        self, settled: Sequence[flow.Settled], held: list[int], stuck: list[str], limit: int
    ) -> list[flow.Row]:
        """Record what is settled and read what waits, in one round trip: neither rows in `held` nor of keys in `stuck`.

        Raises Unavailable; nothing counts as recorded then.
        """
        async with self._session.transaction() as bound:
            _record(bound, self._room, settled)
            answer = bound.send(_read(self._room), (held, stuck, limit)) if limit else None
        return [_row(row) for row in answer.rows()] if answer else []

    def close(self) -> None:
        """Give up the lease."""
        self._session.close()


async def connect(database: pool.Database, room: str) -> Relay:
    """A session for one outbox. Raises Unavailable when the server is away."""
    return Relay(await database.session("relay"), room)


def _record(bound: transaction.Transaction, room: str, settled: Sequence[flow.Settled]) -> None:
    for day in sorted({one.row.day for one in settled}):
        mine = [one for one in settled if one.row.day == day]
        if published := [one for one in mine if not one.failure]:
            numbers = [one.row.seq for one in published]
            bound.send(_published(room), (numbers, [one.stream_seq for one in published], day))
        for one in mine:
            if one.failure:
                bound.send(_failed(room), (one.failure, day, one.row.seq))


@functools.cache
def _read(room: str) -> str:
    return (
        "select created_day, seq, created_at, stream, subject, key, headers, body "  # noqa: S608
        f"from {room}.outbox where published_at is null and failed_at is null "
        "and seq <> all(%s::bigint[]) and key <> all(%s::text[]) order by seq limit %s::bigint"
    )


@functools.cache
def _published(room: str) -> str:
    return (
        f"update {room}.outbox as row set published_at = now(), stream_seq = done.stream_seq "  # noqa: S608
        "from unnest(%s::bigint[], %s::bigint[]) as done(seq, stream_seq) "
        "where row.created_day = %s::date and row.seq = done.seq"
    )


@functools.cache
def _failed(room: str) -> str:
    return (
        f"update {room}.outbox set failed_at = now(), failure = %s "  # noqa: S608
        "where created_day = %s::date and seq = %s::bigint"
    )


@functools.cache
def _prepare(room: str) -> str:
    return f"select {room}.outbox_prepare(%s::integer)"


@functools.cache
def _sweep(room: str) -> str:
    return f"select {room}.outbox_sweep(%s::integer)"


def _row(row: Sequence[Any]) -> flow.Row:
    day, seq, created_at, stream, subject, key, headers, body = row
    return flow.Row(day, seq, created_at, ports.Outgoing(stream, subject, key, headers, bytes(body)))
