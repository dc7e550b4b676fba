"""What an operator does with outbox rows that a stream refused for good: see them, and send them after all."""

import dataclasses
import datetime
import functools
from collections.abc import Sequence

from penstock.base import ids
from penstock.database import pool
from penstock.state import outbox


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A row that was given up: which message, why (a code), and when."""

    room: str
    seq: int
    stream: str
    subject: str
    message_id: str
    failure: str
    failed_at: datetime.datetime


class Failures:
    """The rows of several rooms' outboxes that were given up; always one tenant's."""

    def __init__(self, database: pool.Database, rooms: Sequence[str]) -> None:
        self._database, self._rooms = database, rooms

    async def list(self, tenant: str, *, limit: int = 50) -> list[Failed]:
        """At most `limit` rows of each room, newest first within it."""
        owner, found = ids.tenant_id(tenant), list[Failed]()
        for room in self._rooms:
            async with self._database.transaction(room, [owner]) as bound:
                rows = await bound.fetch_all(_select(room), (owner, limit))
            found += [Failed(room, *row) for row in rows]
        return found

    async def revive(self, tenant: str) -> int:
        """Send all of them after all; returns how many."""
        owner, count = ids.tenant_id(tenant), 0
        for room in self._rooms:
            async with self._database.transaction(room, [owner]) as bound:
                count += await outbox.revive(bound)
        return count


@functools.cache
def _select(room: str) -> str:
    return (
        "select seq, stream, subject, message_id, failure, failed_at "  # noqa: S608 - the room's name is ours
        f"from {room}.outbox where tenant = %s and failed_at is not null order by failed_at desc limit %s::integer"
    )
