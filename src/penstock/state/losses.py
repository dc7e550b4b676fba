"""What an operator may want to know of losses: which streams lost something, when, and how much was sent again."""

import dataclasses
import datetime
import functools
from collections.abc import Sequence

from penstock.database import pool


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """One loss of a stream as one room's publisher noticed it.

    `why` is recreated (it is another stream), shortened (an older copy of the store) or replaced (an older copy that
    has grown again). Rows published since `since` are sent again, None: all that are kept. `refilled` counts them, and
    `finished_at` is None while they are still being taken up.
    """

    room: str
    stream: str
    why: str
    noticed_at: datetime.datetime
    since: datetime.datetime | None
    refilled: int
    finished_at: datetime.datetime | None


class Losses:
    """Those that the publishers of several rooms noticed. They are of no tenant."""

    def __init__(self, database: pool.Database, rooms: Sequence[str]) -> None:
        self._database, self._rooms = database, rooms

    async def list(self, *, limit: int = 50) -> list[Loss]:
        """At most `limit` of all rooms, newest first."""
        found: list[Loss] = []
        for room in self._rooms:
            async with self._database.transaction(room) as bound:
                rows = await bound.fetch_all(_select(room), (limit,))
            found += [Loss(room, *row) for row in rows]
        return sorted(found, key=lambda loss: loss.noticed_at, reverse=True)[:limit]


@functools.cache
def _select(room: str) -> str:
    return (
        "select stream, why, noticed_at, since, refilled, finished_at "  # noqa: S608 - the room's name is ours
        f"from {room}.outbox_loss order by number desc limit %s::integer"
    )
