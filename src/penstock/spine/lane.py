"""Lanes: strict order per key, parallel across keys, and turns taken fairly. Pure: no I/O, no clock, no tasks.

A lane is a queue of work for one key. At most one item of a lane is out at a time; a lane with more work goes to the
end of the line after each item, so that one busy key never starves the others.
"""

import collections
from collections.abc import Iterator
from typing import Generic, TypeVar

W = TypeVar("W")


class Lanes(Generic[W]):
    """Work in lanes. `take` hands out the next item whose lane is free; `done` or `release` must follow each `take`."""

    def __init__(self) -> None:
        self._lanes: dict[str, collections.deque[W]] = {}
        self._ready: collections.deque[str] = collections.deque()

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def open(self) -> int:
        """How many keys have work."""
        return len(self._lanes)

    @property
    def deepest(self) -> int:
        """Items in the longest lane, the one that is out included."""
        return max(map(len, self._lanes.values()), default=0)

    def add(self, key: str, item: W) -> None:
        """Put an item at the end of its lane."""
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = collections.deque((item,))
            self._ready.append(key)
        else:
            lane.append(item)

    def take(self) -> tuple[str, W] | None:
        """The first item of the lane whose turn it is, or None when no free lane has work."""
        if not self._ready:
            return None
        key = self._ready.popleft()
        return key, self._lanes[key][0]

    def done(self, key: str) -> None:
        """The item that was out is finished; the lane's next one may go, in its turn."""
        lane = self._lanes[key]
        lane.popleft()
        if lane:
            self._ready.append(key)
        else:
            del self._lanes[key]

    def release(self, key: str) -> None:
        """The item that was out has to be tried again: its lane, with the same item in front, takes its next turn."""
        self._ready.append(key)

    def clear(self) -> Iterator[W]:
        """Empty every lane, in order within each."""
        lanes, self._lanes = self._lanes, {}
        self._ready.clear()
        for lane in lanes.values():
            yield from lane
