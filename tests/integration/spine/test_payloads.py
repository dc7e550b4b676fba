"""What only real servers can show of payloads: a worker's fence, other clients, crashes, orphans, and a cluster."""

import asyncio
import base64
import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import pytest
from nats.aio.client import Client

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import payload_transfer, payload_upload, payloads_nats
from penstock.spine.plane import address
from penstock.spine.plane import headers as wire
from penstock.spine.testing.payload_bench import BUCKET, CHUNK_BYTES, LIMIT_BYTES, TERMS, content, read, refusal
from tests import cluster
from tests.conformance import payload_bench_nats

STREAM = f"OBJ_{BUCKET.name}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[payload_bench_nats.Server]:
    with payload_bench_nats.running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def bench(server: payload_bench_nats.Server) -> AsyncIterator[payload_bench_nats.NatsPayloadBench]:
    async with payload_bench_nats.empty_bench(server) as bench:
        yield bench


_REFUSALS = {"not_permitted", "bucket_away", "no_jetstream", "jetstream", "timeout"}


@pytest.mark.parametrize("user", payload_bench_nats.WORKERS)
async def test_a_worker_can_neither_delete_nor_make_nor_look_elsewhere(bench, user: str) -> None:
    store, worker = await bench.opened(), await bench.connect_as(user, deadline_s=0.2)
    reference = await store.put("parser", "acme", content(10), TERMS)
    other = dataclasses.replace(BUCKET, component="other")
    await store.provide(other)
    elsewhere = await store.put("other", "acme", content(10), TERMS)
    try:
        for work in (
            worker.delete("acme", reference),
            worker.provide(BUCKET),
            worker.put("other", "acme", b"x", TERMS),
            read(worker, "acme", elsewhere),
        ):
            assert await refusal(work) in _REFUSALS
        assert await read(store, "acme", reference) == content(10)
    finally:
        await bench.ask(f"STREAM.DELETE.OBJ_{other.name}")


@pytest.mark.parametrize("user", payload_bench_nats.WORKERS)
@pytest.mark.parametrize("headers", [{"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}], ids=str)
async def test_a_worker_cannot_remove_what_others_have_put(bench, user: str, headers: dict[str, str]) -> None:
    store = await bench.opened()
    reference = await store.put("parser", "acme", content(10), TERMS)
    worker = await bench.link_as(user)
    for subject in (payload_upload.chunk_subject, payload_upload.description_subject):
        block = wire.block({**headers, "Nats-TTL": "60s"})
        answer = await worker.call(subject(reference.bucket, reference.name), b"x", 5, headers_block=block)
        assert b'"error"' in answer.body
    assert await read(store, "acme", reference) == content(10)


async def test_a_worker_with_an_account_of_its_own_cannot_send_answers_where_it_may_not_write(bench) -> None:
    store = await bench.opened()
    reference = await store.put("parser", "acme", content(10), TERMS)
    client = Client()
    user = payload_bench_nats.WORKERS[1]
    await client.connect(bench.server.address(user).servers[0], user=user, password=user)
    question = json.dumps({"seq": 999_999}).encode()
    await client.publish(f"$JS.API.DIRECT.GET.{STREAM}", question, reply=f"$JS.API.STREAM.DELETE.{STREAM}")
    await client.flush()
    await client.close()
    assert await read(store, "acme", reference) == content(10)


async def test_other_clients_see_an_object_of_sealed_bytes(bench) -> None:
    store = await bench.opened()
    whole = content(3 * CHUNK_BYTES + 5)
    reference = await store.put("parser", "acme", whole, TERMS)
    client = Client()
    await client.connect(bench.server.address("platform").servers[0], user="platform", password="platform")
    objects = await client.jetstream().object_store(BUCKET.name)
    (info,) = await objects.list()
    assert (info.name, info.chunks, info.deleted) == (reference.name, 4, False)
    sealed = (await objects.get(reference.name)).data
    assert sealed is not None
    assert sealed == b"".join(await bench.chunks(reference))
    assert info.digest == f"SHA-256={base64.urlsafe_b64encode(hashlib.sha256(sealed).digest()).decode()}"
    await client.close()
    assert await read(store, "acme", reference) == whole


PUTTER = """
import asyncio, sys
from penstock.base import telemetry
from penstock.spine import payload
from penstock.spine.adapters import payloads_nats

async def content():
    for _ in range(5):
        yield bytes(128 << 10)
    print("on its way", flush=True)
    await asyncio.Event().wait()

async def main():
    store = await payloads_nats.NatsPayloads.connect(sys.argv[1], wait_s=10)
    await store.put("parser", "acme", content(), payload.Terms(2))

telemetry.configure_logs(level="error")
asyncio.run(main())
"""


async def test_what_a_killed_process_left_is_gone_in_time_and_putting_again_is_whole(bench) -> None:
    store = await bench.opened()
    url = bench.server.address("platform").servers[0].replace("://", "://platform:platform@")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUTTER, url, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"on its way\n"
        await bench.until(lambda: _holds(bench, 2 * CHUNK_BYTES))
    finally:
        process.kill()
        await process.wait()
    reference = await store.put("parser", "acme", bytes(6 * CHUNK_BYTES), TERMS)
    assert await read(store, "acme", reference) == bytes(6 * CHUNK_BYTES)
    await store.delete("acme", reference)

    async def empty() -> bool:
        return await bench.held_bytes() == 0

    await bench.until(empty)


async def _holds(bench, size_bytes: int) -> bool:
    return await bench.held_bytes() >= size_bytes


async def test_chunks_and_descriptions_without_each_other_end_alike(bench) -> None:
    store = await bench.opened()
    for subject in (payload_upload.chunk_subject, payload_upload.description_subject):
        reference = await store.put("parser", "acme", content(2 * CHUNK_BYTES), payload.Terms(2))
        await bench.ask(f"STREAM.PURGE.{STREAM}", {"filter": subject(reference.bucket, reference.name)})
    assert await bench.held_bytes() > 0

    async def empty() -> bool:
        return await bench.held_bytes() == 0

    await bench.until(empty)


async def test_no_more_than_a_window_is_read_ahead_of_a_server_that_hangs(bench) -> None:
    store, asked = await bench.opened(), list[int]()

    async def source() -> AsyncGenerator[bytes]:
        for number in range(LIMIT_BYTES // CHUNK_BYTES):
            asked.append(number)
            if number == 2:
                bench.server.pause()
            yield bytes(CHUNK_BYTES)

    putting = asyncio.create_task(store.put("parser", "acme", source(), TERMS))
    try:
        await bench.elapse(0.4)
        assert len(asked) <= 2 + payload_upload.WINDOW + 2
        assert not putting.done()
    finally:
        bench.server.resume()
    assert (await putting).size_bytes == LIMIT_BYTES


async def test_a_bucket_that_keeps_no_lifetimes_is_not_used(bench) -> None:
    store = await bench.connect()
    config = payloads_nats.bucket_config(BUCKET)
    del config["allow_msg_ttl"]
    await bench.ask(f"STREAM.CREATE.{STREAM}", config)
    with pytest.raises(errors.Rejected) as refused:
        await store.provide(BUCKET)
    assert refused.value.code == "bucket_differs"
    assert "allow_msg_ttl" in refused.value.detail


async def test_a_payload_of_three_copies_survives_its_leader(nats_cluster: cluster.Cluster) -> None:
    access = address.Access(tls=nats_cluster.trust())
    login = {"user": nats_cluster.user, "password": nats_cluster.password}
    there = address.address(nats_cluster.urls, access=access, **login)
    store = await payloads_nats.NatsPayloads.connect(there, wait_s=10, deadline_s=30)
    policy = dataclasses.replace(BUCKET, max_bytes=256 << 20, replicas=3)
    whole = content(64 * CHUNK_BYTES + 1)
    try:
        await store.provide(policy)
        leader = await nats_cluster.leader(STREAM)

        async def source() -> AsyncGenerator[bytes]:
            for place in range(0, len(whole), CHUNK_BYTES):
                if place == 20 * CHUNK_BYTES:
                    await nats_cluster.step_down(STREAM)
                if place == 40 * CHUNK_BYTES:
                    leader.kill()
                yield whole[place : place + CHUNK_BYTES]

        reference = await store.put("parser", "acme", source(), TERMS)
        assert await read(store, "acme", reference) == whole
        await nats_cluster.settled()
        small = [await store.put("parser", "acme", content(number), TERMS) for number in range(20)]
        for number, each in enumerate(small):
            assert await read(store, "acme", each) == content(number), "any copy may answer"
    finally:
        await store.close()
        await nats_cluster.settled()
        await nats_cluster.delete_streams()


def test_a_chunk_fits_what_a_server_takes_by_default() -> None:
    assert payload_transfer.CHUNK_BYTES == CHUNK_BYTES
    assert CHUNK_BYTES + 1024 < 1 << 20
