"""One inbox for every answer that this process waits for, and one timer for all of their deadlines.

Waiting costs a future and an entry in a table. What was asked on a connection that ended is failed at once: its answer
never comes. Answers to what nobody waits for any more are dropped.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from penstock.base import errors
from penstock.spine.plane.message import Message

LATE_S: Final = 0.01
"""How late a deadline may be noticed, so that deadlines close to each other share a look."""

Failure = Callable[[], errors.PenstockError]
_Call = tuple["asyncio.Future[Message]", float, str, int]


class Replies:
    """The calls in flight, by the last token of the subject that their answers come to.

    Of each: its future, when its time is over (by the loop's clock), its subject, and the connection it went out on.
    """

    def __init__(self, prefix: str) -> None:
        self.inbox = f"{prefix}.{secrets.token_hex(11)}"
        """The inbox without its last token."""
        self._loop = asyncio.get_running_loop()
        self._skip = len(self.inbox) + 1
        self._calls: dict[str, _Call] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._calls)

    def expect(self, subject: str, timeout_s: float, connection: int) -> "tuple[str, asyncio.Future[Message]]":
        """Make room for one answer: the subject that it must come to, and the future that gets it."""
        self._next += 1
        token = str(self._next)
        future: asyncio.Future[Message] = self._loop.create_future()
        deadline = self._loop.time() + timeout_s
        self._calls[token] = (future, deadline, subject, connection)
        if self._timer is None or deadline < self._due - LATE_S:
            self._look_at(deadline)
        return f"{self.inbox}.{token}", future

    def receive(self, message: Message) -> None:
        """An answer has come."""
        call = self._calls.pop(message.subject[self._skip :], None)
        if call is not None and not call[0].done():
            call[0].set_result(message)

    def forget(self, inbox: str) -> None:
        """Nobody waits for this answer."""
        self._calls.pop(inbox[self._skip :], None)

    def in_flight(self, connection: int) -> "list[asyncio.Future[Message]]":
        """The calls of one connection that wait."""
        return [call[0] for call in self._calls.values() if call[3] == connection and not call[0].done()]

    def fail(self, failure: Failure) -> None:
        """No answer comes to anybody."""
        self._fail([*self._calls], failure)

    def fail_connection(self, connection: int, failure: Failure) -> None:
        """No answer comes to what was asked on one connection."""
        self._fail([token for token, call in self._calls.items() if call[3] == connection], failure)

    def fail_subject(self, subject: str, failure: Failure) -> None:
        """No answer comes from one subject."""
        self._fail([token for token, call in self._calls.items() if call[2] == subject], failure)

    def fail_reply(self, inbox: str, failure: Failure) -> None:
        """No answer comes to one of our inboxes."""
        self._fail([inbox[self._skip :]], failure)

    def _fail(self, tokens: list[str], failure: Failure) -> None:
        for token in tokens:
            call = self._calls.pop(token, None)
            if call is not None and not call[0].done():
                call[0].set_exception(failure())

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due + LATE_S, self._look)

    def _look(self) -> None:
        """Fail what is over its time, forget whom nobody waits for any more, and look again at the next deadline."""
        self._timer = None
        now = self._loop.time()
        over: list[str] = []
        due = 0.0
        for token, (future, deadline, _, _) in self._calls.items():
            if deadline <= now or future.done():
                over.append(token)
            elif not due or deadline < due:
                due = deadline
        self._fail(over, lambda: errors.Unavailable("timeout", "no answer in time"))
        if due:
            self._look_at(due)
