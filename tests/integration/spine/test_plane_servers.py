"""Servers that behave badly on purpose: the link says what is wrong, stays bounded, and never gives up."""

import asyncio
import ssl

import pytest
import structlog

from penstock.base import errors, tasks
from penstock.spine.adapters import nats_access, spine_nats
from penstock.spine.plane import carrier, link
from penstock.spine.settings import NatsSettings
from tests.integration.spine.plane_stage import QUICK, WITHIN_S, Session, linked, refused, scripted, until


@pytest.fixture
def pauses(monkeypatch):
    """How many failures each pause was for; all of them are short."""
    found = []

    def backoff_s(failures, *, first_s, most_s):
        found.append(failures)
        return 0.001

    monkeypatch.setattr(tasks, "backoff_s", backoff_s)
    return found


async def test_what_a_client_introduces_itself_as():
    seen = []

    async def script(session: Session, number: int) -> None:
        await session.let_in()
        seen.append(session.options)
        await session.carry_on()

    async with scripted(script) as server, linked(server.url.replace("://", "://u:p%20@")):
        said = seen[0]
        assert (said["user"], said["pass"], said["name"]) == ("u", "p ", "penstock")
        for option in ("echo", "headers", "no_responders"):
            assert said[option] is True
        assert (said["verbose"], said["pedantic"], said["protocol"], said["tls_required"]) == (False, False, 1, False)
        assert "auth_token" not in said
        assert "nkey" not in said


@pytest.mark.parametrize("client", ["plane", "nats-py"])
@pytest.mark.parametrize("url", ["nats", "tls"])
async def test_no_word_is_said_in_clear_to_a_server_without_tls(client, url):
    heard = []

    async def script(session: Session, number: int) -> None:
        session.inform()
        heard.append(await session.reader.read(100))

    async with scripted(script) as server:
        place = server.url.replace("nats://", f"{url}://u:hush@")
        where = nats_access.address(place, NatsSettings())
        if url == "nats":
            access = nats_access.addresses.Access(tls=ssl.create_default_context())
            where = nats_access.addresses.address(place, access=access)
        if client == "plane":
            one = link.Link(where, timing=QUICK)
            one.open_later()
        else:
            one = spine_nats.nats_link.Link(where)
            one.open_later()
        await until(lambda: heard)
        await one.close()
    assert set(heard) == {b""}


async def test_what_is_said_in_clear_after_info_is_not_believed_once_tls_stands():
    async def script(session: Session, number: int) -> None:
        session.say('INFO {"tls_required": true}\r\nMSG a 1')
        await session.reader.read(100)

    async with scripted(script) as server:
        error = await refused(server.url, wait_s=0.3)
        assert isinstance(error, errors.Unavailable)


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"INFO nonsense\r\n",
        b"INFO []\r\n",
        b"INFO " + b"[" * 20_000 + b"\r\n",
        b"INFO {" + b" " * 100_000,
        b"\r\n\r\n\r\nPONG\r\n",
        b"-ERR 'maximum connections exceeded'\r\n",
        b"MSG a 1 999999999\r\n",
    ],
)
async def test_a_server_that_greets_badly_is_tried_again_with_pauses(greeting, pauses):
    async def script(session: Session, number: int) -> None:
        if number == 5:
            await session.let_in()
            await session.carry_on()
        session.say(greeting)
        if greeting:
            await session.reader.read(1)

    async with scripted(script) as server, linked(server.url, timing=carrier.Timing(connect_s=0.2)) as one:
        await one.barrier(WITHIN_S)
        assert server.count == 5
    assert pauses == [1, 2, 3, 4]


async def test_a_first_connection_that_is_never_made_is_unavailable_in_time():
    async def script(session: Session, number: int) -> None:
        session.say(b"-ERR 'maximum connections exceeded'\r\n")

    async with scripted(script) as server:
        error = await refused(server.url, wait_s=0.1)
        assert isinstance(error, errors.Unavailable)
        assert error.code == "nats_unreachable"


async def test_a_server_that_says_nothing_is_given_up_in_time():
    async def script(session: Session, number: int) -> None:
        if number == 1:
            await session.reader.read()
        await session.let_in()
        await session.carry_on()

    timing = carrier.Timing(connect_s=0.2, first_wait_s=0.01, most_wait_s=0.01)
    async with scripted(script) as server, linked(server.url, timing=timing):
        assert server.count == 2


async def test_a_server_that_lets_in_and_hangs_up_is_not_hammered(pauses):
    async def script(session: Session, number: int) -> None:
        await session.let_in()

    async with scripted(script) as server, linked(server.url):
        await until(lambda: server.count >= 8)
    assert pauses[:6] == [1, 2, 3, 4, 5, 6]


FATAL = {
    "'Stale Connection'": "stale",
    "'Slow Consumer'": "slow_consumer",
    "'Maximum Payload Violation'": "payload",
    "'User Authentication Expired'": "credentials",
    "'Account Authentication Expired'": "credentials",
    "'maximum account active connections exceeded'": "full",
    "'Parser Error'": "other",
    "": "other",
    "'\xff\xfe" + "x" * 5000 + "'": "other",
}


@pytest.mark.parametrize(("said", "kind"), list(FATAL.items()))
async def test_an_error_after_which_the_server_hangs_up_is_survived(said, kind):
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        if number == 1:
            await session.heard()
            session.say(f"-ERR {said}\r\n".encode("latin-1"))
            return
        await session.carry_on()

    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as server, linked(server.url) as one:
            call = one.call("a", b"", 30)
            with pytest.raises(errors.Unavailable) as lost:
                await asyncio.wait_for(call, WITHIN_S)
            assert lost.value.code == "disconnected"
            await until(lambda: one.connection == 2)
    complaints = [line for line in lines if line["event"] == "nats complains"]
    assert [line["kind"] for line in complaints] == [kind]
    assert len(complaints[0]["said"]) <= 300


@pytest.mark.parametrize("said", ["'Permissions Violation for Publish to \"elsewhere\"'", "'Something new'", "'"])
async def test_an_error_after_which_the_server_goes_on_is_no_end(said):
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        session.say(f"-ERR {said}\r\n")
        await session.carry_on()

    async with scripted(script) as server, linked(server.url) as one:
        await one.barrier(WITHIN_S)
        assert one.connection == 1


async def test_too_many_subscriptions_fail_those_that_wait():
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        while True:
            line = await session.heard()
            if line.startswith(b"SUB many"):
                session.say("-ERR 'maximum subscriptions exceeded'\r\n")
            if line == b"PING":
                session.say("PONG\r\n")

    async with scripted(script) as server, linked(server.url) as one:
        await one.subscribe("few", print).established(WITHIN_S)
        with pytest.raises(errors.Unavailable) as full:
            await one.subscribe("many", print).established(WITHIN_S)
        assert full.value.code == "too_many_subscriptions"
        assert one.connection == 1


async def test_a_reply_that_is_not_permitted_fails_that_call_alone():
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        replies = []
        while len(replies) < 2:
            line = await session.heard()
            if line.startswith(b"PUB a "):
                replies.append(line.split()[2].decode())
        session.say(f"-ERR 'Permissions Violation for Publish with Reply of \"{replies[0]}\"'\r\n")
        session.say(f"MSG {replies[1]} 1 2\r\nhi\r\n")
        await session.carry_on()

    async with scripted(script) as server, linked(server.url) as one:
        refused_call, answered = one.call("a", b"", 30), one.call("a", b"", 30)
        with pytest.raises(errors.Rejected) as refusal:
            await asyncio.wait_for(refused_call, WITHIN_S)
        assert refusal.value.code == "not_permitted"
        assert (await answered).body == b"hi"


@pytest.mark.parametrize("noise", [b"NOISE\r\n", b"MSG a 1 99999999\r\n", b"x" * 40_000, b"MSG a 1 1\r\nxyz\r\n"])
async def test_noise_ends_the_connection_and_another_is_made(noise):
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        if number == 1:
            session.say(noise)
        await session.carry_on()

    async with scripted(script) as server, linked(server.url) as one:
        await until(lambda: one.connection == 2)
        await one.barrier(WITHIN_S)


async def test_answers_that_nobody_asked_for_are_dropped():
    async def script(session: Session, number: int) -> None:
        await session.let_in()
        session.say("PONG\r\nPONG\r\n+OK\r\n\r\nMSG _INBOX.x.1 1 2\r\nhi\r\nMSG x 77 2\r\nhi\r\nMSG y 1 2\r\nhi\r\n")
        await session.carry_on()

    async with scripted(script) as server, linked(server.url) as one:
        await one.barrier(WITHIN_S)
        assert one.connection == 1


async def test_a_server_that_asks_and_never_reads_is_left(monkeypatch):
    monkeypatch.setattr("penstock.spine.plane.connection.PINGS_LIMIT_BYTES", 1000)

    async def script(session: Session, number: int) -> None:
        await session.let_in()
        if number > 1:
            await session.carry_on()
        session.reader._transport.pause_reading()
        while True:
            session.say(b"PING\r\n" * 50_000)
            await session.writer.drain()

    async with scripted(script) as server, linked(server.url) as one:
        await until(lambda: one.connection == 2)


async def test_a_barrier_that_is_never_answered_ends_in_time_or_with_the_link(monkeypatch):
    monkeypatch.setattr("penstock.spine.plane.connection.HANG_UP_S", 0.05)

    async def script(session: Session, number: int) -> None:
        await session.let_in()
        await session.reader.read()

    async with scripted(script) as server, linked(server.url, timing=carrier.Timing()) as one:
        with pytest.raises(errors.Unavailable) as late:
            await one.barrier(0.01)
        assert late.value.code == "timeout"
        waiting = asyncio.create_task(one.barrier(30))
        await asyncio.sleep(0)
        await one.close()
        with pytest.raises(errors.Unavailable) as closed:
            await asyncio.wait_for(waiting, WITHIN_S)
        assert closed.value.code == "spine_closed"


async def test_the_limit_of_a_message_follows_the_server_while_we_are_connected():
    async def script(session: Session, number: int) -> None:
        await session.let_in(max_payload=100)
        session.inform(max_payload=50)
        await session.carry_on()

    async with scripted(script) as server, linked(server.url) as one:
        await until(lambda: one.payload_limit_bytes == 50)
        with pytest.raises(errors.Rejected):
            one.publish("a", b"x" * 51)


async def test_servers_that_the_cluster_names_are_learned_and_forgotten():
    async def quiet(session: Session, number: int) -> None:
        await session.let_in()
        await session.carry_on()

    async with scripted(quiet) as hidden, scripted(quiet) as gone:

        async def script(session: Session, number: int) -> None:
            places = [hidden.url.removeprefix("nats://"), "nonsense:port", "[::1", "127.0.0.1:0", 5, None]
            await session.let_in(connect_urls=[gone.url.removeprefix("nats://")])
            session.inform(connect_urls=places)
            await session.heard()

        async with scripted(script) as server, linked(server.url) as one:
            one.publish("a", b"")
            await until(lambda: one.connection == 2)
            assert one.server in hidden.url
            assert gone.count == 0


async def test_clients_do_not_come_back_all_at_once():
    arrived = []

    async def script(session: Session, number: int) -> None:
        arrived.append(asyncio.get_running_loop().time())
        await session.let_in()
        if number == 20:
            everybody.set()
        if number <= 20:
            await everybody.wait()
            return
        await session.carry_on()

    everybody = asyncio.Event()
    timing = carrier.Timing(herd_s=0.5, steady_s=0.0)
    async with scripted(script) as server:
        links = [link.Link(nats_access.address(server.url, NatsSettings()), timing=timing) for _ in range(20)]
        for one in links:
            one.open_later()
        await until(lambda: all(one.connection == 2 for one in links))
        for one in links:
            await one.close()
    assert max(arrived[20:]) - min(arrived[20:]) > 0.1
