"""What a handler publishes leaves only while the message that it answers is still in its place.

A stream that lost something is refilled in order. A handler that was at work when that happened would publish its
answer ahead of all those that are being made again; it is run again in its turn, under the same command ids.
"""

import asyncio
from contextvars import ContextVar, Token
from typing import Final

from penstock.base import errors
from penstock.spine import lease, ports

PATIENCE_S: Final = 15.0
PAUSE_S: Final = 0.05
PASSING: Final = frozenset({"disconnected", "timeout", "no_leader", "no_jetstream"})
"""What may be over with the next connection, or the next leader."""

_handled: ContextVar[lease.Held | None] = ContextVar("handled", default=None)


def begin(item: lease.Held) -> Token[lease.Held | None]:
    """From here on, in this task and those that it starts, a handler has that message."""
    return _handled.set(item)


def end(token: Token[lease.Held | None]) -> None:
    """The handler has ended."""
    _handled.reset(token)


class Effects:
    """Publishes for handlers."""

    def __init__(self, spine: ports.Spine) -> None:
        self._spine = spine

    async def publish(self, message: ports.Outgoing) -> ports.Published:
        """As `Spine.publish`. Raises Unavailable `message_gone` as well, when what is being answered is no more."""
        item = _handled.get()
        if item is None:
            return await self._spine.publish(message)
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            connection = self._spine.connection
            try:
                if item.doubtful and not await item.is_kept():
                    raise errors.Unavailable("message_gone", "the stream lost the message that is being answered")
                return await self._spine.publish(message, on=connection)
            except errors.Unavailable as error:
                if error.code not in PASSING or asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(PAUSE_S)
