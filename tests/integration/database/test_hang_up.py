"""A server that hangs up is noticed at once, also where the event loop tells of it only once (uvloop)."""

import asyncio
import time

import psycopg
import pytest
import uvloop

from penstock.base import errors
from penstock.database import connect, wire
from penstock.servers import endpoints

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@LOOPS
def test_a_backend_that_dies_with_much_unread_is_noticed_at_once(
    loop: type[asyncio.AbstractEventLoop], postgres_endpoint: endpoints.PostgresEndpoint
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_seconds_until_noticed(postgres_endpoint.url())) < 10, "only its own deadline told"


async def _seconds_until_noticed(url: str) -> float:
    doomed = await connect.connect(url, application="test", limits=connect.Limits())
    other = await connect.connect(url, application="test", limits=connect.Limits())
    try:
        # The server sleeps in the first statement and has most of the others unread, which makes its end an error.
        doomed.send("select pg_sleep(60)")
        for _ in range(20):
            doomed.send("select length(%s)", ["x" * 5000])
        waiting = asyncio.create_task(doomed.sync(15))
        slept = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        while True:
            found = other.send(slept, [doomed.backend_pid])
            await other.sync(5)
            if found.affected:
                break
        begun = time.monotonic()
        other.send("select pg_terminate_backend(%s)", [doomed.backend_pid])
        await other.sync(5)
        with pytest.raises(errors.Unavailable):
            await waiting
        assert doomed.lost
        return time.monotonic() - begun
    finally:
        doomed.close()
        other.close()


@LOOPS
def test_a_server_that_ends_the_session_between_two_answers_is_understood(
    loop: type[asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        code = runner.run(_error_of_a_statement_answered_by_a_last_word())
    assert code == "database_away"


async def _error_of_a_statement_answered_by_a_last_word() -> str:
    """A server of our own: the statement's answer is whole, and where the end of the round belongs comes a FATAL."""
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        writer.write(_said(b"R", bytes(4)) + _said(b"S", b"client_encoding\0UTF8\0") + _said(b"Z", b"I"))
        await reader.read(1)
        writer.write(_said(b"1") + _said(b"2") + _said(b"n") + _said(b"C", b"SELECT 0\0"))
        writer.write(_said(b"E", b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"))
        await said.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://test@127.0.0.1:{port}/test?sslmode=disable&gssencmode=disable"
    line = wire.Wire(await psycopg.AsyncConnection.connect(url, autocommit=True), lambda _: None)
    try:
        line.send("select")
        with pytest.raises(errors.Unavailable) as raised:
            await line.sync(10)
        return raised.value.code
    finally:
        line.close()
        said.set()
        server.close()


def _said(kind: bytes, content: bytes = b"") -> bytes:
    """One message of the server: https://www.postgresql.org/docs/18/protocol-message-formats.html."""
    return kind + (len(content) + 4).to_bytes(4, "big") + content
