"""A small HTTP/1.1 server on loopback whose answers can be bad on purpose: late, wrong, or none at all.

One asyncio protocol per connection and no task per request, because benchmarks share their cores with it. One request
at a time per connection (no pipelining).
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, cast

import httptools

BODY_LIMIT: Final = 4 << 20
"""Bytes of one request's body; more ends the connection."""


@dataclasses.dataclass(slots=True)
class Request:
    """One whole request; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: after `delay_s` seconds, or nothing but a cut connection when `cut`."""

    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: bytes = b""
    delay_s: float = 0.0
    cut: bool = False


class WebhookServer:
    """Calls `respond` for every request. The port stays the same when it refuses connections and accepts them again."""

    def __init__(self, respond: Callable[[Request], Reply], *, host: str = "127.0.0.1") -> None:
        self.respond = respond
        self.host = host
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._quiet = asyncio.Event()

    async def start(self) -> None:
        """Listen, on a free port the first time and on the same one afterwards."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        await self.hang_up()
        await server.wait_closed()

    async def hang_up(self) -> None:
        """Cut the connections that are open, but accept new ones."""
        for connection in list(self._open):
            connection.cut()
        if self._open:
            await self._quiet.wait()

    def opened(self, connection: "_Connection") -> None:
        """Remember a connection, to cut it when stopping."""
        self.connections += 1
        self._open.add(connection)
        self._quiet.clear()

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.discard(connection)
        if not self._open:
            self._quiet.set()


class _Connection(asyncio.Protocol):
    """One client. Called by asyncio and by the parser."""

    def __init__(self, server: WebhookServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._headers, self._body, self._size = b"", dict[str, str](), list[bytes](), 0

    def cut(self) -> None:
        """End the connection without an answer."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.closed(self)
        self._transport = None
        if self._late is not None:
            self._late.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_LIMIT:
            self.cut()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, self._target.decode("latin-1"), self._headers, b"".join(self._body))
        reply = self._server.respond(request)
        if reply.delay_s > 0:
            self._late = asyncio.get_running_loop().call_later(reply.delay_s, self._answer, reply)
        else:
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        if reply.cut or self._transport is None:
            self.cut()
            return
        self._transport.write(_encode(reply))


def _encode(reply: Reply) -> bytes:
    head = _HEADS.get(reply.status)
    if head is None:
        phrase = _PHRASES.get(reply.status, "Unnamed")
        head = _HEADS[reply.status] = f"HTTP/1.1 {reply.status} {phrase}\r\n".encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines.encode("latin-1"), len(reply.body), reply.body)


_HEADS: Final[dict[int, bytes]] = {}
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
