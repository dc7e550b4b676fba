"""A message of a durable in our hands: looked into only when somebody asks, settled by writing one line.

What the server knows about it is in its reply subject: `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.
<consumer sequence>.<time>.<pending>`, or with `<domain>.<account>` before the stream. The words that settle it:
https://docs.nats.io/reference/reference-protocols/nats_api_reference#acknowledging-messages.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from penstock.spine.plane.message import Message

NANOSECONDS: Final = 1_000_000_000
PIN: Final = "Nats-Pin-Id"
"""A header that the server adds to tell an owner that it is one; not the sender's, so it is not shown."""

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERMINATE: Final = b"+TERM"
EXTEND: Final = b"+WPI"

_SHORT_REPLY: Final = 9


def sequence_of(reply: str) -> int:
    """The position in the stream that a reply subject speaks of."""
    parts = reply.split(".")
    return int(parts[5] if len(parts) == _SHORT_REPLY else parts[7])


class Holder(Protocol):
    """Who speaks for a delivery, to its reply subject."""

    def say(self, reply: str, words: bytes) -> None:
        """Tell the server something about it."""
        ...

    def settle(self, reply: str, words: bytes) -> None:
        """Tell the server the last thing about it."""
        ...


class Delivery:
    """One message and its lease. `holder` is None for a browsed message: there is nothing to settle."""

    __slots__ = ("_headers", "_holder", "_message", "_parts", "_sequence", "_settled", "session")

    def __init__(self, message: Message, holder: Holder | None, session: int = 0) -> None:
        self._message, self._holder, self._settled = message, holder, False
        self._parts: list[str] | None = None
        self._headers: Mapping[str, str] | None = None
        self._sequence = 0
        self.session = session

    def _part(self, number: int) -> str:
        if self._parts is None:
            parts = self._message.reply.split(".")
            self._parts = parts[2:] if len(parts) == _SHORT_REPLY else parts[4:]
        return self._parts[number]

    @property
    def stream(self) -> str:
        """The stream it is stored in."""
        return self._part(0)

    @property
    def consumer(self) -> str:
        """The durable it was handed to; empty when browsed."""
        return self._part(1) if self._holder else ""

    @property
    def deliveries(self) -> int:
        """How often this consumer was handed it, this time included."""
        return int(self._part(2))

    @property
    def sequence(self) -> int:
        """Its position in the stream."""
        if not self._sequence:  # asked for several times on the way; the first one of a stream is 1
            self._sequence = int(self._part(3))
        return self._sequence

    @property
    def at(self) -> datetime:
        """When the stream stored it, in UTC."""
        return datetime.fromtimestamp(int(self._part(5)) / NANOSECONDS, UTC)

    @property
    def pending(self) -> int:
        """How many more the consumer has to give after this one."""
        return int(self._part(6))

    @property
    def subject(self) -> str:
        """The subject it was published under."""
        return self._message.subject

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names as they were sent."""
        if self._headers is None:
            headers = self._message.headers
            if PIN in headers:
                headers = dict(headers)
                del headers[PIN]
            self._headers = headers
        return self._headers

    @property
    def body(self) -> bytes:
        """Its body."""
        return self._message.body

    async def ack(self) -> None:
        """Never deliver it to this consumer again."""
        self._settle(ACK)

    async def retry(self, delay_s: float) -> None:
        """Deliver it again after `delay_s`."""
        self._settle(b'-NAK {"delay":%d}' % round(delay_s * NANOSECONDS) if delay_s > 0 else NAK)

    async def terminate(self) -> None:
        """Never deliver it to this consumer again, although it was not handled."""
        self._settle(TERMINATE)

    async def extend(self) -> None:
        """Renew the lease."""
        if not self._settled and self._holder is not None:
            self._holder.say(self._message.reply, EXTEND)

    def _settle(self, words: bytes) -> None:
        if not self._settled and self._holder is not None:
            self._settled = True
            self._holder.settle(self._message.reply, words)
