"""Asks whether something answers: one HTTP request, or one connection, within a deadline."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

LONGEST_ANSWER_BYTES: Final = 256 << 10


async def http_get(host: str, port: int, path: str, *, timeout_s: float = 2.0) -> tuple[int, bytes]:
    """Status and body of a plain HTTP server's answer to `GET path`; (0, empty) when nothing sensible comes in time."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(timeout_s), _connected(host, port) as (reader, writer):
            writer.write(request.encode())
            answer = bytearray()
            while (part := await reader.read(65536)) and len(answer) < LONGEST_ANSWER_BYTES:
                answer += part
            head, _, body = bytes(answer).partition(b"\r\n\r\n")
            protocol, status, *_ = head.split(maxsplit=2)
            return (int(status), body) if protocol.startswith(b"HTTP/") else (0, b"")
    return 0, b""


async def answers(host: str, port: int, *, timeout_s: float = 2.0) -> bool:
    """True when a TCP connection can be made, or a Unix one when `host` is a folder (as libpq has it)."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_s), _connected(host, port):
            return True
    return False


@contextlib.asynccontextmanager
async def _connected(host: str, port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    if host.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    else:
        reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
