"""The one pool of a process: it lends connections to transactions, and recovers by itself when the server comes back.

Connections are made when they are needed, up to `size`; the one used last is lent first, so that few stay warm. While
the server is away every caller is told at once, and one of them tries again each quarter of a second.
"""

import asyncio
import collections
import contextlib
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from penstock.base import errors, telemetry
from penstock.database import connect, failure, session, wire
from penstock.database.transaction import Binding, Transaction

PROBE_S: Final = 0.25
"""While the server is away, how often somebody may try."""

_ROOM = re.compile(r"[a-z][a-z_]{0,39}")

waited = telemetry.histogram(
    "penstock_database_wait_seconds",
    meaning="Seconds a transaction waited for a free connection.",
    remedy="Above 0.1: statements are slow, or the pool is too small for the load.",
)
opened = telemetry.counter(
    "penstock_database_connections_total",
    labels=("outcome",),
    meaning="Connections to Postgres by what became of the attempt: made, failed, lost.",
    remedy="failed or lost growing: Postgres restarts, refuses, or the network drops connections; see its log.",
)


class Database:
    """A pool of at most `size` connections to `url` (a libpq URL or conninfo string)."""

    def __init__(
        self,
        url: str,
        *,
        application: str,
        size: int = 8,
        deadline_s: float = 5.0,
        limits: connect.Limits | None = None,
    ) -> None:
        self._url, self._application, self._size = url, application, size
        self._deadline_s = deadline_s
        self._limits = limits or connect.Limits()
        self._idle: list[wire.Wire] = []
        self._waiting: collections.deque[asyncio.Future[wire.Wire | None]] = collections.deque()
        self._lent = 0
        self._away_until = 0.0
        self._closed = False

    async def open(self) -> None:
        """Prove that the server answers. Raises Unavailable when it does not, Rejected when it refuses the login.

        After Unavailable the pool can be used all the same: it connects as soon as the server is there.
        """
        self._closed = False
        self._give_back(await self._lend())

    async def ping(self) -> None:
        """One round trip, for readiness probes. Raises Unavailable."""
        line = await self._lend()
        try:
            line.send("select 1")
            await line.sync(self._limits.answer_s)
        finally:
            self._give_back(line)

    async def close(self) -> None:
        """Hang up what is idle; what is lent is hung up when it comes back."""
        self._closed = True
        for line in list(self._idle):
            line.close()

    @contextlib.asynccontextmanager
    async def transaction(self, room: str, tenants: Sequence[str] = ()) -> AsyncGenerator[Transaction]:
        """One transaction as the room's role, which sees and writes rows of these tenants only.

        Commits at the end of the block, rolls back when it raises. Raises Unavailable `database_busy` when no
        connection was free in time, `database_away` when the server does not answer.
        """
        role = role_of(room)
        line = await self._lend()
        transaction = Transaction(line, room, Binding(role, tenants), self._limits.answer_s)
        try:
            try:
                yield transaction
            except Exception:
                await transaction.roll_back()
                raise
            await transaction.commit()
        except BaseException as error:
            # Cancelled or torn down in the middle: nobody knows what is on the wire, so the server has to clean up.
            if not isinstance(error, Exception) and not line.idle:
                line.close()
            elif not isinstance(error, Exception):
                await transaction.roll_back()
            raise
        finally:
            self._give_back(line)

    async def session(self, role: str) -> session.Session:
        """A connection outside the pool, as `role` (`relay`, or a room): for locks that outlive transactions.

        The caller closes it. Raises as `open` does.
        """
        return await session.connected(self._url, application=self._application, role=role_of(role))

    async def _lend(self) -> wire.Wire:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise failure.away("the database pool is closed")
        begun = loop.time()
        line: wire.Wire | None = self._idle.pop() if self._idle else None
        if line is None and self._lent >= self._size:
            line = await self._turn(begun + self._deadline_s)
        else:
            self._lent += 1
        waited.observe(loop.time() - begun)
        return line or await self._connect()

    async def _turn(self, deadline: float) -> wire.Wire | None:
        """Wait in line for a connection, or for leave to make one; what is handed over counts as lent already."""
        turn: asyncio.Future[wire.Wire | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                detail = f"no database connection was free within {self._deadline_s:g} s"
                raise errors.Unavailable("database_busy", detail) from None
            raise

    async def _connect(self) -> wire.Wire:
        """Make the connection that was counted as lent already."""
        loop = asyncio.get_running_loop()
        try:
            if loop.time() < self._away_until:
                raise failure.away()
            line = await connect.connect(
                self._url, application=self._application, limits=self._limits, on_lost=self._lost
            )
        except BaseException as error:
            if isinstance(error, errors.Unavailable) and loop.time() >= self._away_until:
                self._away_until = loop.time() + PROBE_S
                opened.labels("failed").inc()
            self._give_back(None)
            raise
        opened.labels("made").inc()
        return line

    def _lost(self, line: wire.Wire) -> None:
        if line in self._idle:
            self._idle.remove(line)
        if not self._closed:
            opened.labels("lost").inc()

    def _give_back(self, line: wire.Wire | None) -> None:
        """Hand a connection (None: leave to make one) to whoever waits longest, else keep it."""
        if line is not None and self._closed:
            line.close()
        if line is not None and line.lost:
            line = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(line)
                return
        self._lent -= 1
        if line is not None:
            self._idle.append(line)


def role_of(room: str) -> str:
    """The database role of a room. Raises Broken for what is no room's name."""
    if not _ROOM.fullmatch(room):
        raise errors.Broken("bad_room", f"'{room}' is no room's name")
    return f"penstock_{room}"
