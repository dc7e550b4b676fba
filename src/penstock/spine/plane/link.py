"""The connection to NATS that never gives up: whoever uses it sees one link, whichever server carries it.

Everything is synchronous where it can be: `publish` and `call` write at once or raise, so what looks at `connection`
before it calls writes on that very connection. Receivers are called from within the socket's callback. Nothing here
buffers without bound: a receiver that is slow slows reading, and the kernel's buffers push back. What cannot keep up
asks for less (a pull) or lets go of something (signals): reading is never paused for one receiver, since the answers
that it may be waiting for come the same way.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from penstock.base import errors
from penstock.spine.plane import ledger
from penstock.spine.plane.address import Address
from penstock.spine.plane.carrier import Carrier, Timing
from penstock.spine.plane.message import Message, Receive
from penstock.spine.plane.subscription import Subscription

UNSENT_LIMIT_BYTES: Final = 8 << 20

_END: Final = b"\r\n"


class Link:
    """A client of a cluster of NATS servers. Made on a running event loop, opened once, closed once."""

    def __init__(self, address: Address, *, timing: Timing | None = None) -> None:
        self.address = address
        self._ledger = ledger.Ledger(address, self.barrier)
        self._carrier = Carrier(address, self._ledger.subscriptions, timing or Timing(), self._ledger)

    async def open(self, *, wait_s: float | None = None) -> None:
        """Connect, trying until it works or `wait_s` seconds are over.

        Raises Rejected `nats_auth` for credentials that a server refuses, `nats_tls` for certificates that do not fit,
        Unavailable `nats_unreachable` when time is over. The link is closed then.
        """
        refused = self._carrier.refused = asyncio.get_running_loop().create_future()
        self.open_later()
        standing = asyncio.create_task(self._ledger.standing.wait())
        try:
            await asyncio.wait({standing, refused}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if standing.done() or self._ledger.standing.is_set():
                return
            if refused.done():
                raise refused.result()
            raise errors.Unavailable(
                "nats_unreachable", f"NATS at {self.address} does not answer", hint="Is the server running?"
            )
        finally:
            self._carrier.refused = None
            if not self._carrier.number:
                await self.close()
            standing.cancel()

    def open_later(self) -> None:
        """Connect in the background, however long it takes; what servers refuse is logged."""
        self._carrier.start()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._ledger.closed

    @property
    def payload_limit_bytes(self) -> int:
        """The most that headers and body of one message may take, as the server said last."""
        return self._ledger.payload_limit_bytes

    @property
    def connection(self) -> int:
        """The number of the connection that stands: 1, 2, ... as they were made; 0 while none does."""
        return self._carrier.number if self._carrier.current is not None else 0

    @property
    def connected(self) -> bool:
        """Whether a server answers right now."""
        return self._carrier.current is not None

    @property
    def server(self) -> str:
        """`host:port` of the server that carries us; empty while none does."""
        return self._carrier.server

    @property
    def inbox(self) -> str:
        """A prefix that is ours alone, for inboxes of one's own: `<inbox>.<token>.<token>` and deeper."""
        return self._ledger.replies.inbox

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when connected. Raises Unavailable `disconnected` after `timeout_s`, `spine_closed` after `close`."""
        if not self.closed and self._carrier.current is None:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ledger.standing.wait()
            except TimeoutError:
                raise self._ledger.away() from None
        if self._carrier.current is None:
            raise self._ledger.away()

    def on_up(self, tell: Callable[[int], None]) -> Callable[[], None]:
        """Call `tell` with the number of each new connection, subscriptions already set up on it.

        Not for one that stands already. Returns what ends it. Moving away from a server in lame duck mode is a `down`
        and an `up` in one breath: calls in flight are still answered, and what comes to a subject meanwhile may come
        twice.
        """
        return self._ledger.on_up(tell)

    def on_down(self, tell: Callable[[int], None]) -> Callable[[], None]:
        """Call `tell` with the number of a connection that is gone, once calls in flight have failed."""
        return self._ledger.on_down(tell)

    def subscribe(self, pattern: str, receive: Receive, *, queue: str = "") -> Subscription:
        """Call `receive` for every message on a subject, now and on each new connection. Raises Rejected."""
        if not is_subject(pattern + queue) or not pattern:
            raise _bad_subject()
        return self._ledger.subscriptions.add(pattern, receive, queue=queue)

    def publish(
        self, subject: str, body: bytes, *, reply: str = "", headers_block: bytes = b"", keep: bool = False
    ) -> None:
        """Write one message now; it leaves at the end of this turn of the loop.

        `headers_block` is what `headers.block(...)` made. With `keep`, what is written in an outage is kept (8 MiB of
        it) and goes first on the next connection. Raises Unavailable `disconnected` (no connection stands),
        `congested` (more than 8 MiB are unsent: await `room`), `spine_closed`; Rejected `too_large`, `bad_subject`,
        `not_permitted` (the server refused this subject within the last seconds).
        """
        if reply and not is_subject(reply):
            raise _bad_subject()
        self._send(subject, reply, headers_block, body, keep=keep)

    def _send(self, subject: str, reply: str, headers_block: bytes, body: bytes, *, keep: bool = False) -> None:
        if not is_subject(subject):
            raise _bad_subject()
        block_bytes = len(headers_block)
        total_bytes = block_bytes + len(body)
        book = self._ledger
        if total_bytes > book.payload_limit_bytes:
            raise book.too_large()
        if book.refused:
            book.check_refused(subject)
        asks = f"{subject} {reply}" if reply else subject
        if block_bytes:
            head = f"HPUB {asks} {block_bytes} {total_bytes}\r\n".encode()
        else:
            head = f"PUB {asks} {total_bytes}\r\n".encode()
        connection = self._carrier.current
        if connection is None:
            if not keep or self.closed:
                raise self._ledger.away()
            book.keep(b"".join((head, headers_block, body, _END)))
        elif connection.unsent_bytes > UNSENT_LIMIT_BYTES:
            raise ledger.congested()
        else:
            connection.write((head, headers_block, body, _END), len(head) + total_bytes + 2)

    def call(
        self, subject: str, body: bytes, timeout_s: float, *, headers_block: bytes = b""
    ) -> "asyncio.Future[Message]":
        """Write one message now and get its one answer, which may be a status (`503`: nobody listens).

        Raises as `publish` does; the future raises Unavailable `timeout`, `disconnected` as soon as the connection is
        lost, Rejected `not_permitted` when the server does not let us publish there.
        """
        if self._ledger.answers.refused is not None:
            raise self._ledger.unheard()
        reply, answer = self._ledger.replies.expect(subject, timeout_s, self._carrier.number)
        try:
            self._send(subject, reply, headers_block, body)
        except errors.PenstockError:
            self._ledger.replies.forget(reply)
            raise
        return answer

    @property
    def has_room(self) -> bool:
        """Whether the socket takes what is written; when not, `await room(...)` before writing more."""
        connection = self._carrier.current
        return connection is not None and connection.has_room

    async def room(self, timeout_s: float) -> None:
        """Return when there is room to write. Raises Unavailable `congested`, `disconnected`, `spine_closed`."""
        connection = self._carrier.current
        if connection is None:
            raise self._ledger.away()
        try:
            async with asyncio.timeout(timeout_s):
                await connection.room()
        except TimeoutError:
            raise ledger.congested() from None
        if self._carrier.current is None:
            raise self._ledger.away()

    async def barrier(self, timeout_s: float) -> None:
        """Return when the server has dealt with everything written so far, and what it sent before has been received.

        Raises Unavailable `disconnected` or `timeout`.
        """
        connection = self._carrier.current
        if connection is None:
            raise self._ledger.away()
        try:
            async with asyncio.timeout(timeout_s):
                await connection.ping()
        except TimeoutError:
            raise errors.Unavailable("timeout", "no answer in time") from None
        except errors.Unavailable:
            raise self._ledger.away() from None

    async def close(self) -> None:
        """Write what is left, hang up, and fail whatever waits with Unavailable `spine_closed`. May be called twice."""
        if self.closed:
            return
        self._ledger.closed = True
        await self._carrier.stop()
        self._ledger.close()


def is_subject(text: str) -> bool:
    """Whether it can stand in a line of the protocol: no blank, no line end, nothing that does not print."""
    return text.isprintable() and " " not in text and text != ""


def _bad_subject() -> errors.Rejected:
    return errors.Rejected("bad_subject", "a subject has neither blanks nor line ends", field="subject")
