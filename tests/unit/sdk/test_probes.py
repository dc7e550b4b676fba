"""The three pages of an app's process, and what is not one of them. (Over a real socket: `tests/integration/sdk`.)"""

import asyncio

import pytest

from penstock.sdk import probes


class Writer:
    """Keeps what is written, as a StreamWriter would send it."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.closed = True


async def ask(request: bytes, *, listening: bool = True) -> bytes:
    reader, writer = asyncio.StreamReader(limit=probes.LONGEST_LINE), Writer()
    reader.feed_data(request)
    reader.feed_eof()
    await probes.Probes(lambda: {"acme": listening, "globex": True})._serve(reader, writer)  # type: ignore[arg-type]
    assert writer.closed
    return writer.sent


async def test_a_process_that_can_answer_is_healthy_whatever_it_waits_for() -> None:
    for listening in (True, False):
        assert (await ask(b"GET /health HTTP/1.1\r\n\r\n", listening=listening)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("query", "listening", "status"),
    [
        (b"", True, b"200"),
        (b"", False, b"503"),
        (b"?tenant=acme", True, b"200"),
        (b"?tenant=acme", False, b"503"),
        (b"?tenant=globex", False, b"200"),
        (b"?tenant=initech", True, b"404"),
        (b"?tenant=a%20b", True, b"400"),
        (b"?who=acme", True, b"400"),
    ],
)
async def test_ready_is_who_takes_messages_now_and_of_whom(query: bytes, listening: bool, status: bytes) -> None:
    page = await ask(b"GET /ready" + query + b" HTTP/1.1\r\n\r\n", listening=listening)
    assert page.split(b" ", 2)[1] == status


async def test_metrics_are_in_the_format_of_prometheus() -> None:
    page = await ask(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"\r\nContent-Type: text/plain; version=" in page
    assert b"# HELP " in page


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET / HTTP/1.1", b"404"), (b"POST /health HTTP/1.1", b"405"), (b"\xff\xfe", b"405"), (b"GET", b"405")],
)
async def test_anything_else_is_answered_shortly(request_line: bytes, status: bytes) -> None:
    assert (await ask(request_line + b"\r\n\r\n")).split(b" ", 2)[1] == status


async def test_head_has_no_body() -> None:
    page = await ask(b"HEAD /health HTTP/1.1\r\n\r\n")
    assert page.endswith(b"\r\n\r\n")
    assert b"Content-Length: 3\r\n" in page


async def test_a_line_that_never_ends_is_hung_up_on() -> None:
    assert await ask(b"GET /" + b"a" * 10_000) == b""
