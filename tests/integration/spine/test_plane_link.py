"""The link against a real nats-server: messages, answers, outages, and servers that come and go."""

import asyncio
import dataclasses
import signal

import pytest

from penstock.base import errors
from penstock.spine.plane import address, connection, headers, ledger, link
from penstock.spine.plane.message import Message
from tests.integration.spine.plane_stage import QUICK, WITHIN_S, linked, refused, served, until


@pytest.fixture
async def server(server_folder):
    async with served(server_folder / "a", 'authorization { user: "u", password: "p@:/" }') as server:
        server.access = server.url.replace("://", "://u:p%40%3A%2F@")
        yield server


async def echo(carrier: link.Link, pattern: str = "ask.>", queue: str = "") -> None:
    def answer(asked: Message) -> None:
        if asked.reply:
            carrier.publish(asked.reply, asked.body, headers_block=asked.block)

    await carrier.subscribe(pattern, answer, queue=queue).established(WITHIN_S)


async def test_a_message_arrives_as_it_was_sent(server):
    async with linked(server.access) as one, linked(server.access) as other:
        heard = []
        await other.subscribe("a.*", heard.append).established(WITHIN_S)
        one.publish("a.b", b"\x00\r\n\xff", reply="c.d", headers_block=headers.block({"X-Case": "Kept", "ü": "é"}))
        one.publish("a.ü", b"")
        await until(lambda: len(heard) == 2)
        assert (heard[0].subject, heard[0].reply, heard[0].body) == ("a.b", "c.d", b"\x00\r\n\xff")
        assert heard[0].headers == {"X-Case": "Kept", "ü": "é"}
        assert (heard[1].subject, heard[1].reply, heard[1].body, heard[1].headers) == ("a.ü", "", b"", {})


async def test_many_calls_each_get_their_own_answer(server):
    async with linked(server.access) as one, linked(server.access) as other:
        await echo(other)
        calls = [one.call(f"ask.{n}", str(n).encode(), 10) for n in range(2000)]
        answers = await asyncio.gather(*calls)
        assert [int(answer.body) for answer in answers] == list(range(2000))
        assert one.connection == other.connection == 1


async def test_members_of_a_queue_share(server):
    async with linked(server.access) as one, linked(server.access) as other:
        shares = [[], []]
        await one.subscribe("work", shares[0].append, queue="q").established(WITHIN_S)
        await other.subscribe("work", shares[1].append, queue="q").established(WITHIN_S)
        for _ in range(200):
            one.publish("work", b"")
        await until(lambda: sum(map(len, shares)) == 200)
        assert all(shares)


async def test_nobody_listening_is_said_at_once_and_silence_in_time(server):
    async with linked(server.access) as one:
        assert (await one.call("nobody", b"", 10)).status == "503"
        one.subscribe("silence", lambda message: None)
        with pytest.raises(errors.Unavailable) as late:
            await one.call("silence", b"", 0.05)
        assert late.value.code == "timeout"


async def test_a_stopped_subscription_still_receives_what_was_on_its_way(server):
    async with linked(server.access) as one:
        heard, witness = [], []
        subscription = one.subscribe("a", heard.append)
        one.subscribe("a", witness.append)
        one.publish("a", b"1")
        subscription.stop_delivery()
        one.publish("a", b"2")
        await one.barrier(WITHIN_S)
        assert [message.body for message in heard] == [b"1"]
        subscription.close()
        subscription.close()
        one.publish("a", b"3")
        await one.barrier(WITHIN_S)
        assert len(heard) == 1
        assert len(witness) == 3


async def test_a_barrier_comes_after_all_that_was_sent_before(server):
    async with linked(server.access) as one:
        heard = []
        one.subscribe("a", heard.append)
        for n in range(5000):
            one.publish("a", b"%d" % n)
        await one.barrier(WITHIN_S)
        assert [int(message.body) for message in heard] == list(range(5000))


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0\r\n", "a\tb", "a\x00b", "a\u2028b"])
async def test_what_would_break_the_line_is_not_written(server, subject):
    async with linked(server.access) as one:
        for attempt in (
            lambda: one.publish(subject, b""),
            lambda: one.call(subject, b"", 1),
            lambda: one.subscribe(subject, print),
            lambda: (subject and one.publish("a", b"", reply=subject)) or one.publish(subject, b""),
        ):
            with pytest.raises(errors.Rejected) as wrong:
                attempt()
            assert wrong.value.code == "bad_subject"
        await one.barrier(WITHIN_S)
        assert one.connection == 1


async def test_a_message_over_the_servers_limit_is_rejected_and_the_connection_stays(server_folder):
    async with served(server_folder / "a", "max_payload: 2048") as server, linked(server.url) as one:
        assert one.payload_limit_bytes == 2048
        await echo(one)
        block = headers.block({"A": "x" * 100})
        assert (await one.call("ask.a", b"x" * (2048 - len(block)), 5, headers_block=block)).status == ""
        with pytest.raises(errors.Rejected) as large:
            one.call("ask.a", b"x" * (2049 - len(block)), 5, headers_block=block)
        assert large.value.code == "too_large"
        assert one.connection == 1


async def test_a_server_that_dies_fails_what_waits_and_what_is_kept_goes_first_afterwards(server):
    async with linked(server.access) as one:
        told = []
        one.on_up(lambda number: told.append(("up", number)))
        one.on_down(lambda number: told.append(("down", number)))
        heard = []
        one.subscribe("a", heard.append)
        one.subscribe("silence", lambda message: None)
        waiting = one.call("silence", b"", 30)
        server.kill()
        with pytest.raises(errors.Unavailable) as lost:
            await asyncio.wait_for(waiting, WITHIN_S)
        assert lost.value.code == "disconnected"
        assert (one.connection, one.connected, told) == (0, False, [("down", 1)])
        for attempt in (lambda: one.publish("a", b""), lambda: one.call("a", b"", 5)):
            with pytest.raises(errors.Unavailable) as away:
                attempt()
            assert away.value.code == "disconnected"
        one.publish("a", b"kept 1", keep=True)
        one.publish("a", b"kept 2", keep=True, headers_block=headers.block({"A": "b"}))
        one.on_up(lambda number: one.publish("a", b"then"))
        await server.start()
        await one.wait_connected(WITHIN_S)
        await one.barrier(WITHIN_S)
        assert [message.body for message in heard] == [b"kept 1", b"kept 2", b"then"]
        assert (one.connection, told) == (2, [("down", 1), ("up", 2)])


async def test_what_is_kept_in_an_outage_is_bounded(server, monkeypatch):
    monkeypatch.setattr(ledger, "KEPT_LIMIT_BYTES", 1000)
    async with linked(server.access) as one:
        server.kill()
        await until(lambda: not one.connected)
        one.publish("a", b"x" * 900, keep=True)
        with pytest.raises(errors.Unavailable) as full:
            one.publish("a", b"x" * 100, keep=True)
        assert full.value.code == "congested"


async def test_subscriptions_made_and_ended_in_an_outage_hold_after_it(server):
    async with linked(server.access) as one:
        heard = []
        ended = one.subscribe("a", lambda message: heard.append("ended"))
        server.kill()
        await until(lambda: not one.connected)
        one.subscribe("a", lambda message: heard.append("made"))
        ended.close()
        await server.start()
        await one.wait_connected(WITHIN_S)
        one.publish("a", b"")
        await one.barrier(WITHIN_S)
        assert heard == ["made"]


async def test_a_server_killed_while_much_is_written_is_survived_many_times(server):
    async with linked(server.access) as one:
        await echo(one)
        for number in range(1, 5):
            assert one.connection == number
            calls = [one.call("ask.a", b"x" * 20_000, 10) for _ in range(300)]
            await calls[0]
            server.kill()
            ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), WITHIN_S)
            assert {type(end) for end in ends} <= {Message, errors.Unavailable}
            await server.start()
            await one.wait_connected(WITHIN_S)
        assert (await one.call("ask.a", b"still", 10)).body == b"still"


async def test_a_server_that_stops_answering_is_left_and_writers_are_told_to_wait(server):
    async with linked(server.access, timing=dataclasses.replace(QUICK, ping_s=0.5)) as one:

        async def write_without_end() -> None:
            while True:
                one.publish("a", b"x" * 500_000)
                if not one.has_room:
                    await one.room(0.05)

        server.stand_still()
        try:
            waiting = one.call("ask.a", b"", 60)
            with pytest.raises(errors.Unavailable) as full:
                await asyncio.wait_for(write_without_end(), WITHIN_S)
            assert full.value.code == "congested"
            with pytest.raises(errors.Unavailable) as lost:
                await asyncio.wait_for(waiting, WITHIN_S)
            assert lost.value.code == "disconnected"
        finally:
            server.send(signal.SIGCONT)
        await one.wait_connected(WITHIN_S)
        assert one.has_room
        await one.barrier(WITHIN_S)


async def test_unsent_bytes_are_bounded_for_those_who_do_not_wait(server, monkeypatch):
    monkeypatch.setattr(link, "UNSENT_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(connection, "ROOM_BYTES", 50_000)
    async with linked(server.access) as one:
        for _ in range(99):
            one.publish("a", b"x" * 1000)
        with pytest.raises(errors.Unavailable) as full:
            one.publish("a", b"x" * 1000)
        assert full.value.code == "congested"
        await one.room(WITHIN_S)
        one.publish("a", b"")


async def test_a_client_that_reads_too_slowly_is_cut_off_by_the_server_and_comes_back(server_folder):
    async with (
        served(server_folder / "a", 'max_pending: 1MB\nwrite_deadline: "200ms"') as server,
        linked(server.url) as slow,
        linked(server.url) as fast,
    ):
        heard = []
        await slow.subscribe("a", heard.append).established(WITHIN_S)
        slow._carrier.current._transport.pause_reading()
        for _ in range(60):
            fast.publish("a", b"x" * 500_000)
            await fast.room(WITHIN_S)
        await fast.barrier(WITHIN_S)
        # It does not read that it was cut off: its own PINGs, unanswered, find out.
        await until(lambda: slow.connection == 2)
        before = len(heard)
        fast.publish("a", b"then")
        await until(lambda: len(heard) > before)
        assert heard[-1].body == b"then"
        assert fast.connection == 1


async def test_another_server_of_the_list_is_taken_when_one_is_gone(server_folder):
    async with (
        served(server_folder / "a") as first,
        served(server_folder / "b") as second,
        linked(f"{first.url},{second.url},nats://127.0.0.1:9") as one,
    ):
        for number in (2, 3, 4):
            current, other = (first, second) if one.server in first.url else (second, first)
            current.kill()
            await until(lambda number=number: one.connection == number)
            assert one.server in other.url
            await one.barrier(WITHIN_S)
            await current.start()


async def test_closing_writes_what_is_left_and_fails_what_waits(server):
    async with linked(server.access) as one, linked(server.access) as other:
        heard = []
        await other.subscribe("a", heard.append).established(WITHIN_S)
        one.subscribe("silence", lambda message: None)
        waiting = one.call("silence", b"", 30)
        for n in range(100):
            one.publish("a", b"%d" % n + b"x" * 10_000)
        await asyncio.gather(one.close(), one.close())
        with pytest.raises(errors.Unavailable) as closed:
            await waiting
        assert closed.value.code == "spine_closed"
        await until(lambda: len(heard) == 100)
        assert (one.connection, one.connected, one.closed) == (0, False, True)
        for attempt in (lambda: one.publish("a", b"", keep=True), lambda: one.call("a", b"", 1)):
            with pytest.raises(errors.Unavailable) as after:
                attempt()
            assert after.value.code == "spine_closed"
        for wait in (one.wait_connected, one.room, one.barrier):
            with pytest.raises(errors.Unavailable) as after:
                await wait(5)
            assert after.value.code == "spine_closed"


async def test_closing_in_an_outage_returns(server):
    async with linked(server.access) as one:
        waiting = asyncio.create_task(one.wait_connected(30))
        server.kill()
        await until(lambda: not one.connected)
        waiting = asyncio.create_task(one.wait_connected(30))
        await asyncio.sleep(0)
        await asyncio.wait_for(one.close(), WITHIN_S)
        with pytest.raises(errors.Unavailable) as closed:
            await waiting
        assert closed.value.code == "spine_closed"


async def test_a_server_that_is_not_there_is_unavailable_when_the_wait_is_over():
    failed = await refused("nats://u:hush@127.0.0.1:9", wait_s=0.3)
    assert isinstance(failed, errors.Unavailable)
    assert failed.code == "nats_unreachable"
    assert "hush" not in str(failed)


async def test_the_first_connection_waits_for_the_server(server):
    server.kill()
    waiting = link.Link(address.address(server.access), timing=QUICK)
    waiting.open_later()
    opening = asyncio.create_task(_opened(server.access))
    await asyncio.sleep(0.1)
    assert not waiting.connected
    assert not opening.done()
    await server.start()
    await waiting.wait_connected(WITHIN_S)
    await waiting.close()
    await asyncio.wait_for(opening, WITHIN_S)


async def _opened(urls):
    async with linked(urls) as one:
        await one.barrier(WITHIN_S)
