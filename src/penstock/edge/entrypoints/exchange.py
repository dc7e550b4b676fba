"""One request and its answer on a connection, as ASGI events: what arrives is bounded, a small answer is one write.

ASGI 3 (https://asgi.readthedocs.io/en/latest/specs/www.html), with one addition: `scope["penstock.whole"]` is a
function that gives the whole body when it has arrived already, and None otherwise, so that a small request sets no
clock and waits for nothing.
"""

import asyncio
import http
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, Protocol

from penstock.base import errors

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HELD_BYTES: Final = 64 << 10
"""Bytes of a body that wait for the application; with more, the connection is not read."""

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})


class Line(Protocol):
    """What an exchange asks of its connection."""

    @property
    def standard_headers(self) -> bytes:
        """Header lines that every answer has."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    async def writable(self) -> None:
        """Wait while too much of what was written has not been sent."""
        ...

    def hold(self, *, reading: bool) -> None:
        """Read on, or do not for now."""
        ...

    def cut(self) -> None:
        """End the connection; what was written is still sent."""
        ...

    def finished(self) -> None:
        """The answer is complete."""
        ...


class Exchange:
    """Made when the headers are complete. The connection brings the body; the application asks and answers."""

    __slots__ = (
        "_asked_to_continue",
        "_body",
        "_chunked",
        "_given",
        "_head",
        "_held_bytes",
        "_left_bytes",
        "_line",
        "_news",
        "begun",
        "complete",
        "gone",
        "keep_alive",
        "more_body",
        "scope",
    )

    def __init__(self, line: Line, scope: Scope, *, keep_alive: bool, asked_to_continue: bool) -> None:
        self._line, self.scope, self.keep_alive = line, scope, keep_alive
        self._asked_to_continue = asked_to_continue
        self._body: list[bytes] = []
        self._held_bytes = self._left_bytes = 0
        self._news: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = self._given = False
        self.more_body = True
        self.begun = self.complete = self.gone = False
        scope["penstock.whole"] = self.whole

    async def run(self, application: Application) -> None:
        """Let the application answer. Whatever it leaves half done cuts the connection, which the client notices."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001, S110 - the answer had begun: the edge has counted and logged what happened
            pass
        finally:
            del self.scope["penstock.whole"]  # a circle that only the garbage collector would find
            if not self.complete and not self.gone:
                self._line.cut()

    def whole(self) -> bytes | None:
        """The body, if all of it is here and nothing of it was asked for yet."""
        if self.more_body or self._given or self.gone:
            return None
        body, self._body, self._given = self._body, [], True
        return body[0] if len(body) == 1 else b"".join(body)

    async def receive(self) -> Event:
        """What came of the body since last time; after its end, that the other side has left or has its answer."""
        if self._asked_to_continue and not self.begun and not self.gone:
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._asked_to_continue = False
        while not self._over and (self._given or (self.more_body and not self._body)):
            self._line.hold(reading=True)
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self._over:
            return {"type": "http.disconnect"}
        body, self._body, self._held_bytes = b"".join(self._body), [], 0
        self._given = not self.more_body
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    @property
    def _over(self) -> bool:
        return self.gone or self.complete

    async def send(self, event: Event) -> None:
        """Take a part of the answer. Its head waits for its body, unless nobody knows how long that will be.

        Raises Broken `bad_response` for what is no answer.
        """
        if self.gone:
            return
        if event["type"] == "http.response.start" and not self.begun:
            self._head = self._encoded(event["status"], event.get("headers", ()))
            self.begun = True
            if self._left_bytes < 0:
                self._line.write(self._head)
                self._head = b""
        elif event["type"] == "http.response.body" and self.begun and not self.complete:
            await self._send_body(event.get("body", b""), more=event.get("more_body", False))
        else:
            raise errors.Broken("bad_response", f"'{event['type']}' does not come next in an answer")

    def _encoded(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._line.standard_headers]
        bodiless = status in _BODILESS or self.scope["method"] == "HEAD"
        length: bytes | None = b"0" if bodiless else None
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                raise errors.Broken("bad_response", "a header of an answer holds a line break")
            if name == b"connection":
                self.keep_alive = self.keep_alive and value.lower() != b"close"
                continue
            if name == b"content-length" and not bodiless:
                length = value
            lines += (name, b": ", value, b"\r\n")
        self._left_bytes = -1 if length is None else int(length)
        self._chunked = length is None and self.scope["http_version"] == "1.1"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif length is None:
            self.keep_alive = False  # then the end of the connection is the end of the body
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._left_bytes >= 0:
            self._left_bytes -= len(body)
            if self._left_bytes < 0 or (self._left_bytes and not more):
                raise errors.Broken("bad_response", "an answer is not as long as its content-length says")
        head, self._head = self._head, b""
        self._line.write(head + body if body else head)
        if more:
            await self._line.writable()
            return
        self.complete = True
        self._wake()
        self._line.finished()

    def arrived(self, data: bytes) -> None:
        """A piece of the body."""
        self._body.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES:
            self._line.hold(reading=False)
        self._wake()

    def ended(self) -> None:
        """All of the body is here."""
        self.more_body = False
        self._wake()

    def left(self) -> None:
        """The other side is gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
