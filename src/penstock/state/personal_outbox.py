"""Personal data in a room's outbox: what waits leaves as a tombstone, what has left is removed.

A row that waits may be in the publisher's memory already, and leave as it was whatever the table says by then. So it is
not removed but emptied, for no consumer at all, and erasing is over only once it has left; what it left behind in its
stream is erased there. Rows that have left would be sent again if their stream lost something: they are removed.
"""

import asyncio
import contextlib
import datetime
import functools
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors
from penstock.database import pool, transaction
from penstock.state import personal, personal_reading

LEAVES_WITHIN_S: Final = 15.0
POLL_S: Final = 0.05

Key = tuple[datetime.date, int]


class OutboxCopies:
    """`PersonalData` in one room's outbox."""

    def __init__(
        self, database: pool.Database, room: str, whose: personal.Whose, *, leaves_within_s: float = LEAVES_WITHIN_S
    ) -> None:
        self._database, self._room, self._whose, self._leaves_within_s = database, room, whose, leaves_within_s

    @property
    def place(self) -> str:
        """The table."""
        return f"{self._room}.outbox"

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """Rows of the person, day by day; a tombstone only once it has left."""
        for day, first, last in await self._days(trail):
            after = first - 1
            while after < last:
                until = after + personal.WINDOW
                values = (day, after, until, trail.person.tenant, trail.person.account)
                async with self._transaction(trail) as bound:
                    rows = await bound.fetch_all(_sizes(self._room), values)
                for seqs in personal.portions((seq, size) for seq, size in rows):
                    yield personal.Batch(0, await self._read(trail, day, seqs))
                yield personal.Batch(min(until, last) - after)
                after = until

    async def _days(self, trail: personal.Trail) -> list[tuple[datetime.date, int, int]]:
        """The days of which rows are kept, with the first and last number of each."""
        found: list[tuple[datetime.date, int, int]] = []
        async with self._transaction(trail) as bound:
            for (day,) in await bound.fetch_all(_DAYS, (self.place,)):
                row = await bound.fetch_one(_span(self._room), (day,))
                if row and row[0] is not None:
                    found.append((day, row[0], row[1]))
        return found

    async def _read(self, trail: personal.Trail, day: datetime.date, seqs: list[int]) -> list[personal.Found]:
        async with self._transaction(trail) as bound:
            rows = await bound.fetch_all(_rows(self._room), (day, seqs))
        clues = [
            personal_reading.read(subject, personal_reading.headers_of(headers), bytes(body))
            for _, _, subject, headers, body, _, _ in rows
        ]
        theirs = await personal_reading.choose(trail, clues, self._whose)
        found: list[personal.Found] = []
        for (seq, stream, _, _, _, at, waits), clue, hit in zip(rows, clues, theirs, strict=True):
            if hit and not (clue.erased and waits):
                shown = personal_reading.record(clue, at, stream=stream, published=not waits)
                found.append(personal.Found((day, seq), shown))
        return found

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Remove what has left or was given up, and empty what waits."""
        days = {one.key[0] for one in found}
        count = 0
        async with self._transaction(trail) as bound:
            for day in days:
                seqs = [one.key[1] for one in found if one.key[0] == day]
                emptied = await bound.execute(_empty(self._room), (trail.person.pseudonym, day, seqs))
                count += emptied + await bound.execute(_remove(self._room), (day, seqs))
        return count

    async def settled(self, trail: personal.Trail) -> None:
        """Wait until every tombstone has left. Raises Unavailable `outbox_waits`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._leaves_within_s
        while await self._waiting(trail):
            if loop.time() > until:
                raise errors.Unavailable(
                    "outbox_waits",
                    f"messages in {self.place} were emptied and still wait to leave",
                    hint="Is NATS there, and does a process run the room's role? Erase again then.",
                )
            await asyncio.sleep(POLL_S)

    async def _waiting(self, trail: personal.Trail) -> bool:
        async with self._transaction(trail) as bound:
            row = await bound.fetch_one(_left(self._room), (trail.person.tenant, trail.person.pseudonym))
        return row is not None

    def _transaction(self, trail: personal.Trail) -> contextlib.AbstractAsyncContextManager[transaction.Transaction]:
        return self._database.transaction(self._room, [trail.person.tenant])


_DAYS: Final = (
    "select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_inherits as i join pg_class as c on c.oid = i.inhrelid "
    "where i.inhparent = %s::text::regclass order by 1"
)


@functools.cache
def _span(room: str) -> str:
    return f"select min(seq), max(seq) from {room}.outbox where created_day = %s::date"  # noqa: S608


@functools.cache
def _sizes(room: str) -> str:
    return (
        f"select seq, octet_length(body) from {room}.outbox where created_day = %s::date "  # noqa: S608
        "and seq > %s::bigint and seq <= %s::bigint and tenant = %s and strpos(subject, %s) > 0 order by seq"
    )


@functools.cache
def _rows(room: str) -> str:
    return (
        "select seq, stream, subject, headers::text, body, created_at, "  # noqa: S608
        f"published_at is null and failed_at is null from {room}.outbox "
        "where created_day = %s::date and seq = any(%s::bigint[]) order by seq"
    )


@functools.cache
def _empty(room: str) -> str:
    """The last token of a subject is the conversation's, which may name a person, except in those of receipts."""
    return (
        f"update {room}.outbox set body = '', key = tenant || '/erased', "  # noqa: S608
        "subject = case when split_part(subject, '.', 3) = 'messages' "
        "then regexp_replace(subject, '[^.]+$', 'erased') else subject end, "
        f"headers = jsonb_build_object('{contexts.MESSAGE_ID}', message_id, '{contexts.TENANT}', tenant, "
        f"'{contexts.ONLY}', 'nobody', '{personal_reading.TOMBSTONE}', %s::text) "
        "where created_day = %s::date and seq = any(%s::bigint[]) and published_at is null and failed_at is null"
    )


@functools.cache
def _remove(room: str) -> str:
    return (
        f"delete from {room}.outbox where created_day = %s::date and seq = any(%s::bigint[]) "  # noqa: S608
        "and (published_at is not null or failed_at is not null)"
    )


@functools.cache
def _left(room: str) -> str:
    """Through the index of what waits."""
    return (
        f"select 1 from {room}.outbox where published_at is null and failed_at is null "  # noqa: S608
        f"and tenant = %s and headers ->> '{personal_reading.TOMBSTONE}' = %s limit 1"
    )
