"""One transaction as one room and its tenants, in as few round trips as its statements allow.

BEGIN and the binding of role and tenants travel with the first statement, COMMIT with whatever was queued last. So a
transaction of queued statements is one round trip, and one that reads a result is two.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

from penstock.base import errors, telemetry
from penstock.database import wire

_BIND: Final = "select set_config('role', %s, true), set_config('penstock.tenants', %s, true)"

_log = telemetry.logger("database.transaction")


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """Who a transaction runs as: a database role, and the tenants whose rows it may see and write."""

    role: str
    tenants: Sequence[str]

    def literal(self) -> str:
        """The tenants as a `text[]` literal. Tenant ids are slugs, so quoting and escaping is all it takes."""
        quoted = (tenant.replace("\\", "\\\\").replace('"', '\\"') for tenant in self.tenants)
        return "{" + ",".join(f'"{tenant}"' for tenant in quoted) + "}"


class Transaction:
    """Statements of one transaction. Use it inside its `async with` only, from one task.

    After an error nothing more runs: the block ends with a rollback, and raises that error even if it was caught.
    """

    def __init__(self, line: wire.Wire, room: str, binding: Binding, answer_s: float) -> None:
        self.room = room
        self._line, self._binding, self._answer_s = line, binding, answer_s
        self._begun = False
        self._error: errors.PenstockError | None = None
        self._committed: list[Callable[[], None]] = []

    def send(self, sql: str, values: Sequence[Any] = ()) -> wire.Answer:
        """Queue a statement without waiting; its answer is readable after the next awaited statement or the commit.

        An error of it shows there too. Raises Rejected `unstorable_text` for values that Postgres cannot hold.
        """
        if self._error is not None:
            raise self._error
        if not self._begun:
            self._begun = True
            self._line.send("begin")
            self._line.send(_BIND, (self._binding.role, self._binding.literal()))
        return self._line.send(sql, values)

    async def flush(self) -> None:
        """Wait until everything queued has run. Raises the first error among it."""
        if not self._line.idle:
            await self._sync()

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; returns how many rows it wrote (or returned)."""
        answer = self.send(sql, values)
        await self._sync()
        return answer.affected

    async def fetch_all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; returns its rows."""
        answer = self.send(sql, values)
        await self._sync()
        return answer.rows()

    async def fetch_one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Run a statement; returns its first row, or None."""
        rows = await self.fetch_all(sql, values)
        return rows[0] if rows else None

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Run a plain function once the commit is certain. What it raises is logged: the rows are there already."""
        self._committed.append(callback)

    async def _sync(self) -> None:
        try:
            await self._line.sync(self._answer_s)
        except errors.PenstockError as error:
            self._error = error
            raise

    async def commit(self) -> None:
        """Make everything durable. Raises the first error of the transaction; nothing was written then.

        Raises Unavailable `commit_unknown` when the connection was lost while the server may have been committing.
        """
        if self._error is not None:
            await self.roll_back()
            raise self._error
        if self._begun:
            end = self._line.send("commit")
            try:
                await self._line.sync(self._answer_s)
            except errors.PenstockError as error:
                if self._line.lost:
                    raise errors.Unavailable(
                        "commit_unknown", "the connection was lost during a commit; the rows may or may not be there"
                    ) from error
                self._error = error
                await self.roll_back()
                raise
            if end.result is None or end.result.command_status != b"COMMIT":
                raise errors.Broken("not_committed", "Postgres rolled back instead of committing")
        for callback in self._committed:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - the transaction is committed whatever a listener does
                _log.error("listener of a commit failed", room=self.room, exc_info=error)

    async def roll_back(self) -> None:
        """Undo everything. Never raises: a connection that cannot do it is closed, and the server does it."""
        if not self._begun or self._line.lost:
            return
        try:
            if not self._line.idle:
                # What is still queued fails or is undone like the rest; its errors have nobody to go to.
                await _quietly(self._line, self._answer_s)
            self._line.send("rollback")
            await self._line.sync(self._answer_s)
        except errors.PenstockError:
            self._line.close()


async def _quietly(line: wire.Wire, answer_s: float) -> None:
    try:
        await line.sync(answer_s)
    except errors.PenstockError:
        if line.lost:
            raise
