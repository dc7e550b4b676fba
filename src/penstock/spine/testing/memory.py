"""A bench over the in-memory transport, whose time moves only when the suite says so."""

import contextlib
from collections.abc import AsyncGenerator

from penstock.base import clock as clocks
from penstock.spine import ports
from penstock.spine.adapters import spine_memory
from penstock.spine.testing import bench


class MemoryBench(bench.Bench):
    """Clients of one `MemoryServer` on a manual clock."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = clocks.ManualClock()
        self._server = spine_memory.MemoryServer(clock=self._clock)
        self._clients: list[spine_memory.MemorySpine] = []
        self._up = True

    async def connect(self, *, deadline_s: float = 15.0) -> spine_memory.MemorySpine:
        """Another client."""
        client = spine_memory.MemorySpine(self._server, deadline_s=deadline_s)
        self._clients.append(client)
        return client

    async def connect_apart(self) -> spine_memory.MemorySpine:
        """Another client: each has a line of its own."""
        return await self.connect()

    async def cut(self, client: ports.Spine) -> None:
        """Disconnect it."""
        next(made for made in self._clients if made is client).disconnect()

    async def mend(self, client: ports.Spine) -> None:
        """Reconnect it."""
        next(made for made in self._clients if made is client).reconnect()

    async def delete_stream(self, name: str) -> None:
        """Forget it."""
        self._server.delete_stream(name)

    async def elapse(self, duration_s: float) -> None:
        """Move the manual clock."""
        await self._clock.advance(duration_s)

    async def interrupt(self) -> None:
        """Disconnect every client."""
        for client in self._clients:
            client.disconnect()

    async def restore(self) -> None:
        """Reconnect every client."""
        for client in self._clients:
            client.reconnect()

    async def close(self) -> None:
        """Close every client."""
        await super().close()
        for client in self._clients:
            await client.close()
        self._server.stop()


@contextlib.asynccontextmanager
async def memory_bench() -> AsyncGenerator[MemoryBench]:
    """A bench of its own for one test."""
    made = MemoryBench()
    try:
        yield made
    finally:
        await made.close()
