"""One connection over a transport that only keeps what it is given: what is written when, and when it is over."""

import asyncio

import pytest

from penstock.base import errors
from penstock.spine.plane import connection as connections
from penstock.spine.plane import parser


class Transport(asyncio.Transport):
    """Keeps what is written; ends when told."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol, self.written, self.closing = protocol, [], False

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.closing

    def write(self, data):
        self.written.append(bytes(data))

    def close(self):
        self.abort()

    def abort(self):
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


@pytest.fixture
async def connection():
    made = connections.Connection()
    made.connection_made(Transport(made))
    yield made
    made.abort()
    await made.ended


def written(connection):
    return connection._transport.written


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_is_written_in_one_turn_leaves_in_one_write(connection):
    for number in range(100):
        connection.say(b"%d" % number)
    assert written(connection) == []
    assert connection.unsent_bytes > 0
    await turn()
    assert written(connection) == [b"".join(b"%d\r\n" % number for number in range(100))]
    assert connection.unsent_bytes == 0
    connection.say(b"then")
    await turn()
    assert written(connection)[1:] == [b"then\r\n"]


async def test_a_socket_that_does_not_keep_up_makes_writers_wait(connection):
    connection.pause_writing()
    connection.say(b"a")
    waiting = asyncio.create_task(connection.room())
    await turn()
    assert written(connection) == []
    assert not connection.has_room
    assert not waiting.done()
    connection.resume_writing()
    await waiting
    assert connection.has_room
    assert written(connection) == [b"a\r\n"]


async def test_too_much_in_one_turn_makes_writers_wait_for_the_next(connection):
    connection.write((b"x" * connections.ROOM_BYTES,), connections.ROOM_BYTES)
    assert not connection.has_room
    await connection.room()
    assert connection.has_room


async def test_whoever_waits_for_room_is_let_go_when_it_is_over(connection):
    connection.pause_writing()
    waiting = asyncio.create_task(connection.room())
    given_up = asyncio.create_task(connection.room())
    await turn()
    given_up.cancel()
    connection.abort()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(connection.room(), 5)
    assert given_up.cancelled()
    assert connection.ended.done()


async def test_pongs_answer_pings_in_order(connection):
    first, second, third = connection.ping(), connection.ping(), connection.ping()
    second.cancel()
    connection.data_received(b"PONG\r\nPO")
    assert (first.done(), third.done()) == (True, False)
    connection.data_received(b"NG\r\n\r\nPONG\r\nPONG\r\n")
    assert third.done()


async def test_a_ping_is_answered(connection):
    connection.data_received(b"PING\r\nping\r\n")
    await turn()
    assert written(connection) == [b"PONG\r\nPONG\r\n"]


async def test_what_waits_fails_when_it_is_over_and_nothing_is_written_any_more(connection):
    waiting = connection.ping()
    told = []
    connection.on_end = lambda: told.append(True)
    connection.abort(errors.Unavailable("disconnected", "the reason"))
    connection.abort(errors.Unavailable("disconnected", "another"))
    ended = await connection.ended
    assert (ended.detail, told) == ("the reason", [True])
    for future in (waiting, connection.greeted, connection.ping()):
        with pytest.raises(errors.Unavailable):
            await future
    connection.say(b"a")
    connection.data_received(b"PING\r\n")
    connection.abort()
    await connection.close()


async def test_what_is_not_the_protocol_ends_it(connection):
    connection.data_received(b"WHAT?\r\n")
    assert (await connection.ended).code == "protocol_error"


async def test_messages_are_dispatched_only_once_it_is_sure_who_sends_them(connection):
    heard = []
    connection.data_received(b"MSG a 1 1\r\nx\r\n")
    connection.receive({b"1": heard.append})
    connection.data_received(b"MSG a 1 1\r\ny\r\n")
    assert [message.body for message in heard] == [b"y"]


async def test_info_is_taken_over_whenever_it_comes(connection):
    news = []
    connection.on_info = news.append
    connection.data_received(b'INFO {"max_payload": 5}\r\n')
    assert connection.greeted.done()
    assert (connection.info.max_payload_bytes, news) == (5, [])
    connection.data_received(b'info\t{"max_payload": 7, "ldm": true}\r\n')
    assert news == [connection.info]
    assert (connection.info.max_payload_bytes, connection.info.lame_duck) == (7, True)


async def test_silence_is_noticed_and_any_byte_breaks_it(connection, monkeypatch):
    looks = []

    def call_later(delay_s, look):
        looks.append(look)
        return asyncio.TimerHandle(0, look, (), connection._loop)

    monkeypatch.setattr(connection._loop, "call_later", call_later)
    connection.keep_alive(5.0)
    for _ in range(10):
        connection.data_received(b"+OK\r\n")
        looks[-1]()
    await turn()
    assert written(connection) == []
    for _ in range(connections.SILENCES):
        looks[-1]()
        assert not connection.ended.done()
    await turn()
    assert b"".join(written(connection)) == b"PING\r\n" * connections.SILENCES
    connection.data_received(b"P")
    looks[-1]()
    for _ in range(connections.SILENCES + 1):
        looks[-1]()
    assert (await connection.ended).code == "disconnected"


async def test_a_server_that_asks_without_end_and_reads_nothing_is_left(connection, monkeypatch):
    monkeypatch.setattr(connections, "PINGS_LIMIT_BYTES", 600)
    connection.pause_writing()
    for _ in range(200):
        connection.data_received(b"PING\r\n" * 10)
    assert connection.unsent_bytes < 700
    assert (await connection.ended).code == parser.violation("").code


async def test_closing_waits_until_the_server_has_dealt_with_everything(connection):
    connection.say(b"last words")
    closing = asyncio.create_task(connection.close())
    await turn()
    assert b"".join(written(connection)) == b"last words\r\nPING\r\n"
    assert not connection.ended.done()
    connection.data_received(b"PONG\r\n")
    await asyncio.wait_for(closing, 5)
    assert connection.ended.done()


async def test_closing_does_not_wait_for_ever(connection, monkeypatch):
    monkeypatch.setattr(connections, "HANG_UP_S", 0.01)
    connection.pause_writing()
    connection.say(b"last words")
    await asyncio.wait_for(connection.close(), 5)
    assert connection.ended.done()


async def test_what_is_said_after_info_in_clear_is_not_taken_into_tls(connection):
    connection.data_received(b'INFO {"tls_required": true}\r\nMS')
    with pytest.raises(errors.Unavailable) as mixed:
        await connection.secure(None, "a")
    assert mixed.value.code == "protocol_error"
