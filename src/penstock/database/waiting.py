"""Who waits to be written, and which of them share the next group: pure bookkeeping, with time handed in (seconds).

Laws: rows of one lane leave in order of arrival and are never in two groups at once; rows of one caller leave together;
a caller who must wait for a lane holds up nobody in other lanes; no group is larger than the limits, unless one
caller's rows alone are.
"""

import asyncio
import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from penstock.base import errors, ids


class Row(Protocol):
    """What a group asks of a row; `key` and `lane` are compared, never looked into."""

    @property
    def tenant(self) -> str:
        """Whose it is: the group's transaction is bound to the tenants of its rows and to nobody else."""
        ...

    @property
    def key(self) -> Any:
        """Its place in the order in which rows are locked, the same in every process; so two never deadlock."""
        ...

    @property
    def lane(self) -> str:
        """Rows of one lane are written in order of arrival: never in two groups at once."""
        ...

    @property
    def size_bytes(self) -> int:
        """About how much of it is sent to the server."""
        ...


R = TypeVar("R", bound=Row)
A = TypeVar("A")


@dataclasses.dataclass(frozen=True, slots=True)
class GroupLimits:
    """How much shares a commit, and how much may wait for one.

    A group has at most `rows` and `size_bytes`, unless one caller's rows alone are more. `in_flight` groups are on
    their way at once while they have at most `small_rows` together: a larger one has the way for itself, because one
    more beside it costs more than a larger one after it, unless a row of it makes trouble. Beyond `waiting_rows` or
    `waiting_bytes` nobody may join; who has waited `wait_s` gives up. `row_bytes` is the most that one row may have. A
    lock that somebody else holds is waited for `lock_s` only, because others wait meanwhile.
    """

    rows: int = 256
    size_bytes: int = 2 << 20
    in_flight: int = 2
    small_rows: int = 16
    waiting_rows: int = 8192
    waiting_bytes: int = 64 << 20
    wait_s: float = 5.0
    row_bytes: int = 16 << 20
    lock_s: float = 0.25


@dataclasses.dataclass(slots=True, eq=False)
class Entry(Generic[R, A]):
    """Rows of one caller, written together or not at all, and where their answers go."""

    rows: Sequence[R]
    size_bytes: int
    joined_s: float
    done: asyncio.Future[list[A]]

    @property
    def left(self) -> bool:
        """The caller has an answer already, or does not wait for one any more."""
        return self.done.done()


class Waiting(Generic[R, A]):
    """Callers in order of arrival."""

    def __init__(self, limits: GroupLimits) -> None:
        self._limits = limits
        self._queue: collections.deque[Entry[R, A]] = collections.deque()
        self._rows = self._bytes = 0
        self._lanes: set[str] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def measure(self, rows: Sequence[R]) -> int:
        """Bytes of rows that may join.

        Raises Rejected `bad_slug` for what is no tenant, `row_too_large`; Unavailable `overloaded` without room.
        """
        size_bytes = 0
        for row in rows:
            ids.tenant_id(row.tenant)
            of_row = row.size_bytes
            if of_row > self._limits.row_bytes:
                detail = f"one row may have at most {self._limits.row_bytes} bytes"
                raise errors.Rejected("row_too_large", detail, status=413)
            size_bytes += of_row
        if self._rows + len(rows) > self._limits.waiting_rows or self._bytes + size_bytes > self._limits.waiting_bytes:
            raise errors.Unavailable("overloaded", "too much waits for the database", after_s=1.0)
        return size_bytes

    def add(self, entry: Entry[R, A]) -> None:
        """Wait behind everybody else."""
        self._queue.append(entry)
        self._rows += len(entry.rows)
        self._bytes += entry.size_bytes

    def take(self) -> list[Entry[R, A]]:
        """The next group; empty when everybody waits for a lane. Its lanes are taken until it has `landed`."""
        taken: list[Entry[R, A]] = []
        passed: list[Entry[R, A]] = []
        rows = size_bytes = 0
        blocked = set(self._lanes)
        while self._queue:
            entry = self._queue.popleft()
            if entry.left:
                self._forget(entry)
                continue
            if blocked and not blocked.isdisjoint([row.lane for row in entry.rows]):
                # Whatever comes later in any of its lanes must not overtake it.
                blocked.update(row.lane for row in entry.rows)
                passed.append(entry)
                continue
            rows += len(entry.rows)
            size_bytes += entry.size_bytes
            if taken and (rows > self._limits.rows or size_bytes > self._limits.size_bytes):
                self._queue.appendleft(entry)
                break
            self._forget(entry)
            taken.append(entry)
        self._queue.extendleft(reversed(passed))
        self._lanes.update(row.lane for entry in taken for row in entry.rows)
        return taken

    def landed(self, entries: Sequence[Entry[R, A]]) -> None:
        """A group has its answers; who waits for its lanes may leave."""
        self._lanes.difference_update(row.lane for entry in entries for row in entry.rows)

    def impatient(self, now_s: float) -> list[Entry[R, A]]:
        """Who has waited too long; they do not wait any more."""
        found: list[Entry[R, A]] = []
        while self._queue and (self._queue[0].joined_s + self._limits.wait_s <= now_s or self._queue[0].left):
            entry = self._queue.popleft()
            self._forget(entry)
            if not entry.left:
                found.append(entry)
        return found

    def clear(self) -> list[Entry[R, A]]:
        """Everybody who waits; nobody does afterwards."""
        found = list(self._queue)
        self._queue.clear()
        self._rows = self._bytes = 0
        return found

    def _forget(self, entry: Entry[R, A]) -> None:
        self._rows -= len(entry.rows)
        self._bytes -= entry.size_bytes
