"""From which moment on a stream must be filled again: pure arithmetic on what the keeper saw of its durables.

A floor is a sequence up to which a durable has settled everything; what a refill needs is a time. `Marks` turns one
into the other: each look at a stream notes the time before it and the last sequence it found, so that what had been
stored by then is at that sequence or below. A floor that is older than need be is safe: more is sent again.
"""

import bisect
import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Final

SLACK: Final = datetime.timedelta(minutes=10)
"""How much further back than the oldest floor: for clocks that differ, and for what a look was too late for."""

CLOSE: Final = datetime.timedelta(minutes=15)
APART: Final = datetime.timedelta(minutes=1)
KEPT: Final = datetime.timedelta(days=8)


class Marks:
    """When a stream had reached which sequence: closely for the last minutes, each minute for the days before."""

    def __init__(self) -> None:
        self._last: list[int] = []
        self._at: list[datetime.datetime] = []
        self._thin_at = 1024

    def note(self, at: datetime.datetime, last: int) -> None:
        """What was stored before `at` is at `last` or below. Of several times for one place the latest says most.

        A mark of a time that has not come yet was made by a clock that was wrong: it is forgotten.
        """
        while self._at and self._at[-1] > at:
            self._at.pop()
            self._last.pop()
        if self._last and self._last[-1] >= last:
            self._at[-1] = at
            return
        self._last.append(last)
        self._at.append(at)
        if len(self._last) > self._thin_at:
            self._thin(at)

    def settled_before(self, floor: int) -> datetime.datetime | None:
        """A time before which nothing above `floor` was stored; None when that was before the first mark."""
        place = bisect.bisect_right(self._last, floor)
        return self._at[place - 1] if place else None

    def _thin(self, now: datetime.datetime) -> None:
        kept: list[int] = []
        for place, at in enumerate(self._at):
            apart = not kept or at - self._at[kept[-1]] >= APART
            if (apart and at > now - KEPT) or at > now - CLOSE:
                kept.append(place)
        self._last, self._at = [self._last[place] for place in kept], [self._at[place] for place in kept]
        self._thin_at = len(kept) + 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Life:
    """One life of a stream as the keeper saw it. `oldest` is the oldest floor of its durables, None without any."""

    began_at: datetime.datetime
    looked_at: datetime.datetime
    ended_at: datetime.datetime | None
    oldest: datetime.datetime | None


def oldest(lives: Iterable[Life], intact_at: datetime.datetime) -> datetime.datetime | None:
    """The moment before which everything was settled in a stream that was last seen intact at `intact_at`.

    Lives that ended before are over and dealt with. None when nobody had looked at the stream before it lost something.
    Without a durable nobody had anything to settle when it was last looked at.
    """
    concerned = [life for life in lives if life.ended_at is None or life.ended_at >= intact_at - SLACK]
    if not any(life.began_at <= intact_at for life in concerned):
        return None
    return min(life.oldest or life.looked_at for life in concerned)


def since(oldest_floors: Sequence[datetime.datetime | None]) -> datetime.datetime | None:
    """From when on rows are sent again, given the oldest floor of every stream concerned; None: all that are kept."""
    known = [floor for floor in oldest_floors if floor is not None]
    return min(known) - SLACK if known and len(known) == len(oldest_floors) else None
