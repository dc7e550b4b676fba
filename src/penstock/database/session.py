"""A connection of one's own: what is locked in it is let go when it ends, and not before.

A publisher holds its lease (an advisory lock) here and sends all its statements here too, so that losing the connection
loses the right to write in the same moment.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from penstock.database import connect, wire
from penstock.database.transaction import Binding, Transaction

IDLE_S: Final = 30.0
"""The server ends a session that is silent for this long, so that a stopped process does not hold a lock for ever."""


class Session:
    """One connection as one role. One owner: statements of several tasks take turns."""

    def __init__(self, line: wire.Wire, role: str, answer_s: float) -> None:
        self._line, self._role, self._answer_s = line, role, answer_s
        self._turn = asyncio.Lock()

    @property
    def lost(self) -> bool:
        """The connection is over, and with it every lock that was held in it."""
        return self._line.lost

    @property
    def backend_pid(self) -> int:
        """The process id of the server's side."""
        return self._line.backend_pid

    @asynccontextmanager
    async def transaction(self, tenants: Sequence[str] = ()) -> AsyncGenerator[Transaction]:
        """As `Database.transaction`, on this connection and as this session's role."""
        async with self._turn:
            room = self._role.removeprefix("penstock_")
            transaction = Transaction(self._line, room, Binding(self._role, tenants), self._answer_s)
            try:
                yield transaction
            except Exception:
                await transaction.roll_back()
                raise
            except BaseException:
                self._line.close()
                raise
            await transaction.commit()

    async def fetch_all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, in one round trip; returns its rows."""
        async with self.transaction() as transaction:
            answer = transaction.send(sql, values)
        return answer.rows()

    async def fetch_one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of `fetch_all`, or None."""
        rows = await self.fetch_all(sql, values)
        return rows[0] if rows else None

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement in a transaction of its own; returns how many rows it wrote (or returned)."""
        async with self.transaction() as transaction:
            answer = transaction.send(sql, values)
        return answer.affected

    def close(self) -> None:
        """Hang up, and let go of every lock."""
        self._line.close()


async def connected(url: str, *, application: str, role: str) -> Session:
    """Open a session. Raises Unavailable when the server is away, Rejected when it refuses the login."""
    limits = connect.Limits(idle_session_s=IDLE_S)
    line = await connect.connect(url, application=f"{application} {role}", limits=limits)
    return Session(line, role, limits.answer_s)
