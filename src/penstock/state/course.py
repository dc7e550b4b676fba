"""One stream as a publisher carries rows to it: its flow, where its head is, and whether there is something to read."""

from collections.abc import Mapping

from penstock.spine import ports
from penstock.state import flow, heads


class Course:
    """Shut at first: somebody has to verify the stream. `news` says that rows may wait in the table."""

    def __init__(self, name: str, flowing: flow.Flow) -> None:
        self.name, self.flow = name, flowing
        self.news = True
        self.last = 0
        self.moved = False
        self._head: heads.Head | None = None
        self._newest: Mapping[str, str] = {}
        self._new = self._duplicates = 0
        flowing.shut = True

    @property
    def head(self) -> heads.Head | None:
        """The highest place that is known to be taken; None before the stream was ever seen."""
        if self._head is not None and self._head.last < self.last:
            self._head = heads.Head(self._head.created, self.last, heads.digest(self._newest))
        return self._head

    def adopt(self, head: heads.Head) -> None:
        """Go on from this head, which is recorded already."""
        self._head, self.last, self.moved = head, head.last, False

    def take_head(self) -> heads.Head | None:
        """The head, if it has moved since it was last recorded."""
        if not self.moved:
            return None
        self.moved = False
        return self.head

    def take_counts(self) -> list[tuple[str, int]]:
        """How many rows were acknowledged since the last time, by outcome."""
        found = [(outcome, count) for outcome, count in (("new", self._new), ("duplicate", self._duplicates)) if count]
        self._new = self._duplicates = 0
        return found

    def acknowledged(self, row: flow.Row, answer: ports.Published) -> bool:
        """A row was stored; False when it cannot be there, after what had been acknowledged before it was sent."""
        self.flow.published(row, answer.sequence)
        if answer.duplicate:
            self._duplicates += 1
            return True
        self._new += 1
        if answer.sequence <= row.above:
            return False
        if answer.sequence > self.last:
            self.last, self._newest, self.moved = answer.sequence, row.outgoing.headers, True
        return True
