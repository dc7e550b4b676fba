"""Posts to one URL over kept-alive connections and tells what came back, or that nothing did.

Lean, because benchmarks share their cores with it: one asyncio protocol per connection, no task per request. Plain
HTTP only: the simulator lives on loopback.
"""

import asyncio
import dataclasses
import time
import urllib.parse
from collections.abc import Mapping
from typing import cast

import httptools


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What the other side answered; `latency_s` from the first byte written to the last byte read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_s: float


class WebhookClient:
    """A pool of connections to the host of `url`; as many as there are posts at once."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"the simulator posts to http URLs only, not to {url}")
        self._host, self._port = parts.hostname, parts.port or 80
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode()
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Send one request. Raises OSError (ConnectionError, TimeoutError) when there was no answer."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, lines.encode("latin-1"), len(body), body)
        connection = await self._connection()
        response = await connection.exchange(request, self._timeout_s)
        if connection.usable:
            self._idle.append(connection)
        return response

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection

    async def close(self) -> None:
        """Hang up idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.cut()
        await asyncio.sleep(0)  # lets the transports close their sockets


class _Connection(asyncio.Protocol):
    """One connection; called by asyncio and by the parser."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._started_s = 0.0
        self._headers, self._body = dict[str, str](), list[bytes]()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._answer is None and not self._transport.is_closing()

    async def exchange(self, request: bytes, timeout_s: float) -> Response:
        """Write a request and wait for its answer."""
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        answer = self._answer = loop.create_future()
        timer = loop.call_later(timeout_s, self._expire)
        self._started_s = time.perf_counter()
        self._transport.write(request)
        try:
            return await answer
        except (OSError, asyncio.CancelledError):
            self._answer = None
            self.cut()  # what arrives later belongs to nobody
            raise
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Close without waiting."""
        if self._transport is not None:
            self._transport.abort()

    def _expire(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError("no answer in time"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the connection ended without an answer: {exc or 'closed'}"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            self.cut()
            return
        latency_s = time.perf_counter() - self._started_s
        answer.set_result(Response(self._parser.get_status_code(), self._headers, b"".join(self._body), latency_s))
        if not self._parser.should_keep_alive():
            self.cut()
