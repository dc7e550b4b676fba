"""What was lost, doubled and reordered, computed from what was said, what the platform heard, and what rows admit.

- lost: answered 200, and no answer of an app was ever taken by the platform;
- doubled: an answer that the platform was asked for again after it had taken it, under the same id or another, unless
  its command's row says that an attempt ended without anybody knowing how (ambiguous);
- reordered: an answer that came, for the first time, after that to a later message of its room.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from penstock.channels.testing import webhook_platform
from tests.soak import talk as talks


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Texts by what went wrong with them. `said`: how many were taken; `excused`: doubled, and marked ambiguous."""

    said: int = 0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    reordered: tuple[str, ...] = ()
    excused: int = 0

    def __str__(self) -> str:
        return f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.reordered)} reordered"

    @property
    def good(self) -> bool:
        """Whether everything that is promised held."""
        return not (self.lost or self.doubled or self.reordered)

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.said + other.said,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.reordered + other.reordered,
            self.excused + other.excused,
        )


def judge(
    said: Sequence[talks.Said],
    arrivals: Sequence[webhook_platform.Arrival],
    *,
    ambiguous: Collection[str] = (),
    but: Collection[str] = (),
) -> Verdict:
    """The verdict on one platform. `ambiguous`: ids of commands; `but`: texts that shall have no answer."""
    heard = {each.command.text for each in arrivals if each.taken}
    taken = [each for each in said if each.taken and each.text not in but]
    doubled, excused = _doubled(arrivals, ambiguous)
    return Verdict(
        said=len(taken),
        lost=tuple(each.text for each in taken if talks.answer(each.text) not in heard),
        doubled=tuple(doubled),
        reordered=tuple(_reordered(said, arrivals)),
        excused=excused,
    )


def _doubled(arrivals: Sequence[webhook_platform.Arrival], ambiguous: Collection[str]) -> tuple[list[str], int]:
    """Texts that the platform was asked for although it had them, and how many times that is excused."""
    commands: dict[str, str] = {}
    doubled, excused = list[str](), 0
    for each in arrivals:
        text, command_id = each.command.text, each.command.command_id
        if text not in commands:
            if each.taken:
                commands[text] = command_id
        elif commands[text] == command_id and command_id in ambiguous:
            excused += 1
        else:
            doubled.append(text)
    return doubled, excused


def _reordered(said: Sequence[talks.Said], arrivals: Iterable[webhook_platform.Arrival]) -> list[str]:
    """Texts whose first answer came after that to a later one of the same room."""
    places: dict[str, tuple[str, int]] = {}
    for place, each in enumerate(said):
        if each.taken:  # of what was refused nobody knows when it was taken after all
            places[talks.answer(each.text)] = (each.room, place)
    late, latest, seen = list[str](), dict[str, int](), set[str]()
    for each in arrivals:
        text = each.command.text
        if not each.taken or text in seen or text not in places:
            continue
        seen.add(text)
        room, place = places[text]
        if place < latest.get(room, -1):
            late.append(text)
        latest[room] = max(place, latest.get(room, -1))
    return late


def first_answers(arrivals: Iterable[webhook_platform.Arrival]) -> dict[str, float]:
    """When the platform first took each text (performance counter)."""
    first: dict[str, float] = {}
    for each in arrivals:
        if each.taken:
            first.setdefault(each.command.text, each.at_s)
    return first


def recovery_s(said: Iterable[talks.Said], first: Mapping[str, float], since_s: float) -> tuple[float, float]:
    """Seconds from `since_s` to the first answer to a message said after it, and until each room had such an answer.

    Infinite when there is none. A room that said nothing any more does not count.
    """
    rooms: dict[str, float] = {}
    for each in said:
        if each.at_s >= since_s and each.taken:
            heard_s = first.get(talks.answer(each.text), math.inf) - since_s
            rooms[each.room] = min(heard_s, rooms.get(each.room, math.inf))
    return min(rooms.values(), default=math.inf), max(rooms.values(), default=math.inf)
