"""What a publisher remembers of its streams in its room's tables: heads, losses, and which rows wait again.

A refill makes rows wait again, a few thousand in each transaction, and nothing else: they leave like any other, in row
order and before what came later. It is begun by the row of the loss and ends with it, so whoever leads after a crash in
its middle goes on, over whatever rows are not waiting yet.
"""

import dataclasses
import datetime
import functools
from collections.abc import Sequence
from typing import Final

from penstock.base import errors, telemetry
from penstock.spine import consumer
from penstock.state import floors, heads, register, relay

BATCH: Final = 5000
"""Rows that wait again by one statement."""

WINDOW: Final = 50_000
"""Rows that one statement looks at, so that it ends in time whatever it finds."""

_log = telemetry.logger("state.publisher")


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """The head of a stream, and when the stream was last seen to be intact."""

    head: heads.Head
    intact_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """A loss whose rows are being taken up; `since` None: all that are kept."""

    number: int
    stream: str
    targets: tuple[str, ...]
    since: datetime.datetime | None


class Ledger:
    """One room's, through the session of the publisher that leads."""

    def __init__(self, table: relay.Relay) -> None:
        self._session, self._room = table.session, table.room

    @property
    def room(self) -> str:
        """Whose outbox it is."""
        return self._room

    async def known(self) -> dict[str, Known]:
        """All that is known, by stream."""
        rows = await self._session.fetch_all(_heads(self._room))
        return {name: Known(heads.Head(created, last, bytes(digest)), at) for name, created, last, digest, at in rows}

    async def note(self, stream: str, head: heads.Head) -> None:
        """The stream is intact, and this is its head."""
        async with self._session.transaction() as bound:
            relay.note_head(bound, self._room, stream, head)
            bound.send(_intact(self._room), (stream,))

    async def losses(self) -> list[Loss]:
        """Those whose rows are still being taken up, oldest first."""
        rows = await self._session.fetch_all(_open(self._room))
        return [Loss(number, name, tuple(targets), since) for number, name, targets, since in rows]

    async def lost(
        self, stream: str, why: str, head: heads.Head, *, targets: Sequence[str], since: datetime.datetime | None
    ) -> Loss:
        """Note a loss, and the head from which the stream goes on, in one transaction."""
        async with self._session.transaction() as bound:
            answer = bound.send(_lost(self._room), (stream, why, list(targets), since))
            relay.note_head(bound, self._room, stream, head)
            bound.send(_intact(self._room), (stream,))
        return Loss(answer.rows()[0][0], stream, tuple(targets), since)

    async def oldest_floor(self, stream: str, intact_at: datetime.datetime) -> datetime.datetime | None:
        """As `floors.oldest`, of what the keeper wrote down."""
        rows = await self._session.fetch_all(_LIVES, (stream,))
        return floors.oldest([floors.Life(*row) for row in rows], intact_at)

    async def floor_as_of(self, stream: str, at: datetime.datetime) -> datetime.datetime | None:
        """The oldest floor that the stream had at `at` or later, by the keeper's marks; None without any."""
        row = await self._session.fetch_one(_MARK, (stream, at))
        return row[0] if row else None

    async def durables(self, stream: str, intact_at: datetime.datetime) -> list[consumer.ConsumerPolicy]:
        """The durables that the stream had when it was intact, or later."""
        rows = await self._session.fetch_all(_DURABLES, (stream, intact_at - floors.SLACK))
        return [register.policy(row[0]) for row in rows]

    async def days(self) -> list[datetime.date]:
        """The days of which rows are kept."""
        return [row[0] for row in await self._session.fetch_all(_DAYS, (f"{self._room}.outbox",))]

    async def span(self, loss: Loss, day: datetime.date) -> tuple[int, int]:
        """The rows of a day among which are all that a loss concerns: the first one, and the last one of the day.

        The first one is looked for by the time of publishing; when that takes too long, as there are so many that
        looking is not worth it, it is the first one of the day. (0, 0) when there is none.
        """
        last = await self._session.fetch_one(_last(self._room), (day,))
        try:
            first = await self._session.fetch_one(_first(self._room), (day, list(loss.targets), loss.since))
        except errors.Unavailable as error:
            if self._session.lost:
                raise
            _log.warning("looks through a whole day of rows", room=self._room, day=str(day), code=error.code)
            first = (1,)
        return (first[0], last[0]) if first and last and first[0] is not None else (0, 0)

    async def take_up(self, loss: Loss, day: datetime.date, after: int) -> tuple[int, int]:
        """Let a batch of rows behind `after` wait again; returns how many, and behind which row the next batch begins.

        What goes to a stream that is intact gets another message id, or the stream would drop it as sent before.
        """
        again, until = (loss.stream, loss.number), after + WINDOW
        values = (day, after, until, list(loss.targets), loss.since, BATCH, *again, *again, loss.number)
        row = await self._session.fetch_one(_take_up(self._room), values)
        count, top = row or (0, until)
        return int(count), int(top) if count == BATCH else until

    async def finish(self, loss: Loss) -> None:
        """All its rows wait."""
        await self._session.execute(_finish(self._room), (loss.number,))


_LIVES: Final = (
    "select began_at, looked_at, ended_at, (select min(floor_at) from state.durable as d "
    "where d.stream = life.stream and d.life = life.life) from state.stream_life as life where stream = %s"
)
_MARK: Final = "select min(oldest_at) from state.floor_mark where stream = %s and at >= %s - interval '2 minutes'"
_DURABLES: Final = (
    "select distinct on (name) policy from state.durable join state.stream_life using (stream, life) "
    "where stream = %s and policy is not null and (ended_at is null or ended_at >= %s) order by name, life desc"
)
_DAYS: Final = (
    "select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_inherits as i join pg_class as c on c.oid = i.inhrelid "
    "where i.inhparent = %s::text::regclass order by 1"
)


@functools.cache
def _heads(room: str) -> str:
    return f"select stream, created, last_seq, digest, verified_at from {room}.outbox_stream"  # noqa: S608


@functools.cache
def _intact(room: str) -> str:
    return f"update {room}.outbox_stream set verified_at = now() where stream = %s"  # noqa: S608


@functools.cache
def _open(room: str) -> str:
    return (
        f"select number, stream, targets, since from {room}.outbox_loss "  # noqa: S608
        "where finished_at is null order by number"
    )


@functools.cache
def _lost(room: str) -> str:
    return (
        f"insert into {room}.outbox_loss (stream, why, targets, since) "  # noqa: S608
        "values (%s, %s, %s::text[], %s::timestamptz) returning number"
    )


@functools.cache
def _last(room: str) -> str:
    return f"select max(seq) from {room}.outbox where created_day = %s::date"  # noqa: S608


@functools.cache
def _first(room: str) -> str:
    return (
        f"select min(seq) from (select seq from {room}.outbox where created_day = %s::date "  # noqa: S608
        "and stream = any(%s::text[]) and published_at >= coalesce(%s::timestamptz, '-infinity') offset 0) as lost"
    )


@functools.cache
def _take_up(room: str) -> str:
    fresh = "regexp_replace(message_id, '~[0-9]+$', '') || '~' || %s::bigint"
    return (
        f"with again as (select created_day, seq from {room}.outbox "  # noqa: S608
        "where created_day = %s::date and seq > %s::bigint and seq <= %s::bigint and stream = any(%s::text[]) "
        "and published_at >= coalesce(%s::timestamptz, '-infinity') order by seq limit %s::bigint), "
        f"taken as (update {room}.outbox as row set published_at = null, stream_created = null, stream_seq = null, "
        f"message_id = case when stream = %s then message_id else {fresh} end, "
        f"headers = case when stream = %s then headers else headers || jsonb_build_object('Nats-Msg-Id', {fresh}) end "
        "from again where row.created_day = again.created_day and row.seq = again.seq returning row.seq), "
        f"counted as (update {room}.outbox_loss set refilled = refilled + (select count(*) from taken) "
        "where number = %s::bigint) select count(*), max(seq) from taken"
    )


@functools.cache
def _finish(room: str) -> str:
    return f"update {room}.outbox_loss set finished_at = now() where number = %s"  # noqa: S608
