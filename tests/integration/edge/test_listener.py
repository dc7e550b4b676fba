"""The listener over real sockets: what odd clients are told, and that stopping finishes what was begun."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.base import errors
from penstock.edge import settings, wiring
from penstock.edge.entrypoints import connection, http, probes


class Echo:
    """Answers a POST with its body; `/held` waits until it is released, and says when it was reached."""

    def __init__(self) -> None:
        self.reached, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body, more = body + event["body"], event["more_body"]
        if scope["path"].endswith("/held"):
            self.reached.set()
            await self.release.wait()
        if scope["path"].endswith("/broken"):
            raise errors.Unavailable("away", "something is away")
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Listener:
    """A running listener and what it serves."""

    def __init__(self, server: wiring.EdgeServer, echo: Echo, probe: probes.Probes) -> None:
        self.server, self.echo, self.probe = server, echo, probe
        self.serving = asyncio.create_task(server.serve())

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, raw: bytes) -> bytes:
        """What comes back for these bytes, up to the end of the connection or of patience."""
        async with self.connection() as (reader, writer):
            with contextlib.suppress(ConnectionError):
                writer.write(raw)
                await writer.drain()
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(10):
                    return await reader.read()
        return b""


@contextlib.asynccontextmanager
async def listening(listener: socket.socket | None = None, **chosen: Any) -> AsyncGenerator[Listener]:
    echo, probe = Echo(), probes.Probes({})
    configured = settings.EdgeSettings(**{"port": 0, "drain_s": 5, **chosen})
    held = listener or wiring.bind("127.0.0.1", 0)
    started = Listener(wiring.EdgeServer(configured, [http.Mount("/v1/", echo)], probe, listener=held), echo, probe)
    try:
        yield started
    finally:
        echo.release.set()
        started.server.stop()
        async with asyncio.timeout(10):
            await started.serving


def answers(raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer in what came back: status, headers, body (of its content-length)."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append((int(first.split(" ")[1]), headers, rest[:length]))
        raw = rest[length:]
    return found


def post(path: str, body: bytes, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


def get(path: str, *more: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: here", *more, "", ""]).encode()


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with listening() as edge:
        raw = await edge.say(get("/health", "Connection: close", method="HEAD"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 16" in head
    assert body == b""


async def test_http_1_0_is_answered_and_closed() -> None:
    async with listening() as edge:
        ((status, headers, body),) = answers(await edge.say(get("/health", version="1.0")))
    assert (status, headers["connection"], json.loads(body)) == (200, "close", {"status": "ok"})


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with listening() as edge:
        raw = post("/v1/a", b"first") + post("/v1/b", b"x" * 200_000) + post("/v1/c", b"third", "Connection: close")
        found = answers(await edge.say(raw))
    assert [(status, len(body)) for status, _, body in found] == [(200, 5), (200, 200_000), (200, 5)]


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the first bytes of TLS
        b"GET /health HTTP/1.1\r\nHost here\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /\u00fc HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"CONNECT somewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_a_problem_and_the_next_one_is_answered(raw: bytes) -> None:
    async with listening() as edge:
        ((status, headers, body),) = answers(await edge.say(raw))
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert json.loads(body)["code"] == "bad_request"
        assert (await edge.say(get("/health", "Connection: close"))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "raw",
    [
        get("/health", "X-Long: " + "a" * 2_000_000),
        get("/health", *(f"X-{n}: {n}" for n in range(100_000))),
        get("/" + "a" * 2_000_000),
        b"GET /health HTTP/1.1\r\nX-Endless: " + b"a" * 2_000_000,
    ],
    ids=["one header", "many headers", "a long path", "without end"],
)
async def test_headers_are_bounded(raw: bytes) -> None:
    async with listening() as edge:
        found = await edge.say(raw)
        if found:  # a client that is still writing may lose the answer with the connection
            assert answers(found)[0][0] == 431
            assert json.loads(answers(found)[0][2])["code"] == "head_too_large"
        assert (await edge.say(get("/health", "Connection: close"))).startswith(b"HTTP/1.1 200 ")


async def test_headers_of_a_usual_size_pass() -> None:
    async with listening() as edge:
        found = answers(await edge.say(post("/v1/a", b"x" * 300_000, "X-Long: " + "a" * 30_000, "Connection: close")))
    assert [(status, len(body)) for status, _, body in found] == [(200, 300_000)]


async def test_headers_that_do_not_come_are_not_waited_for() -> None:
    async with listening(head_deadline_s=0.5) as edge:
        ((status, _, body),) = answers(await edge.say(b"GET /health HTTP/1.1\r\nHost: "))
        assert (status, json.loads(body)["code"]) == (408, "head_too_slow")
        assert await edge.say(b"") == b""  # one that never says anything is closed


async def test_a_second_request_that_stops_halfway_is_not_waited_for_either() -> None:
    async with listening(head_deadline_s=0.5) as edge, edge.connection() as (reader, writer):
        writer.write(get("/health"))
        await reader.readuntil(b'{"status": "ok"}')
        writer.write(b"GET /heal")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_slow_answer_is_not_hurried_by_the_deadline_of_headers() -> None:
    async with listening(head_deadline_s=0.3) as edge:
        asking = asyncio.create_task(edge.say(post("/v1/held", b"hello", "Connection: close")))
        await edge.echo.reached.wait()
        await asyncio.sleep(0.4)
        edge.echo.release.set()
        assert [body for _, _, body in answers(await asking)] == [b"hello"]


async def test_an_upgrade_is_declined_by_answering_the_request() -> None:
    async with listening() as edge:
        raw = get("/health", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA", version="1.1")
        async with edge.connection() as (reader, writer):
            writer.write(raw)
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_a_problem_keeps_the_connection() -> None:
    async with listening() as edge:
        found = answers(
            await edge.say(post("/v1/broken", b"x") + get("/nothing") + get("/health", "Connection: close"))
        )
    assert [status for status, _, _ in found] == [503, 404, 200]
    assert found[0][1]["retry-after"] == "1"


async def test_a_refused_body_is_read_on_a_little_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hears the answer although it goes on writing; what it writes after that ends in its own buffers."""
    monkeypatch.setattr(connection, "DRAINED_S", 0.5)
    async with listening() as edge, edge.connection() as (reader, writer):
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()
                sent += 65536

        flooding = asyncio.create_task(flood())
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
            with contextlib.suppress(ConnectionError):
                await reader.read()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert sent < connection.DRAINED_BYTES + (16 << 20), "what the kernel buffers, and no more"


async def test_a_refused_body_that_ends_soon_keeps_the_connection() -> None:
    async with listening() as edge, edge.connection() as (reader, writer):
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n" + b"x" * 10)
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
            writer.write(b"x" * 99_990 + get("/health", "Connection: close"))
            assert (await reader.read()).endswith(b'{"status": "ok"}')


async def test_who_asks_whether_to_go_on_is_told_so_before_the_body_and_not_when_refused() -> None:
    async with listening() as edge, edge.connection() as (reader, writer):
        writer.write(post("/nothing", b"", "Expect: 100-continue"))
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    async with listening() as edge, edge.connection() as (reader, writer):
        writer.write(post("/v1/a", b"hello", "Expect: 100-continue", "Connection: close")[: -len(b"hello")])
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            ((status, _, body),) = answers(await reader.read())
    assert (status, body) == (200, b"hello")


async def test_http_1_0_knows_no_answer_before_the_answer() -> None:
    raw = post("/v1/a", b"hello", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with listening() as edge, edge.connection() as (reader, writer):
        writer.write(raw[: -len(b"hello")])
        await asyncio.sleep(0.1)
        writer.write(b"hello")
        async with asyncio.timeout(10):
            ((status, _, body),) = answers(await reader.read())
    assert (status, body) == (200, b"hello")


async def test_a_body_that_nobody_reads_fills_no_memory() -> None:
    """`/held` reads its body whole; while it waits for its release the next request's body stays in the kernel."""
    async with listening() as edge, edge.connection() as (_, writer):
        writer.write(post("/v1/held", b"hello"))
        await edge.echo.reached.wait()
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64 << 20:
                    writer.write(post("/v1/a", b"x" * 65536))
                    await writer.drain()
                    sent += 65536
        assert sent < 32 << 20


async def test_requests_split_at_every_byte_are_understood() -> None:
    raw = post("/v1/a?b=%20", b"hello", "X: y") + get("/health", "Connection: close")
    async with listening() as edge, edge.connection() as (reader, writer):
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
        async with asyncio.timeout(10):
            found = answers(await reader.read())
    assert [(status, body) for status, _, body in found] == [(200, b"hello"), (200, b'{"status": "ok"}')]


@pytest.mark.parametrize("headers", [[(b"x", b"a\r\nb: c")], [(b"content-length", b"1")]])
async def test_an_answer_that_is_none_cuts_the_connection_and_harms_no_other(headers: Any) -> None:
    async def wrong(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"too long"})

    held = wiring.bind("127.0.0.1", 0)
    server = wiring.EdgeServer(
        settings.EdgeSettings(port=0, drain_s=5), [http.Mount("/v1/", wrong)], probes.Probes({}), listener=held
    )
    edge = Listener(server, Echo(), probes.Probes({}))
    try:
        assert b"too long" not in await edge.say(get("/v1/a"))
        assert (await edge.say(get("/health", "Connection: close"))).startswith(b"HTTP/1.1 200 ")
    finally:
        server.stop()
        await edge.serving


async def test_stopping_answers_what_is_in_flight_and_takes_nothing_more() -> None:
    async with listening() as edge:
        asking = asyncio.create_task(edge.say(post("/v1/held", b"hello")))
        await edge.echo.reached.wait()
        async with edge.connection() as (idle, _):
            edge.server.stop()
            async with asyncio.timeout(20):
                assert await idle.read() == b""  # an idle connection is closed
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", edge.server.port)
        assert edge.probe.draining
        assert not edge.serving.done()
        edge.echo.release.set()
        ((status, headers, body),) = answers(await asking)
        assert (status, headers["connection"], body) == (200, "close", b"hello")


async def test_stopping_waits_for_drain_s_and_not_longer() -> None:
    async with listening(drain_s=0.2) as edge:
        asking = asyncio.create_task(edge.say(post("/v1/held", b"hello")))
        await edge.echo.reached.wait()
        edge.server.stop()
        async with asyncio.timeout(20):
            await edge.serving
        assert not edge.echo.release.is_set()
        assert b"hello" not in await asking


async def test_an_inherited_listener_keeps_those_who_wait_for_the_next_process() -> None:
    held = wiring.bind("127.0.0.1", 0)
    with held:
        port = held.getsockname()[1]
        async with listening(held.dup()) as first:
            assert first.server.port == port
            assert (await first.say(get("/health", "Connection: close"))).startswith(b"HTTP/1.1 200 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # nobody serves now; the backlog takes it
        writer.write(get("/health", "Connection: close"))
        async with listening(held.dup()):
            async with asyncio.timeout(20):
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


def test_a_port_in_use_is_refused_by_name() -> None:
    with wiring.bind("127.0.0.1", 0) as taken, pytest.raises(errors.Rejected) as refused:
        wiring.bind("127.0.0.1", taken.getsockname()[1])
    assert (refused.value.code, refused.value.status, refused.value.field) == ("port_in_use", 409, "edge.port")
    assert "PENSTOCK_EDGE__PORT" in refused.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_refused_by_name(host: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        wiring.bind(host, 0)
    assert (refused.value.code, refused.value.field) == ("cannot_listen", "edge.host")
    assert host in refused.value.detail


def test_without_a_port_the_preferred_one_is_taken_if_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with wiring.bind("127.0.0.1", 0) as free:
        monkeypatch.setattr(wiring, "PREFERRED_PORT", free.getsockname()[1])
        with wiring.bind("127.0.0.1", 0) as other:
            assert other.getsockname()[1] not in {0, wiring.PREFERRED_PORT}
    with wiring.bind("127.0.0.1", 0) as preferred:
        assert preferred.getsockname()[1] == wiring.PREFERRED_PORT
