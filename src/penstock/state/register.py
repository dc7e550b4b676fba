"""The keeper's tables: every stream of ours in its present life, its durables, their floors, and how old those were.

They name durables, and those of apps name their tenants; so the tables are behind no tenant's wall but closed to every
role except the room `state`, which writes them, and the relay, which reads them before it refills a stream.
"""

import dataclasses
import datetime
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from penstock.database import session, transaction
from penstock.spine import consumer
from penstock.state import heads


@dataclasses.dataclass(frozen=True, slots=True)
class Floor:
    """One durable: everything up to `seq`, and everything stored before `at`, is settled.

    `policy` is what it would be made again from; None for a durable that is not ours to make.
    """

    seq: int
    at: datetime.datetime
    policy: consumer.ConsumerPolicy | None


@dataclasses.dataclass(slots=True)
class Entry:
    """A stream in one life of it: where its head was at the last look, and its durables by name."""

    stream: str
    life: int
    head: heads.Head
    floors: dict[str, Floor]


class Register:
    """What the keeper wrote down, through the session that holds its lease."""

    def __init__(self, held: session.Session) -> None:
        self._session = held

    async def lead(self) -> bool:
        """Try to become the one keeper; True from then on until the session ends."""
        row = await self._session.fetch_one(_LEAD)
        if row and row[0]:
            # What is forgotten was a second younger than what is known instead.
            await self._session.execute("select set_config('synchronous_commit', 'off', false)")
        return bool(row and row[0])

    async def entries(self) -> dict[str, Entry]:
        """Every stream in its present life."""
        found = {
            name: Entry(name, life, heads.Head(created, last, bytes(digest)), {})
            for name, life, created, last, digest in await self._session.fetch_all(_ENTRIES)
        }
        for name, durable, stored, seq, at in await self._session.fetch_all(_FLOORS):
            found[name].floors[durable] = Floor(seq, at, policy(stored) if stored else None)
        return found

    async def write(self, entries: Collection[Entry], *, marked: bool) -> None:
        """What was seen just now; durables that are not there any more are forgotten. `marked` adds to the history."""
        async with self._session.transaction() as bound:
            for entry in entries:
                _write(bound, entry)
                if marked and entry.floors:
                    bound.send(_MARK, (entry.stream, min(floor.at for floor in entry.floors.values())))
            if marked:
                bound.send(_PRUNE_MARKS)
                bound.send(_PRUNE_LIVES)

    async def begin_again(self, stream: str, head: heads.Head) -> int:
        """The stream has lost something: what was known of it stays as it is; returns the number of its next life."""
        row = await self._session.fetch_one(_BEGIN_AGAIN, (stream, stream, head.created, head.last, head.digest))
        return int(row[0]) if row else 1

    async def now(self) -> datetime.datetime:
        """What time it is by the clock that also says when rows were published; asking keeps the lease."""
        rows = await self._session.fetch_all("select clock_timestamp()")
        return rows[0][0]

    def close(self) -> None:
        """Give up the lease."""
        self._session.close()


def policy(stored: Mapping[str, Any]) -> consumer.ConsumerPolicy:
    """A durable's policy, as it was stored by this build or another."""
    known = {field.name for field in dataclasses.fields(consumer.ConsumerPolicy)}
    values: dict[str, Any] = {name: value for name, value in stored.items() if name in known}
    values["backoff_s"] = tuple(values["backoff_s"])
    return consumer.ConsumerPolicy(**values)


def _write(bound: transaction.Transaction, entry: Entry) -> None:
    head, floors = entry.head, entry.floors
    bound.send(_WRITE, (entry.stream, entry.life, head.created, head.last, head.digest))
    bound.send(_FORGET, (entry.stream, entry.life, list(floors)))
    if floors:
        stored = [json.dumps(dataclasses.asdict(one.policy)) if one.policy else None for one in floors.values()]
        values = (list(floors), stored, [one.seq for one in floors.values()], [one.at for one in floors.values()])
        bound.send(_NOTE, (entry.stream, entry.life, *values))


_LEAD: Final = "select pg_try_advisory_lock(hashtextextended('penstock keeper', 0))"
_ENTRIES: Final = "select stream, life, created, last_seq, digest from state.stream_life where ended_at is null"
_FLOORS: Final = (
    "select stream, name, policy, floor_seq, floor_at from state.durable join state.stream_life using (stream, life) "
    "where ended_at is null"
)
_BEGIN_AGAIN: Final = (
    "with ended as (update state.stream_life set ended_at = now() where ended_at is null and stream = %s "
    "returning life) insert into state.stream_life (stream, life, created, last_seq, digest, looked_at) "
    "select %s::text, max(life) + 1, %s::timestamptz, %s::bigint, %s::bytea, now() from ended returning life"
)
_WRITE: Final = (
    "insert into state.stream_life (stream, life, created, last_seq, digest, looked_at) "
    "values (%s, %s, %s, %s, %s, now()) on conflict (stream, life) do update set created = excluded.created, "
    "last_seq = excluded.last_seq, digest = excluded.digest, looked_at = excluded.looked_at"
)
_FORGET: Final = "delete from state.durable where stream = %s and life = %s and name <> all(%s::text[])"
_NOTE: Final = (
    "insert into state.durable (stream, life, name, policy, floor_seq, floor_at) "
    "select %s::text, %s::bigint, name, policy, seq, at "
    "from unnest(%s::text[], %s::text[]::jsonb[], %s::bigint[], %s::timestamptz[]) as seen(name, policy, seq, at) "
    "on conflict (stream, life, name) do update set policy = excluded.policy, floor_seq = excluded.floor_seq, "
    "floor_at = excluded.floor_at"
)
_MARK: Final = "insert into state.floor_mark (stream, at, oldest_at) values (%s, now(), %s) on conflict do nothing"
# Lives that ended stay for publishers that have not noticed yet.
_PRUNE_MARKS: Final = "delete from state.floor_mark where at < now() - interval '8 days'"
_PRUNE_LIVES: Final = "delete from state.stream_life where ended_at < now() - interval '1 day'"
