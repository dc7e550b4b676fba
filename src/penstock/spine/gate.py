"""The gate of one range: nothing passes while an older message may be in other hands. Pure: no I/O, no clock.

A session (see `ports.Delivery.session`) is a time in which every delivery that the server makes arrives here. The
first delivery of a new session closes the gate. It opens when the server says that exactly what is held here is
un-acked: every message handed out before then is settled or ours, and every later one will arrive in its order.

Why that is exact. Let H be what was held before the question, less what has been settled when the answer comes, and
less what the floor, asked first, has passed. Each of H is still un-acked at the server, because only who holds a
message settles it (`lease`: what has lapsed is not settled any more). So when as many are un-acked as H has, they are
H, and nobody else holds anything. The floor alone would not do: it stands below messages of other partitions, and a
message that it lets pass says nothing about the one after it.
"""

import dataclasses
from collections.abc import Collection
from typing import Generic, TypeVar

W = TypeVar("W")


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What was held, and in which session, before the server was asked."""

    session: int
    held: frozenset[int]


class Gate(Generic[W]):
    """Work in front of a gate, by sequence. It is closed until it was opened once."""

    def __init__(self) -> None:
        self._session: int | None = None
        self._closed = True
        self._waiting: dict[int, W] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether work waits here."""
        return self._closed

    def see(self, session: int) -> bool:
        """A delivery of that session has arrived; True when it is the first one, which closes the gate."""
        if session == self._session:
            return False
        self._session, self._closed = session, True
        return True

    def hold(self, sequence: int, work: W) -> None:
        """Let it wait. In place of what waited under its sequence, which is of a stream that is no more."""
        self._waiting[sequence] = work

    def ask(self, held: frozenset[int]) -> Question | None:
        """The question to put to the server; None when the gate is open, or nothing has arrived yet."""
        if not self._closed or self._session is None:
            return None
        return Question(self._session, held)

    def answer(self, question: Question, *, held: Collection[int], floor: int, un_acked: int) -> list[W]:
        """What may pass now, in the order of the stream; empty, and the gate stays closed, while that is not sure.

        `held` is what is held by now; `floor` was read before `un_acked`, both after the question was put.
        """
        if question.session != self._session or not self._closed:
            return []
        if un_acked != len(self._still(question, held, floor)):
            return []
        self._closed = False
        return self.clear()

    def surplus(self, question: Question, *, held: Collection[int], floor: int, un_acked: int) -> bool:
        """Whether more is held here than is un-acked: some of it was settled elsewhere, or its stream is no more."""
        return question.session == self._session and un_acked < len(self._still(question, held, floor))

    def clear(self) -> list[W]:
        """Take out everything that waits, in the order of the stream."""
        passing = [self._waiting[sequence] for sequence in sorted(self._waiting)]
        self._waiting.clear()
        return passing

    @staticmethod
    def _still(question: Question, held: Collection[int], floor: int) -> list[int]:
        return [sequence for sequence in question.held if sequence > floor and sequence in held]
