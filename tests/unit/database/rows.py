"""Rows for groups, and a database in memory that takes whole transactions or none."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from penstock.base import errors


@dataclasses.dataclass
class Row:
    """`bad` makes every transaction that holds it fail."""

    name: str
    lane: str = ""
    tenant: str = "acme"
    size_bytes: int = 10
    bad: Exception | None = None

    @property
    def key(self) -> str:
        return self.name


class Transaction:
    def __init__(self, tenants: Sequence[str]) -> None:
        self.tenants = tenants
        self.rows: list[Row] = []
        self.sent: list[str] = []

    def send(self, sql: str, values: Sequence[Any] = ()) -> None:
        self.sent.append(sql)


class Database:
    """Commits when it is told to (`gate`), and remembers each transaction that did."""

    def __init__(self) -> None:
        self.committed: list[list[Row]] = []
        self.tenants: list[Sequence[str]] = []
        self.running = self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away: Exception | None = None

    @contextlib.asynccontextmanager
    async def transaction(self, room: str, tenants: Sequence[str]) -> AsyncGenerator[Any]:
        assert room == "kitchen"
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            bound = Transaction(tenants)
            yield bound
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.away:
                raise self.away
            for row in bound.rows:
                if row.bad:
                    raise row.bad
            self.committed.append(bound.rows)
            self.tenants.append(tenants)
        finally:
            self.running -= 1

    @property
    def names(self) -> list[str]:
        return [row.name for rows in self.committed for row in rows]


def write(bound: Any, rows: Sequence[Row], places: Sequence[int]) -> Any:
    """Answers each row with its name; the transaction sees them in order of arrival."""
    assert [row.key for row in rows] == sorted(row.key for row in rows)
    bound.rows = [row for _, row in sorted(zip(places, rows, strict=True), key=lambda pair: pair[0])]
    return lambda: [f"did {row.name}" for row in rows]


BUSY = errors.Unavailable("database_contended", "locked")
REFUSED = errors.Rejected("conflict", "no", status=409)
