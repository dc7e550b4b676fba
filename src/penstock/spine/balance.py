"""Who of the members of a consumer asks for which of its ranges. Pure: no I/O, no clock; time is handed in, in seconds.

Members tell each other which ranges they ask for. Every one of them counts what each should have, from what it heard,
and does its own part only: it lets go of what is too much for it, and takes what nobody asks for. Views may differ for
a moment; then two ask for the same range, or nobody does. Neither does harm for long: the server gives a range to one
of those who ask, and of those who ask for the same one all but one yield.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Final

FORGOTTEN_AFTER_S: Final = 3.0
"""A member that says nothing for so long is gone."""

BARRED_S: Final = 5.0
"""For so long a member does not ask again for what it let go of."""

LISTENS_FOR_S: Final = 1.2
"""For so long a member that slept takes nothing: the others have said by then what they ask for."""

ORPHANED_AFTER_S: Final = 2.5
"""What nobody asks for for so long is asked for by everybody who notices."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to do now."""

    take: tuple[int, ...] = ()
    let_go: tuple[int, ...] = ()


@dataclasses.dataclass(slots=True)
class _Member:
    ranges: frozenset[int]
    heard_at_s: float
    leaves: bool


def shares(counts: Mapping[str, int], ranges: int) -> dict[str, int]:
    """How many ranges each member should have, from how many it has: as even as can be, with the fewest moves."""
    least, over = divmod(ranges, len(counts))
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: least + (place < over) for place, name in enumerate(order)}


class Balance:
    """One member's view, and its part. `me` is its name; it begins with nothing."""

    def __init__(self, me: str, ranges: int, now_s: float) -> None:
        self._me, self._ranges = me, ranges
        self._others: dict[str, _Member] = {}
        self._mine: set[int] = set()
        self._leaving: set[int] = set()
        self._barred: dict[int, float] = {}
        self._unclaimed_since: dict[int, float] = {}
        self._dubious: set[int] = set()
        self._planned_at_s, self._woke_at_s = now_s, -FORGOTTEN_AFTER_S

    @property
    def mine(self) -> frozenset[int]:
        """What this member asks for, or still holds something of."""
        return frozenset(self._mine)

    @property
    def claims(self) -> frozenset[int]:
        """What to tell the others: all of it, but not, just after a sleep, what others may have taken over."""
        return frozenset(self._mine - self._dubious)

    def members(self, now_s: float) -> int:
        """How many members there are, this one included."""
        return 1 + len(self._present(now_s))

    def hear(self, name: str, ranges: Iterable[int], *, leaves: bool, now_s: float) -> bool:
        """Another member says what it asks for, or that it leaves and has only that left; True when that is news."""
        known = frozenset(number for number in ranges if 0 <= number < self._ranges)
        before = self._others.get(name)
        self._others[name] = _Member(known, now_s, leaves)
        if before is None or not self._is_heard(before, now_s):
            return True
        return (before.ranges, before.leaves) != (known, leaves)

    def took(self, number: int) -> None:
        """This member asks for a range now."""
        self._mine.add(number)

    def lets_go(self, number: int) -> None:
        """This member has stopped asking, but still holds something of the range."""
        self._leaving.add(number)

    def gone(self, number: int, now_s: float) -> None:
        """This member has nothing to do with the range any more; if nobody else asked for it, not for a while."""
        for numbers in (self._mine, self._leaving, self._dubious):
            numbers.discard(number)
        if not any(number in member.ranges for member in self._others.values() if self._is_heard(member, now_s)):
            self._barred[number] = now_s + BARRED_S

    def plan(self, now_s: float, load: Callable[[int], int]) -> Plan:
        """What to do now. `load` says how much of a range is held here: what holds least is let go of first."""
        self._notice_sleep(now_s)
        self._others = {name: member for name, member in self._others.items() if self._is_heard(member, now_s)}
        present = self._present(now_s)
        claimed = {name: member.ranges for name, member in self._others.items()}
        counts = {self._me: len(self._mine)} | {name: len(member.ranges) for name, member in present.items()}
        wanted = shares(counts, self._ranges)
        return Plan(
            self._to_take({number for ranges in claimed.values() for number in ranges}, counts, wanted, now_s),
            self._to_let_go(claimed, counts, wanted, load),
        )

    def _notice_sleep(self, now_s: float) -> None:
        if now_s - self._planned_at_s > FORGOTTEN_AFTER_S:
            self._woke_at_s, self._dubious = now_s, set(self._mine)
        elif now_s - self._woke_at_s > FORGOTTEN_AFTER_S:
            self._dubious.clear()
        self._planned_at_s = now_s

    def _to_take(
        self, claimed: set[int], counts: Mapping[str, int], wanted: Mapping[str, int], now_s: float
    ) -> tuple[int, ...]:
        if now_s - self._woke_at_s < LISTENS_FOR_S:
            return ()
        free = [number for number in range(self._ranges) if number not in claimed and number not in self._mine]
        self._unclaimed_since = {number: self._unclaimed_since.get(number, now_s) for number in free}
        slots = [name for name in sorted(counts) for _ in range(wanted[name] - counts[name])]
        for_me = {number for number, name in zip(free, slots, strict=False) if name == self._me}
        orphaned = {number for number in free if now_s - self._unclaimed_since[number] > ORPHANED_AFTER_S}
        return tuple(
            number for number in free if number in for_me | orphaned and self._barred.get(number, now_s) <= now_s
        )

    def _to_let_go(
        self,
        claimed: Mapping[str, frozenset[int]],
        counts: Mapping[str, int],
        wanted: Mapping[str, int],
        load: Callable[[int], int],
    ) -> tuple[int, ...]:
        kept = sorted(self._mine - self._leaving, key=lambda number: (load(number), -number))
        yielded = {number for number in kept if self._must_yield(number, claimed)}
        if yielded or not any(counts[name] < wanted[name] for name in counts):
            return tuple(sorted(yielded))
        excess = len(kept) - wanted[self._me]
        return tuple(sorted(kept[: max(0, excess)]))

    def _must_yield(self, number: int, claimed: Mapping[str, frozenset[int]]) -> bool:
        """Of those who ask for one range, who asks for fewest keeps it; of several such, in turn by its number."""
        rivals = {name: len(ranges) for name, ranges in claimed.items() if number in ranges}
        if not rivals or number in self._dubious:
            return bool(rivals)
        rivals[self._me] = len(self._mine)
        fewest = sorted(name for name, count in rivals.items() if count == min(rivals.values()))
        return fewest[number % len(fewest)] != self._me

    def _present(self, now_s: float) -> dict[str, _Member]:
        return {name: m for name, m in self._others.items() if self._is_heard(m, now_s) and not m.leaves}

    @staticmethod
    def _is_heard(member: _Member, now_s: float) -> bool:
        return now_s - member.heard_at_s <= FORGOTTEN_AFTER_S
