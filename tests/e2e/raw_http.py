"""HTTP/1.1 by hand, so that requests can be as wrong, as slow or as large as no client library would send them."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection to the host of a URL."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, text: bytes) -> None:
        """Write some bytes. Raises ConnectionError when the other side has hung up."""
        self._writer.write(text)
        await self._writer.drain()

    async def answer(self, *, timeout_s: float = 15.0) -> Answer:
        """Read one answer whole. Raises EOFError (IncompleteReadError) when the connection ends without one."""
        async with asyncio.timeout(timeout_s):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def ended(self, *, timeout_s: float = 15.0) -> bytes:
        """What comes until the other side hangs up."""
        async with asyncio.timeout(timeout_s):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
        return b""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """A connection for as long as the block lasts."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """A request line and its headers, and the empty line that ends them."""
    lines = [f"{method} {target} HTTP/1.1", "host: test", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def exchange(url: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """One request on a connection of its own."""
    with_length = {"content-length": str(len(body)), **headers} if body or method == "POST" else headers
    async with connected(url) as connection:
        await connection.send(head(method, target, with_length) + body)
        return await connection.answer()
