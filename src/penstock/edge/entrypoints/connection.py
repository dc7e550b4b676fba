"""One HTTP/1.1 connection, bounded in everything: how long a head is and takes, what waits, what a refusal still reads.

httptools (llhttp) parses; requests are handed to the application one after the other, in the order in which they came.
Nothing here knows what a request means.
"""

import asyncio
import collections
import dataclasses
import urllib.parse
from collections.abc import Callable
from typing import Any, Final, cast

import httptools

from penstock.base import context as contexts
from penstock.base import ids
from penstock.edge import model
from penstock.edge.entrypoints import exchange, http

HEAD_BYTES: Final = 64 << 10
"""A request line and headers of this size are taken; what is larger by more than one read from the socket is not."""

DRAINED_BYTES: Final = 256 << 10
"""What is still read of a body after its request was answered; then no more, and in the end who sends it is cut off."""

DRAINED_S: Final = 5.0
"""How long the rest of such a body may take before its connection ends."""

IDLE_S: Final = 75.0
"""How long a connection is kept without a request."""

UNREAD_S: Final = 30.0
"""How long a client may leave its answers unread before its connection ends; no more are made for it meanwhile."""

_NEVER: Final = float("inf")


@dataclasses.dataclass(slots=True)
class Listener:
    """What the connections of one listener share. `headers` are the lines that every answer has (the date)."""

    application: exchange.Application
    head_deadline_s: float
    connections: set[Any] = dataclasses.field(default_factory=set[Any])
    tasks: set["asyncio.Task[None]"] = dataclasses.field(default_factory=set["asyncio.Task[None]"])
    headers: Callable[[], bytes] = bytes


class Connection(asyncio.Protocol):
    """Reads requests, lets the application answer, and ends what is too slow, too large, or no HTTP."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast("asyncio.Transport", None)
        self._client: Any = None
        self._server: Any = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._asks_to_continue = False
        self._head_bytes = self._drained_bytes = 0
        self._in_head, self._head_begun = True, False
        self._reading = True
        self._stopping = False
        self._now: exchange.Exchange | None = None
        self._arriving: exchange.Exchange | None = None
        self._next: collections.deque[exchange.Exchange] = collections.deque()
        self._sent: asyncio.Future[None] | None = None
        self._unread = False
        self._due_s = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first head is waited for from now on."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._client, self._server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._listener.connections.add(self)
        self._until(self._loop.time() + self._listener.head_deadline_s)

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what is no request, and a head that has no end."""
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # declined by answering; the connection ends with the answer
        except httptools.HttpParserError:
            self._refuse(model.Problem(400, "bad_request", "this is not an HTTP/1.1 request"))
            return
        if self._transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES:
            detail = f"request line and headers are over {HEAD_BYTES} bytes"
            self._refuse(model.Problem(431, "head_too_large", detail))
        elif self._in_head and self._head_begun and self._now is None:
            self._until(min(self._due_s, self._loop.time() + self._listener.head_deadline_s))

    def eof_received(self) -> None:
        """Nothing more will come: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter to anybody
        """Tell whoever waits."""
        self._listener.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for one in (self._now, self._arriving, *self._next):
            if one is not None:
                one.left()
        self._next.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        if self._sent is None:
            self._sent = self._loop.create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)
        self._sent = None
        if self._unread and not self._transport.is_closing():
            self._unread = False
            self._go_on()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_begun = True
        self._url, self._headers, self._asks_to_continue = b"", [], False

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes behind a chunked body is none, and as bounded."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"expect":
            self._asks_to_continue = value.lower() == b"100-continue"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The application may begin, unless it is still busy with an earlier request of this connection."""
        self._in_head = self._head_begun = False
        self._head_bytes = 0
        version = self._parser.get_http_version()
        keeps = version != "1.0" and self._parser.should_keep_alive() and not self._parser.should_upgrade()
        asked = self._asks_to_continue and version != "1.0"
        made = exchange.Exchange(self, self._scope(version), keep_alive=keeps, asked_to_continue=asked)
        self._arriving = made
        if self._now is None and not self._unread:
            self._start(made)
        else:
            self._next.append(made)
            self.hold(reading=False)

    def on_body(self, data: bytes) -> None:
        """A piece of a body; once the request is answered, only a little more of it is read."""
        self._head_bytes = 0
        arriving = self._arriving
        if arriving is None:
            return
        if not arriving.complete:
            arriving.arrived(data)
            return
        self._drained_bytes += len(data)
        if self._drained_bytes > DRAINED_BYTES:
            # Not closed at once: that would take the answer away from a client that is still writing.
            self.hold(reading=False)

    def on_message_complete(self) -> None:
        """The request is here."""
        arriving, self._arriving = self._arriving, None
        self._in_head, self._head_bytes, self._drained_bytes = True, 0, 0
        if arriving is not None:
            arriving.ended()
        if self._now is None:
            self._until(self._loop.time() + IDLE_S)

    # What an exchange asks.

    @property
    def standard_headers(self) -> bytes:
        """The lines that every answer has."""
        return self._listener.headers()

    def write(self, data: bytes) -> None:
        """Send bytes, unless nobody is there to take them."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the transport takes more; who does not read for too long is cut off."""
        if self._sent is None:
            return
        try:
            async with asyncio.timeout(UNREAD_S):
                await asyncio.shield(self._sent)
        except TimeoutError:
            self._transport.abort()

    def hold(self, *, reading: bool) -> None:
        """Pause or resume reading; while requests wait for their turn nothing is read."""
        wanted = reading and not self._next
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def cut(self) -> None:
        """End the connection."""
        self._transport.close()

    def finished(self) -> None:
        """An answer is complete: the next request's turn, or wait for one."""
        done, self._now = self._now, None
        if self._transport.is_closing():
            return
        if self._stopping or done is None or not done.keep_alive:
            self._transport.close()
            return
        if self._sent is not None:
            self._unread = True
            self.hold(reading=False)
            self._until(self._loop.time() + UNREAD_S)
            return
        self._go_on()

    def _go_on(self) -> None:
        """The next request's turn."""
        if self._next:
            self._start(self._next.popleft())
        elif self._head_begun:
            self._until(self._loop.time() + self._listener.head_deadline_s)
        else:
            self._until(self._loop.time() + (DRAINED_S if self._arriving is not None else IDLE_S))
        self.hold(reading=True)

    def shutdown(self) -> None:
        """The listener stops: end at once when idle, else with the answer that is under way."""
        self._stopping = True
        if self._now is None:
            self._transport.close()
        else:
            self._now.keep_alive = False

    def _start(self, one: exchange.Exchange) -> None:
        self._now, self._due_s = one, _NEVER
        task = self._loop.create_task(one.run(self._listener.application))
        self._listener.tasks.add(task)
        task.add_done_callback(self._listener.tasks.discard)

    def _scope(self, version: str) -> exchange.Scope:
        """Raises httptools' errors, UnicodeDecodeError: then it was no request."""
        url, query = self._url, b""
        if not url.startswith(b"/") or b"?" in url or b"#" in url:
            parsed = httptools.parse_url(url)
            url, query = parsed.path, parsed.query or b""
        path = url.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "root_path": "",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": url,
            "query_string": query,
            "headers": self._headers,
            "server": self._server,
            "client": self._client,
        }

    def _until(self, due_s: float) -> None:
        """Look again at that time. A timer that fires too early is set anew, so that few are ever cancelled."""
        self._due_s = due_s
        if self._timer is not None and self._timer.when() > due_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_s == _NEVER or self._transport.is_closing():
            return
        if self._loop.time() < self._due_s:
            self._until(self._due_s)
        elif self._unread:
            self._transport.abort()  # closed, it would go on waiting for somebody to read
        elif self._head_begun:
            self._refuse(model.Problem(408, "head_too_slow", "the headers did not arrive in time"))
        else:
            self._transport.close()

    def _refuse(self, problem: model.Problem) -> None:
        """Answer and close; just close while another answer is being written, which this one must not mix with."""
        http.refused.labels(problem.status, problem.code).inc()
        if self._now is None and not self._transport.is_closing():
            request_id = ids.new_id()
            body = problem.body(request_id)
            head = (
                f"HTTP/1.1 {problem.status} \r\ncontent-type: application/problem+json\r\n"
                f"content-length: {len(body)}\r\n{contexts.HTTP_REQUEST}: {request_id}\r\nconnection: close\r\n\r\n"
            )
            self._transport.write(head.encode() + body)
        self._transport.close()
