"""A bench over the payload store in memory, whose time moves only when the suite says so."""

import contextlib
from collections.abc import AsyncGenerator

from penstock.base import clock as clocks
from penstock.spine import payload
from penstock.spine.adapters import payloads_memory
from penstock.spine.testing import payload_bench


class MemoryPayloadBench(payload_bench.PayloadBench):
    """Clients of one `MemoryBuckets` on a manual clock."""

    def __init__(self) -> None:
        self._clock = clocks.ManualClock()
        self._buckets = payloads_memory.MemoryBuckets(clock=self._clock)
        self._clients: list[payloads_memory.MemoryPayloads] = []

    async def connect(self, *, deadline_s: float = 15.0) -> payloads_memory.MemoryPayloads:
        """Another client."""
        client = payloads_memory.MemoryPayloads(
            self._buckets, deadline_s=deadline_s, limit_bytes=payload_bench.LIMIT_BYTES
        )
        self._clients.append(client)
        return client

    async def connect_fenced(self) -> payloads_memory.MemoryPayloads:
        """Another client: nothing in memory is fenced."""
        return await self.connect()

    async def elapse(self, duration_s: float) -> None:
        """Move the clock, and let everybody who waits for it run."""
        await self._clock.advance(duration_s)

    async def interrupt(self) -> None:
        """Disconnect every client."""
        for client in self._clients:
            client.disconnect()

    async def restore(self) -> None:
        """Reconnect every client."""
        for client in self._clients:
            client.reconnect()

    async def chunks(self, reference: payload.Reference) -> list[bytes]:
        """What is held of an object."""
        return self._buckets.kept(reference.bucket, reference.name)

    async def plant(self, reference: payload.Reference, chunks: list[bytes]) -> None:
        """Replace it."""
        self._buckets.objects.pop((reference.bucket, reference.name), None)
        for chunk in chunks:
            self._buckets.store(reference.bucket, reference.name, chunk, lifetime_s=600)

    async def held_bytes(self) -> int:
        """How much the bucket holds."""
        return sum(len(chunk) for of in list(self._buckets.objects) for chunk in self._buckets.kept(*of))

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await client.close()


@contextlib.asynccontextmanager
async def memory_payload_bench() -> AsyncGenerator[MemoryPayloadBench]:
    """A bench of its own for one test."""
    made = MemoryPayloadBench()
    try:
        yield made
    finally:
        await made.close()
