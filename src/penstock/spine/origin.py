"""Whether a delivery still means the message that it brought: a stream that lost something gives its places again.

A delivery names its message by its place in the stream. When nats-server comes back without its store, or with an older
copy of it, that place is free, or another message's: an acknowledgement would settle a stranger, and an answer would
overtake those that are being made again. So what came before the present connection, or the present session, is
doubted until the server was asked what is in its place.

The data plane keeps late words back by itself (`plane.voice`), for whoever uses it. Here it is decided what is not
begun, what a gate does not wait for, and what is not answered.
"""

import datetime
from typing import Final, Protocol

from penstock.spine import ports

EXACT: Final = datetime.timedelta(microseconds=10)
"""Two ways to read one time of nanoseconds differ by less, two messages in one place by far more."""


class Keeps(Protocol):
    """What is asked of the spine."""

    @property
    def connection(self) -> int:
        """As `ports.Spine.connection`."""
        ...

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """As `ports.Administration.message`."""
        ...


class Origin:
    """The stream that one durable's deliveries come from."""

    def __init__(self, spine: Keeps, stream: str) -> None:
        self._spine, self._stream, self._session = spine, stream, 0

    def arrive(self, session: int) -> None:
        """A delivery of that session has arrived."""
        self._session = session

    @property
    def epoch(self) -> tuple[int, int]:
        """Another one whenever the stream may have become another: with each connection, and each session."""
        return self._spine.connection, self._session

    async def keeps(self, delivery: ports.Delivery) -> bool:
        """Whether that message is still in its place. Raises Unavailable while nobody can say."""
        found = await self._spine.message(self._stream, delivery.sequence)
        return found is not None and abs(found.at - delivery.at) < EXACT
