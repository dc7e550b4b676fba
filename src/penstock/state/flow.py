"""In which order rows leave for one stream: pure bookkeeping of what was read, what is on its way and what is settled.

Laws: rows of one key leave in row order, one at a time; a row that failed is never overtaken within its key; a key that
has to wait holds up no other; nothing leaves while the flow is shut. A stream that does not answer is probed with one
message until it does, then the number in flight doubles with every acknowledgement, and meanwhile little is held in
memory. No I/O and no clock: time is handed in, in seconds.
"""

import collections
import dataclasses
import datetime
import heapq
from collections.abc import Iterable
from typing import Final

from penstock.base import tasks
from penstock.spine import ports

HOPELESS: Final = frozenset({"too_large", "bad_subject", "bad_header"})
"""Refusals that depend on the message alone: no later try can end otherwise."""

ROW_BYTES: Final = 1000
"""What a row counts for besides its body."""


@dataclasses.dataclass(slots=True, eq=False)
class Row:
    """One waiting row of an outbox. `tries` counts refusals by this process; `above` is for whoever publishes it."""

    day: datetime.date
    seq: int
    outgoing: ports.Outgoing
    tries: int = 0
    above: int = 0


@dataclasses.dataclass(slots=True)
class Settled:
    """A row that needs nothing more: published at `stream_seq`, or given up with the code in `failure`."""

    row: Row
    stream_seq: int = 0
    failure: str = ""


class Flow:
    """Rows for one stream held in memory: about `capacity` at most, of which at most `window` are on their way."""

    def __init__(self, *, window: int, capacity: int, attempts: int, capacity_bytes: int = 64 << 20) -> None:
        self._window, self._capacity, self._attempts = window, capacity, attempts
        self._capacity_bytes = capacity_bytes
        self._held: dict[int, Row] = {}
        self._held_bytes = 0
        self._lanes: dict[str, collections.deque[Row]] = {}
        self._ready: collections.deque[str] = collections.deque()
        self._stuck: set[str] = set()
        self._dropped: set[str] = set()
        self._due: list[tuple[float, str]] = []
        self._settled: list[Settled] = []
        self._limit, self._failures, self._until_s = window, 0, 0.0
        self._reading = False
        self.in_flight = 0
        self.shut = False

    @property
    def space(self) -> int:
        """How many more rows to read now: few while the stream does not answer, none while the flow is shut."""
        if self.shut or len(self._stuck) >= self._capacity or self._held_bytes >= self._capacity_bytes:
            return 0
        return max(0, min(self._capacity, 8 * self._limit) - len(self._held))

    @property
    def unrecorded(self) -> int:
        """Settled rows that `take_settled` has not given out yet."""
        return len(self._settled)

    @property
    def oldest(self) -> Row | None:
        """The row that has been in memory for longest."""
        return next(iter(self._held.values()), None)

    def reading(self) -> tuple[list[int], list[str]]:
        """A read begins; returns the rows in memory and the stuck keys, which it must leave out.

        Rows of a key are dropped from memory when its first one gets stuck. If that happens during a read, what the
        read brings of the key may lack the dropped rows, which come before: so `add` ignores it, until the next read.
        """
        self._dropped.clear()
        self._reading = True
        return list(self._held), list(self._stuck)

    def add(self, rows: Iterable[Row]) -> None:
        """Take in what the read that `reading` began has brought, in row order, unless all was forgotten meanwhile."""
        if not self._reading:
            return
        for row in rows:
            key = row.outgoing.key
            if row.seq in self._held or key in self._stuck or key in self._dropped:
                continue
            self._held[row.seq] = row
            self._held_bytes += len(row.outgoing.body) + ROW_BYTES
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = collections.deque((row,))
                self._ready.append(key)
            else:
                lane.append(row)

    def take(self, now_s: float) -> Row | None:
        """The next row to publish, or None when all must wait; then it is on its way until it is settled or failed."""
        if self._due and self._due[0][0] <= now_s:
            self._release_due(now_s)
        if self.shut or not self._ready or self.in_flight >= self._limit or self._until_s > now_s:
            return None
        self.in_flight += 1
        return self._lanes[self._ready.popleft()][0]

    def next_due_s(self) -> float | None:
        """When something that waits may be tried again; None when nothing waits for time to pass."""
        return self._due[0][0] if self._due else None

    def published(self, row: Row, stream_seq: int) -> None:
        """The stream has it."""
        self.in_flight -= 1
        if self._limit < self._window:
            self._limit = min(self._window, self._limit * 2)
        self._failures, self._until_s = 0, 0.0
        self._settle(Settled(row, stream_seq))

    def unavailable(self, row: Row, now_s: float) -> None:
        """Nobody knows whether the stream has it: the same row goes first when its stream is probed again."""
        self.in_flight -= 1
        self._ready.appendleft(row.outgoing.key)
        self._limit = 1
        if self._until_s <= now_s:
            self._failures += 1
            self._until_s = now_s + tasks.backoff_s(self._failures, most_s=5.0)
            heapq.heappush(self._due, (self._until_s, ""))

    def refused(self, row: Row, code: str, now_s: float) -> bool:
        """The stream will not have it; True when it is given up now, else it is tried again after a growing pause.

        Until then only this row of its key stays in memory: the others are read again when it is settled.
        """
        self.in_flight -= 1
        row.tries += 1
        key = row.outgoing.key
        if code in HOPELESS or row.tries >= self._attempts:
            self._settle(Settled(row, failure=code))
            return True
        self._stuck.add(key)
        self._dropped.add(key)
        lane = self._lanes[key]
        while len(lane) > 1:
            self._forget(lane.pop())
        heapq.heappush(self._due, (now_s + tasks.backoff_s(row.tries, most_s=30.0), key))
        return False

    def take_settled(self) -> list[Settled]:
        """What to record; from now on only the table knows these rows."""
        settled, self._settled = self._settled, []
        for one in settled:
            self._forget(one.row)
        return settled

    def probe(self) -> None:
        """The stream answers, as somebody else found out: try at once what waits for it."""
        self._failures, self._until_s = 0, 0.0

    def empty(self) -> None:
        """Forget what waits in memory, for rows before it wait again in the table; nothing may be on its way."""
        settled = {one.row.seq for one in self._settled}
        for row in [row for row in self._held.values() if row.seq not in settled]:
            self._forget(row)
        self._lanes.clear()
        self._ready.clear()
        self._stuck.clear()
        self._due.clear()
        self._reading = False

    def _forget(self, row: Row) -> None:
        del self._held[row.seq]
        self._held_bytes -= len(row.outgoing.body) + ROW_BYTES

    def _settle(self, settled: Settled) -> None:
        self._settled.append(settled)
        key = settled.row.outgoing.key
        self._stuck.discard(key)
        lane = self._lanes[key]
        lane.popleft()
        if lane:
            self._ready.append(key)
        else:
            del self._lanes[key]

    def _release_due(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            _, key = heapq.heappop(self._due)
            if key and key in self._stuck:
                self._ready.append(key)
