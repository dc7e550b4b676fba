"""One TCP or TLS connection to one server: what it says is dispatched as it arrives, what we say leaves in one write.

Everything that is written in one turn of the event loop goes to the socket together. When the socket does not take it,
it waits here, and whoever writes is asked to wait; what is let in regardless is bounded by `link`.
"""

import asyncio
import collections
import ssl
from collections.abc import Callable, Mapping
from typing import Final, cast

from penstock.base import errors
from penstock.spine.plane import complaint, info, parser
from penstock.spine.plane.message import Receive

SOCKET_BUFFER_BYTES: Final = 1 << 20
"""What the transport may hold before it asks us to wait."""
ROOM_BYTES: Final = 2 << 20
"""With more than this unsent, writers are asked to wait."""
PINGS_LIMIT_BYTES: Final = 16 << 20
"""With this much unsent, a server that goes on asking us and reads nothing is left."""
SILENCES: Final = 2
"""As many intervals without a byte, after a PING, mean that nobody is there any more."""
HANG_UP_S: Final = 2.0


class Connection(asyncio.Protocol):
    """A socket with NATS on it. `on_info`, `on_complaint` and `on_end` may be set by whoever owns it.

    `ended` is done when it is over, with what ended it; `greeted` when INFO has come.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = parser.Parser({}, self._control)
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._paused = self._scheduled = self._heard = False
        self._pongs: collections.deque[asyncio.Future[None] | None] = collections.deque()
        self._writers: list[asyncio.Future[None]] = []
        self._reason: errors.Unavailable | None = None
        self._alive: asyncio.TimerHandle | None = None
        self.unsent_bytes = 0
        """Bytes that wait here, besides what the transport holds."""
        self.info = info.Info()
        self.informed_in_clear = False
        """Whether `info` came before TLS stood."""
        self.complaint: complaint.Complaint | None = None
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[errors.Unavailable] = self._loop.create_future()
        self.on_info: Callable[[info.Info], None] | None = None
        self.on_complaint: Callable[[complaint.Complaint], None] | None = None
        self.on_end: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open (asyncio calls this)."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(SOCKET_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived (asyncio calls this)."""
        self._heard = True
        try:
            self._parser.feed(data)
        except errors.Unavailable as violation:
            self.abort(violation)

    def pause_writing(self) -> None:
        """The socket does not keep up (asyncio calls this)."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket has taken most of it (asyncio calls this)."""
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over (asyncio calls this)."""
        self._transport = None
        self._pieces.clear()
        self._parser.stop()
        if self._alive is not None:
            self._alive.cancel()
        reason = self._reason or errors.Unavailable("disconnected", "the connection to NATS was lost")
        reason.__cause__ = reason.__cause__ or exc
        pongs, self._pongs = self._pongs, collections.deque()
        for waiting in (*pongs, self.greeted):
            if waiting is not None and not waiting.done():
                waiting.set_exception(errors.Unavailable(reason.code, reason.detail, hint=reason.hint))
                waiting.exception()  # somebody may have stopped waiting
        self._let_write()
        if not self.ended.done():
            self.ended.set_result(reason)
            if self.on_end is not None:
                self.on_end()

    def _control(self, line: bytes) -> None:
        verb, _, rest = line.strip().replace(b"\t", b" ").partition(b" ")
        verb = verb.upper()
        if verb == b"PING":
            if self.unsent_bytes > PINGS_LIMIT_BYTES:
                self.abort(parser.violation("more questions than it reads answers"))
            self.say(b"PONG")
        elif verb == b"PONG":
            if self._pongs:
                waiting = self._pongs.popleft()
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
        elif verb == b"INFO":
            self._inform(info.read(rest))
        elif verb == b"-ERR":
            self.complaint = complaint.read(rest)
            if self.on_complaint is not None:
                self.on_complaint(self.complaint)
        elif verb and verb != b"+OK":
            raise parser.violation("something that is not its protocol")

    def _inform(self, news: info.Info) -> None:
        self.info, self.informed_in_clear = news, False
        self._parser.limit_size(news.max_payload_bytes)
        if not self.greeted.done():
            self.greeted.set_result(None)
        elif self.on_info is not None:
            self.on_info(news)

    @property
    def has_room(self) -> bool:
        """Whether the socket keeps up with what is written."""
        return not self._paused and self.unsent_bytes < ROOM_BYTES

    async def room(self) -> None:
        """Return when there is room, or the connection is over."""
        while not self.has_room and not self.ended.done():
            waiting = self._loop.create_future()
            self._writers.append(waiting)
            await waiting

    def write(self, pieces: tuple[bytes, ...], size: int) -> None:
        """Add `size` bytes to what leaves at the end of this turn of the loop. After the end they go nowhere."""
        self._pieces += pieces
        self.unsent_bytes += size
        if not self._scheduled and not self._paused:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def say(self, line: bytes) -> None:
        """Write one line, whose end is added."""
        self.write((line, b"\r\n"), len(line) + 2)

    def _flush(self) -> None:
        self._scheduled = False
        if self._paused or self._transport is None or self._transport.is_closing():
            return
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self.unsent_bytes = 0
            self._transport.write(data)
        if not self._paused:
            self._let_write()

    def _let_write(self) -> None:
        writers, self._writers = self._writers, []
        for waiting in writers:
            if not waiting.done():
                waiting.set_result(None)

    def ping(self) -> asyncio.Future[None]:
        """Ask the server to answer: done when it has dealt with all that was written before, and we with its answers.

        Raises Unavailable when the connection ends before.
        """
        waiting: asyncio.Future[None] = self._loop.create_future()
        if self.ended.done():
            waiting.set_exception(errors.Unavailable("disconnected", "the connection to NATS was lost"))
        else:
            self._pongs.append(waiting)
            self.say(b"PING")
        return waiting

    def keep_alive(self, interval_s: float) -> None:
        """From now on notice a server that has gone without a word, in three intervals at most."""
        silences = 0

        def look() -> None:
            nonlocal silences
            silences = 0 if self._heard else silences + 1
            if silences > SILENCES:
                self.abort(errors.Unavailable("disconnected", "NATS does not answer any more"))
                return
            if not self._heard:
                self._pongs.append(None)
                self.say(b"PING")
            self._heard = False
            self._alive = self._loop.call_later(interval_s, look)

        self._heard = False
        self._alive = self._loop.call_later(interval_s, look)

    async def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        """Go on in TLS. Raises Unavailable `protocol_error`, or what `ssl` raises."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._parser.kept_bytes:
            # What was said in clear after INFO may be anybody's.
            raise parser.violation("more than INFO before TLS")
        secured = await self._loop.start_tls(transport, self, context, server_hostname=server_name)
        if secured is None:
            raise errors.Unavailable("disconnected", "the connection to NATS was lost")
        self.informed_in_clear = True
        self.connection_made(secured)

    def receive(self, receivers: Mapping[bytes, Receive]) -> None:
        """From now on messages are dispatched, by subscription: not before it is sure who sends them."""
        self._parser.receivers = receivers

    def abort(self, reason: errors.Unavailable | None = None) -> None:
        """End it now; what is unsent is lost."""
        self._reason = self._reason or reason
        self._parser.stop()
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Write what is left, as far as the server takes it within two seconds, and hang up."""
        try:
            async with asyncio.timeout(HANG_UP_S):
                # A socket that is closed with something unread takes back what it has sent: so the server says first
                # that it has dealt with everything.
                await self.ping()
                if self._transport is not None:
                    self._transport.close()
                await asyncio.shield(self.ended)
        except (TimeoutError, errors.Unavailable):
            pass
        finally:
            self.abort()
            # The transport tells that it is over in the next turn of the loop.
            await asyncio.sleep(0)
