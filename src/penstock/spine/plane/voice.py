"""What may be said about messages handed out before a reconnection: nothing, until their stream proves to be the same.

A word about a delivery names its place in the stream and nothing else. A server that lost its store, or came back with
an older copy of it, gives that place to another message, which the word would settle although nobody has handled it.
So after a reconnection words about older deliveries wait until the server shows that the latest of them is still where
it was. Then so is everything before it, and they are said; else they never are, and what was lost comes again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from penstock.base import errors, tasks, telemetry
from penstock.spine.plane.delivery import Delivery, sequence_of
from penstock.spine.plane.link import Link

ASKED_S: Final = 2.0
SAME_S: Final = 0.001
"""Two messages of one place are further apart; the two ways of writing one time are not."""

Keeps = Callable[[Delivery], Awaitable[bool]]
"""Whether a stream still has a message in its place. Raises Unavailable while nobody can say."""

_log = telemetry.logger("spine.plane")


class Voice:
    """Speaks for the deliveries that one connection brought; a `delivery.Holder`.

    `done` is called when a delivery needs no room any more; `keeps` is asked instead of the server, by who may not.
    """

    def __init__(self, link: Link, name: str, done: Callable[[], None], *, keeps: Keeps | None = None) -> None:
        self._link, self._name, self._done = link, name, done
        self._is_there = keeps or self._ask_server
        self._latest: Delivery | None = None
        self._waiting: list[tuple[str, bytes]] | None = None
        self._proven_to: int | None = None
        self._left_on: int | None = None
        self._tasks = tasks.Tasks()

    @property
    def waits(self) -> bool:
        """Whether words wait until the stream has proved the same."""
        return self._waiting is not None

    def heard(self, delivery: Delivery) -> None:
        """A delivery that this voice speaks for."""
        self._latest = delivery

    def say(self, reply: str, words: bytes) -> None:
        """Tell the server something about a delivery: now, once the stream has proved the same, or never."""
        if self._left_on not in {None, self._link.connection}:
            return  # nobody looked whether the stream is the same
        if self._waiting is not None:
            self._waiting.append((reply, words))
        elif self._proven_to is None or sequence_of(reply) <= self._proven_to:
            self._write(reply, words)

    def settle(self, reply: str, words: bytes) -> None:
        """Tell the server the last thing about a delivery."""
        self.say(reply, words)
        self._done()

    def _write(self, reply: str, words: bytes) -> None:
        try:
            self._link.publish(reply, words)
        except errors.PenstockError as error:
            # Nothing is lost: the lease ends and the server delivers it again.
            _log.info("settling lost", consumer=self._name, code=error.code)

    def leave(self) -> None:
        """Speak on the connection that stands, and on no later one: nobody asks for messages any more."""
        self._left_on = self._link.connection

    def hold(self) -> None:
        """The connection is gone."""
        if self._waiting is None:
            self._waiting = []

    def prove(self) -> None:
        """There is another connection: find out whether what was handed out is what it was."""
        if self._waiting is not None:
            self._tasks.once(f"{self._name} proof", self._prove())

    async def _prove(self) -> None:
        connection, latest = self._link.connection, self._latest
        failures = 0
        while self._link.connection == connection:
            try:
                same = latest is not None and await self._is_there(latest)
            except (errors.PenstockError, ValueError, KeyError) as error:
                failures += 1
                _log.info("cannot prove the stream", consumer=self._name, error=f"{error}")
                await asyncio.sleep(tasks.backoff_s(failures))
                continue
            if self._link.connection == connection:
                self._proven(latest.sequence if latest is not None and same else 0)
            return

    async def _ask_server(self, delivery: Delivery) -> bool:
        """Whether the message is still at its place in the stream."""
        body = json.dumps({"seq": delivery.sequence}).encode()
        answer = await self._link.call(f"$JS.API.STREAM.MSG.GET.{delivery.stream}", body, ASKED_S)
        found = json.loads(answer.body)
        if "error" in found:
            if found["error"].get("code") == 404:
                return False
            raise errors.Unavailable("unproven", str(found["error"].get("description", "")))
        stored_at = datetime.fromisoformat(found["message"]["time"])
        return abs((stored_at - delivery.at).total_seconds()) < SAME_S

    def _proven(self, sequence: int) -> None:
        """Everything up to `sequence` is where it was; 0: nothing is."""
        waiting, self._waiting, self._proven_to = self._waiting or [], None, sequence
        if not sequence and self._latest is not None:
            _log.warning("the stream is another one", consumer=self._name, unsaid=len(waiting))
        for reply, words in waiting:
            self.say(reply, words)
