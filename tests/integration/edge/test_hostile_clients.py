"""Clients that do not read their answers, or never end what they say: bounded, cut off, and harmful to nobody."""

import asyncio
import socket
from typing import Any

import pytest

from penstock.edge import settings, wiring
from penstock.edge.entrypoints import connection, http, probes
from tests.integration.edge.test_listener import Echo, Listener, answers, get, listening, post


async def test_who_reads_no_answers_gets_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 0.5)
    held = wiring.bind("127.0.0.1", 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with listening(held) as edge, edge.connection() as (_, writer):
        sent = 0

        async def ask() -> None:
            nonlocal sent
            while sent < 512 << 20:
                writer.write(post("/v1/a", b"x" * 65536))
                await writer.drain()
                sent += 65536

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask(), 20)
        assert sent < 32 << 20, "what the kernel buffers, and no more"


async def test_who_does_not_read_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 0.3)
    over = asyncio.Event()

    async def endless(_: Any, receive: Any, send: Any) -> None:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            over.set()

        watching = asyncio.create_task(watch())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not over.is_set():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        await watching

    probe, held = probes.Probes({}), wiring.bind("127.0.0.1", 0)
    chosen = settings.EdgeSettings(port=0, drain_s=5)
    edge = Listener(wiring.EdgeServer(chosen, [http.Mount("/v1/", endless)], probe, listener=held), Echo(), probe)
    try:
        async with edge.connection() as (_, writer):
            writer.write(get("/v1/a"))
            assert await asyncio.wait_for(over.wait(), 10)
    finally:
        edge.server.stop()
        await edge.serving


async def test_who_reads_late_misses_no_answer() -> None:
    async with listening() as edge, edge.connection() as (reader, writer):
        asked = [post("/v1/a", b"x" * 65536) for _ in range(200)] + [get("/health", "Connection: close")]

        async def ask() -> None:
            for raw in asked:
                writer.write(raw)
                await writer.drain()

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            found = answers(await reader.read())
            await asking
    assert [len(body) for _, _, body in found] == [65536] * 200 + [16]


async def test_what_comes_behind_a_chunked_body_is_bounded_and_no_header() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def sees(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    probe, held = probes.Probes({}), wiring.bind("127.0.0.1", 0)
    chosen = settings.EdgeSettings(port=0, drain_s=5)
    edge = Listener(wiring.EdgeServer(chosen, [http.Mount("/v1/", sees)], probe, listener=held), Echo(), probe)
    chunked = b"POST /v1/a HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    try:
        ((status, _, _),) = answers(await edge.say(chunked + b"X-Late: 1\r\n\r\n"))
        assert (status, [name for name, _ in seen.pop()]) == (204, [b"connection", b"transfer-encoding"])
        assert await edge.say(chunked + b"a:b\r\n" * 1_000_000) == b""
        assert seen == []
    finally:
        edge.server.stop()
        await edge.serving
