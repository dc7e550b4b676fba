"""A server that is about to end asks its clients to leave: they do, in good time, and lose nothing."""

import asyncio
import signal

import pytest

from penstock.base import errors
from tests import loopback
from tests.integration.spine.plane_stage import WITHIN_S, Session, linked, scripted, served, until


@pytest.fixture
async def pair(server_folder):
    """Two servers of one cluster, which tell their clients of each other."""
    ports = loopback.free_ports(2)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)

    def cluster(number):
        own = f'name: "c", listen: "127.0.0.1:{ports[number]}", routes: [{routes}]'
        return f'server_name: "s{number}"\ncluster {{ {own} }}\n'

    async with served(server_folder / "a", cluster(0)) as first, served(server_folder / "b", cluster(1)) as second:
        async with linked(first.url) as one:
            await until(lambda: len(one._carrier._pool) == 2)
        yield first, second


async def test_a_server_in_lame_duck_mode_is_left_and_nothing_is_lost(pair):
    leaving, staying = pair
    async with linked(leaving.url) as one, linked(staying.url) as other:
        told, heard, held = [], [], []
        one.on_down(lambda number: told.append(("down", number)))
        one.on_up(lambda number: told.append(("up", number)))
        await one.subscribe("numbers", lambda message: heard.append(int(message.body))).established(WITHIN_S)
        await other.subscribe("slow", held.append).established(WITHIN_S)
        # Interest has to travel to the other server first.
        while not held or not heard:
            one.publish("slow", b"")
            other.publish("numbers", b"0")
            await asyncio.sleep(0.01)
        held.clear()
        unanswered = one.call("slow", b"", 30)
        await until(lambda: held and held[-1].reply)
        leaving.send(signal.SIGUSR2)
        sent = 0
        while one.connection != 2:
            other.publish("numbers", b"%d" % sent)
            sent += 1
            await asyncio.sleep(0.001)
        for _ in range(100):
            other.publish("numbers", b"%d" % sent)
            sent += 1
        assert told == [("down", 1), ("up", 2)]
        assert one.server in staying.url
        other.publish(held[-1].reply, b"at last")
        assert (await asyncio.wait_for(unanswered, WITHIN_S)).body == b"at last"
        await until(lambda: sent - 1 in heard)
        await one.barrier(WITHIN_S)
        # Some may have come over both connections.
        assert sorted(set(heard)) == list(range(sent))


async def test_the_only_server_is_stayed_with_until_it_ends(server_folder):
    async with served(server_folder / "a") as server, linked(server.url) as one:
        server.send(signal.SIGUSR2)
        await until(lambda: one._carrier.current is None or one._carrier.current.info.lame_duck)
        assert one.connection == 1
        await one.barrier(WITHIN_S)
        server.kill()
        await server.start()
        await until(lambda: one.connection == 2)


async def test_calls_on_the_connection_that_was_left_fail_when_it_ends():
    async def stay(session: Session, number: int) -> None:
        await session.let_in()
        await session.carry_on()

    async with scripted(stay) as staying:

        async def leave(session: Session, number: int) -> None:
            await session.let_in(connect_urls=[staying.url.removeprefix("nats://")])
            while not (await session.heard()).startswith(b"PUB slow"):
                pass
            session.inform(ldm=True, connect_urls=[staying.url.removeprefix("nats://")])
            while not (await session.heard()).startswith(b"UNSUB"):
                pass

        async with scripted(leave) as leaving, linked(leaving.url) as one:
            one.subscribe("a", print)
            unanswered = one.call("slow", b"", 30)
            with pytest.raises(errors.Unavailable) as lost:
                await asyncio.wait_for(unanswered, WITHIN_S)
            assert lost.value.code == "disconnected"
            assert one.connection == 2
            assert one.server in staying.url


async def test_a_server_that_ends_before_another_was_found_is_an_outage_like_any_other():
    async def leave(session: Session, number: int) -> None:
        await session.let_in(connect_urls=["127.0.0.1:9"])
        if number > 1:
            await session.carry_on()
        session.inform(ldm=True, connect_urls=["127.0.0.1:9"])
        await asyncio.sleep(0.1)

    async with scripted(leave) as leaving, linked(leaving.url) as one:
        await until(lambda: one.connection == 2)
        await one.barrier(WITHIN_S)


async def test_closing_while_a_server_is_being_left_closes_both():
    async def stay(session: Session, number: int) -> None:
        await session.let_in()
        await session.carry_on()

    async with scripted(stay) as staying:
        ended = asyncio.Event()

        async def leave(session: Session, number: int) -> None:
            await session.let_in(connect_urls=[staying.url.removeprefix("nats://")])
            while not (await session.heard()).startswith(b"PUB slow"):
                pass
            session.inform(ldm=True, connect_urls=[staying.url.removeprefix("nats://")])
            try:
                while True:
                    await session.heard()
            finally:
                ended.set()

        async with scripted(leave) as leaving, linked(leaving.url) as one:
            unanswered = one.call("slow", b"", 30)
            await until(lambda: one.connection == 2)
            await asyncio.wait_for(one.close(), 10)
            with pytest.raises(errors.Unavailable) as closed:
                await unanswered
            assert closed.value.code == "spine_closed"
            await asyncio.wait_for(ended.wait(), WITHIN_S)
