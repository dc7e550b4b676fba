"""One inbox for every answer this process waits for: publish acknowledgements, API calls, requests.

Waiting costs one future and one entry in a table. The table is failed as a whole when the connection is lost, since
the answers to what was sent on it never come (nats-py's own `publish_async` waits for them for ever).
"""

import asyncio
import itertools
import secrets
from typing import Final

from nats.aio.msg import Msg

from penstock.base import errors

SWEEP_S: Final = 0.05
"""How late a timeout may be noticed."""


class Replies:
    """The answers that are awaited, by the last token of the subject they come to."""

    def __init__(self, prefix: str = "_INBOX") -> None:
        self.inbox = ""
        self._prefix = prefix
        self._waiting: dict[str, tuple[asyncio.Future[Msg], float]] = {}
        self._numbers = itertools.count()
        self._sweeping = False

    def renew(self) -> str:
        """Move to a new inbox, for a new connection; returns the pattern to subscribe to."""
        self.inbox = f"{self._prefix}.{secrets.token_hex(11)}"
        return f"{self.inbox}.*"

    def expect(self, timeout_s: float) -> tuple[str, asyncio.Future[Msg]]:
        """Make room for one answer: its token under `inbox`, and the future that gets it or raises Unavailable."""
        loop = asyncio.get_running_loop()
        token = str(next(self._numbers))
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[token] = (future, loop.time() + timeout_s)
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)
        return token, future

    def forget(self, token: str) -> None:
        """The caller does not wait any more."""
        self._waiting.pop(token, None)

    async def receive(self, message: Msg) -> None:
        """An answer has come."""
        waiting = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(message)

    def fail(self, code: str, detail: str) -> None:
        """No answer will come to any of those who wait."""
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(errors.Unavailable(code, detail))

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for token in [token for token, (_, deadline_s) in self._waiting.items() if deadline_s <= now_s]:
            future, _ = self._waiting.pop(token)
            if not future.done():
                future.set_exception(errors.Unavailable("timeout", "no answer in time"))
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep)
