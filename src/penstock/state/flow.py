"""In which order outbox rows leave: pure bookkeeping between what was read, what is on its way and what is settled.

Laws: rows of one key leave in row order, one at a time; a row that failed is never overtaken within its key; a key that
has to wait holds up no other. A stream that does not answer is probed with one message until it does, then the number
in flight doubles with every acknowledgement. No I/O and no clock: time is handed in, in seconds.
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

MENDABLE: Final = frozenset({"no_stream"})
"""Refusals that say nothing about the message: it leaves once somebody has brought the stream back, however late."""


@dataclasses.dataclass(slots=True, eq=False)
class Row:
    """One waiting row of an outbox. `tries` counts refusals by this process."""

    day: datetime.date
    seq: int
    created_at: datetime.datetime
    outgoing: ports.Outgoing
    tries: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """A row that needs nothing more: published at `stream_seq`, or given up with the code in `failure`."""

    row: Row
    stream_seq: int = 0
    failure: str = ""


@dataclasses.dataclass(slots=True)
class _Gate:
    """How much one stream takes right now."""

    limit: int
    in_flight: int = 0
    failures: int = 0
    until_s: float = 0.0
    parked: collections.deque[str] = dataclasses.field(default_factory=collections.deque[str])


class Flow:
    """Rows held in memory: at most about `capacity`, of which at most `window` are on their way."""

    def __init__(self, *, window: int, capacity: int, attempts: int) -> None:
        self._window, self._capacity, self._attempts = window, capacity, attempts
        self._held: dict[int, Row] = {}
        self._lanes: dict[str, collections.deque[Row]] = {}
        self._ready: collections.deque[str] = collections.deque()
        self._gates: dict[str, _Gate] = {}
        self._stuck: set[str] = set()
        self._dropped: set[str] = set()
        self._due: list[tuple[float, str, str]] = []
        self._settled: list[Settled] = []
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Rows on their way."""
        return self._in_flight

    @property
    def space(self) -> int:
        """How many more rows to read now."""
        return max(0, self._capacity - len(self._held)) if len(self._stuck) < self._capacity else 0

    @property
    def unrecorded(self) -> int:
        """Settled rows that `take_settled` has not given out yet."""
        return len(self._settled)

    def reading(self) -> tuple[list[int], list[str]]:
        """A read begins; returns the rows in memory and the stuck keys, which it must leave out.

        Rows of a key are dropped from memory when its first one gets stuck. If that happens during a read, what the
        read brings of the key may lack the dropped rows, which come before: so `add` ignores it, until the next read.
        """
        self._dropped.clear()
        return list(self._held), list(self._stuck)

    @property
    def oldest(self) -> Row | None:
        """The row that has been in memory for longest."""
        return next(iter(self._held.values()), None)

    def add(self, rows: Iterable[Row]) -> None:
        """Take in what the read that `reading` began has brought, in row order."""
        for row in rows:
            key = row.outgoing.key
            if row.seq in self._held or key in self._stuck or key in self._dropped:
                continue
            self._held[row.seq] = row
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = collections.deque((row,))
                self._ready.append(key)
            else:
                lane.append(row)

    def take(self, now_s: float) -> Row | None:
        """The next row to publish, or None when all must wait; then it is on its way until it is settled or failed."""
        self._release_due(now_s)
        while self._ready and self._in_flight < self._window:
            key = self._ready.popleft()
            row = self._lanes[key][0]
            gate = self._gate(row)
            if gate.in_flight >= gate.limit or gate.until_s > now_s:
                gate.parked.append(key)
                continue
            gate.in_flight += 1
            self._in_flight += 1
            return row
        return None

    def next_due_s(self) -> float | None:
        """When something that waits may be tried again; None when nothing waits for time to pass."""
        return self._due[0][0] if self._due else None

    def published(self, row: Row, stream_seq: int) -> None:
        """The stream has it."""
        gate = self._landed(row)
        gate.failures, gate.until_s = 0, 0.0
        gate.limit = min(self._window, gate.limit * 2)
        self._settle(Settled(row, stream_seq=stream_seq))
        self._open(gate)

    def unavailable(self, row: Row, now_s: float) -> None:
        """Nobody knows whether the stream has it: the same row goes first when its stream is probed again."""
        gate = self._landed(row)
        gate.parked.appendleft(row.outgoing.key)
        gate.limit = 1
        if gate.until_s <= now_s:
            gate.failures += 1
            gate.until_s = now_s + tasks.backoff_s(gate.failures, most_s=5.0)
            heapq.heappush(self._due, (gate.until_s, "gate", row.outgoing.stream))

    def refused(self, row: Row, code: str, now_s: float) -> bool:
        """The stream will not have it; True when it is given up now, else it is tried again after a growing pause.

        Until then only this row of its key stays in memory: the others are read again when it is settled.
        """
        gate = self._landed(row)
        row.tries += 1
        key = row.outgoing.key
        given_up = code in HOPELESS or (code not in MENDABLE and row.tries >= self._attempts)
        if given_up:
            self._settle(Settled(row, failure=code))
        else:
            self._stuck.add(key)
            self._dropped.add(key)
            lane = self._lanes[key]
            while len(lane) > 1:
                del self._held[lane.pop().seq]
            heapq.heappush(self._due, (now_s + tasks.backoff_s(row.tries, most_s=30.0), "key", key))
        self._open(gate)
        return given_up

    def take_settled(self) -> list[Settled]:
        """What to record; from now on only the table knows these rows."""
        settled, self._settled = self._settled, []
        for one in settled:
            del self._held[one.row.seq]
        return settled

    def _landed(self, row: Row) -> _Gate:
        gate = self._gate(row)
        gate.in_flight -= 1
        self._in_flight -= 1
        return gate

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

    def _open(self, gate: _Gate) -> None:
        for _ in range(min(len(gate.parked), gate.limit - gate.in_flight)):
            self._ready.append(gate.parked.popleft())

    def _release_due(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            _, kind, name = heapq.heappop(self._due)
            if kind == "key":
                self._ready.append(name)
            else:
                self._open(self._gates[name])

    def _gate(self, row: Row) -> _Gate:
        stream = row.outgoing.stream
        gate = self._gates.get(stream)
        if gate is None:
            gate = self._gates[stream] = _Gate(self._window)
        return gate
