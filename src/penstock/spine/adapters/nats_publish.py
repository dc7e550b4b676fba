"""Publishing into streams: many at once within a window, each answered, those of a lost connection tried again.

Costs no task and one future per message. An attempt whose answer is lost is made again with the same message id, so
that the stream drops the second.
"""

import asyncio
import collections
from typing import Final, NoReturn

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import acceptance, nats_answers, nats_calls
from penstock.spine.plane.link import Link

WINDOW: Final = 1024
"""Most messages without an answer: more is no faster, and a server drops what comes when its own queue is full."""
WINDOW_BYTES: Final = 8 << 20
"""With so many bytes without an answer no other message is sent."""


class Publisher:
    """Everything that one client publishes into streams. `deadline_s` is how long one message may take."""

    def __init__(self, link: Link, calls: nats_calls.Calls, deadline_s: float) -> None:
        self._link, self._calls, self._deadline_s = link, calls, deadline_s
        self._try_s = min(nats_calls.TRY_S, deadline_s)
        self._time = asyncio.get_running_loop().time
        self._unanswered = self._unanswered_bytes = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    async def publish(self, message: ports.Outgoing, on: int | None) -> ports.Published:
        """Store a message. Raises as `ports.Spine.publish` does."""
        link = self._link
        block = acceptance.message(message, link.payload_limit_bytes)
        size_bytes = len(block) + len(message.body)
        if self._waiting or self._is_full():
            await self._turn()
        self._unanswered += 1
        self._unanswered_bytes += size_bytes
        until = self._time() + self._deadline_s
        try:
            if on is not None:
                if on != link.connection or not link.has_room:
                    await self._require(on)
                # As long as any other attempt: whoever asks for one alone tries again, under the same message id.
                answer = await link.call(message.subject, message.body, self._try_s, headers_block=block)
                if not answer.body:
                    await self._unheard(message, self._try_s)
                return nats_answers.published(answer.body)
            if link.has_room:
                # Nearly always, and so without any detour; what goes wrong is tried again below.
                try:
                    answer = await link.call(message.subject, message.body, self._try_s, headers_block=block)
                    if answer.body:
                        return nats_answers.published(answer.body)
                except errors.Unavailable as error:
                    if error.code in nats_calls.FOR_THE_CALLER:
                        raise
            return await self._persist(message, block, until)
        finally:
            self._unanswered -= 1
            self._unanswered_bytes -= size_bytes
            if self._waiting:
                self._let_in()

    async def _require(self, on: int) -> None:
        """Return when that connection takes what is written. Raises Unavailable when it is gone."""
        if self._link.connected and not self._link.has_room:
            await self._link.room(self._deadline_s)
        if on != self._link.connection or not on:
            raise errors.Unavailable("disconnected", f"connection {on} is gone")

    async def _persist(self, message: ports.Outgoing, block: bytes, until: float) -> ports.Published:
        """Attempts until one is answered, while there is time."""
        while True:
            try:
                await self._ready(until - self._time())
                return await self._attempt(message, block, max(0.01, min(nats_calls.TRY_S, until - self._time())))
            except errors.Unavailable as error:
                if error.code in nats_calls.FOR_THE_CALLER or until - self._time() <= nats_calls.PAUSE_S:
                    raise
            await asyncio.sleep(nats_calls.PAUSE_S)

    async def _ready(self, timeout_s: float) -> None:
        """Return when there is a connection that takes what is written."""
        if not self._link.connected:
            await self._link.wait_connected(max(0.0, timeout_s))
        if not self._link.has_room:
            await self._link.room(max(0.01, timeout_s))

    async def _attempt(self, message: ports.Outgoing, block: bytes, try_s: float) -> ports.Published:
        answer = await self._link.call(message.subject, message.body, try_s, headers_block=block)
        if not answer.body:
            await self._unheard(message, try_s)
        return nats_answers.published(answer.body)

    async def _unheard(self, message: ports.Outgoing, try_s: float) -> NoReturn:
        """Nobody listens on that subject: raises Rejected when no stream takes it, else Unavailable."""
        await self._calls.check_taken(message.subject, try_s)
        raise errors.Unavailable("no_leader", "the stream does not answer")

    def _is_full(self) -> bool:
        return self._unanswered >= WINDOW or self._unanswered_bytes >= WINDOW_BYTES

    async def _turn(self) -> None:
        """Return when it is this message's turn and the window has room."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._deadline_s):
                while self._waiting[0] is not turn or self._is_full():
                    await turn
                    turn = self._waiting[0] = asyncio.get_running_loop().create_future()
        except TimeoutError:
            raise errors.Unavailable("congested", "too many messages wait for an answer of NATS") from None
        finally:
            self._waiting.remove(turn)
            self._let_in()

    def _let_in(self) -> None:
        """Tell the first of those who wait that there is room, if so."""
        if self._waiting and not self._is_full() and not self._waiting[0].done():
            self._waiting[0].set_result(None)
