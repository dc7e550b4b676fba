"""How fast payloads go into the store and come out, whole and verified; beside nats-py's object store.

Ours seals (AES-256-GCM) and hashes plain and sealed bytes; nats-py's stores what it is given and hashes it once. Both
on a fresh nats-server of the same settings, one payload after the other, the bytes made before the clock starts.
"""

import contextlib
import hashlib
import io
from collections.abc import AsyncGenerator, Awaitable, Callable

import nats
from nats.js.api import ObjectStoreConfig
from nats.js.object_store import ObjectStore

from bench import frame, spine_bus
from penstock.servers import testing as server_testing
from penstock.spine import payload
from penstock.spine.adapters import payloads_nats
from penstock.spine.plane import address

MIB = 1 << 20
LARGE_BYTES, LARGE = 100 * MIB, 1
SMALL_BYTES, SMALL = 64 << 10, 300
BUCKET = payload.BucketPolicy("bench", max_bytes=4 << 30)
TERMS = payload.Terms(lifetime_s=3600)


class Unkept(Exception):
    """What came out is not what went in, so the figure is worth nothing."""


def said(size_bytes: int) -> bytes:
    """So many bytes that do not repeat."""
    return hashlib.shake_128(b"payload").digest(size_bytes)


async def _rounds(
    put: Callable[[bytes, int], Awaitable[object]], get: Callable[[object], Awaitable[bytes]]
) -> tuple[float, ...]:
    """MiB/s, and CPU milliseconds of this process per MiB, of putting and of getting; large payloads, then small."""
    figures: list[float] = []
    for size_bytes, count in ((LARGE_BYTES, LARGE), (SMALL_BYTES, SMALL)):
        whole, total_mib = said(size_bytes), size_bytes * count / MIB
        meter = spine_bus.Meter()
        kept = [await put(whole, number) for number in range(count)]
        put_rate, put_cpu_us = meter.read(1)
        meter = spine_bus.Meter()
        for each in kept:
            if await get(each) != whole:
                raise Unkept(f"{size_bytes} bytes came back changed")
        get_rate, get_cpu_us = meter.read(1)
        figures += [
            total_mib * put_rate,
            total_mib * get_rate,
            put_cpu_us / 1e3 / total_mib,
            get_cpu_us / 1e3 / total_mib,
        ]
    return tuple(figures)


async def ours() -> tuple[float, ...]:
    """Through the port, sealed."""
    async with server_testing.running_nats() as endpoint:
        store = await payloads_nats.NatsPayloads.connect(
            address.address(endpoint.url, user=endpoint.user, password=endpoint.password), wait_s=10
        )
        await store.provide(BUCKET)

        async def put(whole: bytes, _number: int) -> payload.Reference:
            return await store.put(BUCKET.component, "bench", whole, TERMS)

        async def get(reference: payload.Reference) -> bytes:
            return b"".join([piece async for piece in store.get("bench", reference)])

        try:
            return await _rounds(put, get)  # type: ignore[arg-type]
        finally:
            await store.close()


@contextlib.asynccontextmanager
async def _object_store() -> AsyncGenerator[ObjectStore]:
    async with server_testing.running_nats() as endpoint:
        client = await nats.connect(endpoint.url, user=endpoint.user, password=endpoint.password)
        try:
            yield await client.jetstream().create_object_store(
                "bench", config=ObjectStoreConfig(bucket="bench", max_bytes=BUCKET.max_bytes)
            )
        finally:
            await client.close()


async def nats_py() -> tuple[float, ...]:
    """Through nats-py's ObjectStore, in the clear."""
    async with _object_store() as store:

        async def put(whole: bytes, number: int) -> str:
            return (await store.put(f"{len(whole)}-{number}", whole)).name

        async def get(name: object) -> bytes:
            if str(name).startswith(f"{SMALL_BYTES}-"):
                return (await store.get(str(name))).data or b""
            # Without a file, nats-py copies all that it has for each chunk: minutes for 100 MiB.
            file = io.BytesIO()
            await store.get(str(name), writeinto=file)
            return file.getvalue()

        return await _rounds(put, get)


BENCHMARK = frame.Benchmark(
    name="payload_put",
    unit="MiB/s",
    better="higher",
    ours=ours,
    baseline=nats_py,
    baseline_name="nats-py ObjectStore, not encrypted",
    also=(
        frame.Figure("payload_get", "MiB/s", "higher"),
        frame.Figure("payload_put_cpu", "CPU ms/MiB", "lower"),
        frame.Figure("payload_get_cpu", "CPU ms/MiB", "lower"),
        frame.Figure("payload_put_small", "MiB/s", "higher"),
        frame.Figure("payload_get_small", "MiB/s", "higher"),
        frame.Figure("payload_put_small_cpu", "CPU ms/MiB", "lower"),
        frame.Figure("payload_get_small_cpu", "CPU ms/MiB", "lower"),
    ),
)
"""100 MiB at once, then 300 payloads of 64 KiB; ours sealed, the baseline in the clear."""
