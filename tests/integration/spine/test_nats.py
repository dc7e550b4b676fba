"""What only a real nats-server can show: refused credentials, hanging sockets, deleted consumers, leftovers."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from nats.aio.client import Client

from penstock.base import errors
from penstock.spine import consumer, ports, provision
from penstock.spine.adapters import nats_link, spine_nats
from penstock.spine.testing import bench as benches
from tests import standstill
from tests.conformance import nats_bench


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nats_bench.Server]:
    with nats_bench.running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def bench(server: nats_bench.Server) -> AsyncIterator[nats_bench.NatsBench]:
    async with nats_bench.empty_bench(server) as bench:
        yield bench


@contextlib.asynccontextmanager
async def administrator(server: nats_bench.Server) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(server.url, user="bench", password=nats_bench.PASSWORD)
    yield client
    await client.close()


async def consumers(server: nats_bench.Server, name: str) -> list[str]:
    async with administrator(server) as client:
        return json.loads((await client.request(f"$JS.API.CONSUMER.NAMES.{name}", timeout=5)).data)["consumers"] or []


async def test_wrong_credentials_are_rejected_soon_and_shown_to_nobody(server: nats_bench.Server) -> None:
    begun = time.monotonic()
    with structlog.testing.capture_logs() as lines, pytest.raises(errors.Rejected) as refused:
        await spine_nats.NatsSpine.connect(server.url, user="bench", password="a-wrong-secret")
    assert refused.value.code == "nats_auth"
    assert time.monotonic() - begun < 10
    with structlog.testing.capture_logs() as more, pytest.raises(errors.Rejected) as refused_too:
        await spine_nats.NatsSpine.connect(server.url.replace("://", "://bench:a-wrong-secret@"))
    said = f"{lines} {more} {refused.value!s} {refused_too.value!s}"
    assert refused_too.value.code == "nats_auth"
    assert "a-wrong-secret" not in said
    assert server.url in said


async def test_credentials_in_the_url_are_percent_decoded(server: nats_bench.Server) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in nats_bench.PASSWORD.encode())
    spine = await spine_nats.NatsSpine.connect(server.url.replace("://", f"://bench:{encoded}@"), wait_s=20)
    assert await spine.describe_stream("NOWHERE") is None
    await spine.close()


@pytest.mark.parametrize("url", ["", "http://localhost", "nats://", "nats://host:port", "nats://u:hush@h:99999", "://"])
async def test_what_is_no_address_is_rejected_without_repeating_it(url: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        await spine_nats.NatsSpine.connect(url, wait_s=1)
    assert refused.value.code == "nats_url"
    assert "hush" not in str(refused.value)


async def test_a_server_that_is_not_there_is_unavailable_when_the_wait_is_over() -> None:
    with pytest.raises(errors.Unavailable) as failed:
        await spine_nats.NatsSpine.connect("nats://127.0.0.1:9", user="u", password="hush", wait_s=0.5)
    assert failed.value.code == "nats_unreachable"


async def test_the_first_connection_waits_for_the_server(server: nats_bench.Server) -> None:
    server.kill()
    connecting = asyncio.create_task(
        spine_nats.NatsSpine.connect(server.url, user="bench", password=nats_bench.PASSWORD)
    )
    background = spine_nats.NatsSpine.connecting(
        server.url.replace("://", f"://bench:{nats_bench.PASSWORD}@"), deadline_s=10
    )
    await asyncio.sleep(0.3)
    assert not connecting.done()
    assert not background.connected
    server.start()
    spine = await asyncio.wait_for(connecting, 20)
    assert spine.connected
    assert await background.describe_stream("NOWHERE") is None
    await spine.close()
    await background.close()


async def test_a_server_that_stops_answering_loses_nothing(
    bench: nats_bench.NatsBench, server: nats_bench.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_link, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(nats_link, "WATCH_S", 0.2)
    # What the server hands to the connection that is given up comes again when its lease is over.
    spine, policy = await bench.letters(ack_wait_s=1.0)
    inbox = benches.Inbox()
    await spine.consume(policy, inbox, window=50)
    await spine.publish(benches.letter(0))
    standstill.bring_about(server.pid)
    try:
        # More than fits the socket's buffers: nats-py then waits for it to be read while it closes the socket.
        publishing = [bench.start(spine.publish(benches.letter(n, body=b"x" * 800_000))) for n in range(1, 9)]
        await bench.until(lambda: not spine.connected)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await bench.until(lambda: all(task.done() for task in publishing))
    assert sorted(task.result().sequence for task in publishing) == list(range(2, 10))
    await bench.until(lambda: len({delivery.sequence for delivery in inbox.deliveries}) == 9)
    assert spine.connected


async def test_a_connection_that_the_server_closes_with_an_error_is_made_anew(bench: nats_bench.NatsBench) -> None:
    spine, policy = await bench.letters()
    inbox = benches.Inbox()
    await spine.consume(policy, inbox, window=10)
    broken, number = spine._control.client, spine.connection
    broken._transport.write(b"NONSENSE\r\n")
    plane = spine._plane._carrier.current
    assert plane is not None
    plane.write((b"NONSENSE\r\n",), 10)
    await bench.until(lambda: broken.is_closed)
    await bench.until(lambda: spine.connection > number)
    await bench.until(lambda: spine.connected)
    await spine.publish(benches.letter(1))
    await bench.until(lambda: len(inbox) == 1)
    assert spine._control.client is not broken


async def test_a_durable_that_is_deleted_is_made_again_and_goes_on(
    bench: nats_bench.NatsBench, server: nats_bench.Server
) -> None:
    spine, _ = await bench.letters(None)
    await benches.write(spine, [1, 2])
    policy = consumer.ConsumerPolicy("late", benches.STREAM.name, "tenant.*.letters.>", deliver_new=True)
    await provision.durable(spine, policy)
    inbox = benches.Inbox()
    await spine.consume(policy, inbox, window=10)
    await benches.write(spine, [3])
    await bench.until(lambda: len(inbox) == 1)
    await inbox.ack_all()
    async with administrator(server) as client:
        await client.request(f"$JS.API.CONSUMER.DELETE.{benches.STREAM.name}.late", timeout=5)
    await benches.write(spine, [4, 5])
    await bench.until(lambda: 5 in inbox.numbers)
    # The last one that was seen may come twice; what was there before the durable does not come at all.
    assert sorted(set(inbox.numbers)) == [3, 4, 5]
    assert len(inbox) <= 4
    assert inbox.deliveries[-1].session > inbox.deliveries[0].session


async def test_a_stream_that_is_lost_and_made_again_is_consumed_from_its_start(
    bench: nats_bench.NatsBench, server: nats_bench.Server
) -> None:
    spine, _ = await bench.letters(None)
    policy = consumer.ConsumerPolicy("late", benches.STREAM.name, "tenant.*.letters.>", deliver_new=True)
    await provision.durable(spine, policy)
    inbox = benches.Inbox()

    def receive(delivery: ports.Delivery) -> None:
        inbox(delivery)
        bench.start(delivery.ack())

    await spine.consume(policy, receive, window=10)
    await benches.write(spine, range(5))
    await bench.until(lambda: len(inbox) == 5)
    async with administrator(server) as client:
        await client.request(f"$JS.API.STREAM.DELETE.{benches.STREAM.name}", timeout=5)
    await provision.streams(spine, [benches.STREAM])
    # nats-server 2.15 may find the old messages again when a stream is made anew right after it was deleted.
    await benches.write(spine, [10, 11])
    await bench.until(lambda: {10, 11} <= set(inbox.numbers))
    assert set(inbox.numbers) == {0, 1, 2, 3, 4, 10, 11}


async def test_browsing_leaves_no_consumer_behind_and_touches_no_other(
    bench: nats_bench.NatsBench, server: nats_bench.Server
) -> None:
    spine, policy = await bench.letters()
    await benches.write(spine, [1])
    foreign = {"name": "somebodys_ephemeral", "ack_policy": "none", "inactive_threshold": 60_000_000_000}
    async with administrator(server) as client:
        request = json.dumps({"stream_name": benches.STREAM.name, "config": foreign}).encode()
        await client.request(f"$JS.API.CONSUMER.CREATE.{benches.STREAM.name}.somebodys_ephemeral", request, timeout=5)
    async with contextlib.aclosing(spine.browse(benches.STREAM.name, ">", after=0)) as entries:
        await anext(entries)
        assert len(await consumers(server, benches.STREAM.name)) == 3
    assert sorted(await consumers(server, benches.STREAM.name)) == [policy.name, "somebodys_ephemeral"]
    table = await spine.key_value("settings")
    await table.put("a", b"1")
    assert await table.keys() == ["a"]
    assert await consumers(server, "KV_settings") == []


async def test_a_publish_refused_by_a_full_disk_limit_says_so(bench: nats_bench.NatsBench) -> None:
    spine = await bench.connect()
    huge = dataclasses.replace(benches.STREAM, max_bytes=1 << 60)
    with pytest.raises(errors.PenstockError) as refused:
        await spine.create_stream(huge)
    assert refused.value.code == "storage_full"


async def test_many_clients_of_one_process_do_not_hear_each_others_answers(bench: nats_bench.NatsBench) -> None:
    clients = [await bench.connect() for _ in range(5)]
    await provision.streams(clients[0], [benches.STREAM])
    published: list[ports.Published] = await asyncio.gather(
        *(client.publish(benches.letter(number)) for number, client in enumerate(clients * 20))
    )
    assert sorted(p.sequence for p in published) == list(range(1, 101))
