"""A bench over three clustered nats-servers: every stream has three copies, an outage cuts the lines to all nodes."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

from penstock.spine import ports, stream
from penstock.spine.adapters import spine_nats
from penstock.spine.testing import bench as benches
from tests import cluster
from tests.conformance import nats_bench


class ThreefoldSpine(spine_nats.NatsSpine):
    """Makes three copies where a policy asks for one, and says one where there are three.

    The suite's policies are those of one server, and it compares what it asked for with what it got. Where it asks
    for more copies than there are servers, so does this.
    """

    async def describe_stream(self, name: str) -> stream.StreamPolicy | None:
        found = await super().describe_stream(name)
        return dataclasses.replace(found, replicas=1) if found and found.replicas == 3 else found

    async def create_stream(self, policy: stream.StreamPolicy) -> None:
        await super().create_stream(_threefold(policy))

    async def update_stream(self, policy: stream.StreamPolicy) -> None:
        await super().update_stream(_threefold(policy))


def _threefold(policy: stream.StreamPolicy) -> stream.StreamPolicy:
    return dataclasses.replace(policy, replicas=3 if policy.replicas == 1 else 5)


class Lines:
    """One line to each node; a client that knows nothing else is cut off from the whole cluster with them."""

    def __init__(self, held: cluster.Cluster) -> None:
        self._scheme = "tls" if held.tls else "nats"
        self._lines = [nats_bench.Line(node.ports["client"]) for node in held.nodes]

    @property
    def urls(self) -> str:
        return ",".join(f"{self._scheme}://{cluster.HOST}:{line.port}" for line in self._lines)

    async def open(self) -> None:
        for line in self._lines:
            await line.open()

    async def cut(self) -> None:
        for line in self._lines:
            await line.cut()


class ClusterBench(benches.Bench):
    gives_back_at_once = False

    def __init__(self, held: cluster.Cluster, lines: Lines) -> None:
        super().__init__()
        self._cluster, self._lines = held, lines
        self._clients: list[ThreefoldSpine] = []
        self._apart: dict[ports.Spine, Lines] = {}

    async def connect(self, *, deadline_s: float = 15.0) -> ThreefoldSpine:
        return await self._connect(self._lines, deadline_s)

    async def _connect(self, lines: Lines, deadline_s: float = 15.0) -> ThreefoldSpine:
        client = await ThreefoldSpine.connect(self._cluster.address(urls=lines.urls), wait_s=20, deadline_s=deadline_s)
        assert isinstance(client, ThreefoldSpine)
        self._clients.append(client)
        return client

    async def connect_apart(self) -> ThreefoldSpine:
        lines = Lines(self._cluster)
        await lines.open()
        client = await self._connect(lines)
        self._apart[client] = lines
        return client

    async def cut(self, client: ports.Spine) -> None:
        await self._apart[client].cut()
        await self.until(lambda: not (client.connected or client.connection))

    async def mend(self, client: ports.Spine) -> None:
        await self._apart[client].open()

    async def delete_stream(self, name: str) -> None:
        await self._cluster.delete_stream(name)

    async def elapse(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    async def interrupt(self) -> None:
        await self._lines.cut()
        await self.until(lambda: not any(client.connected or client.connection for client in self._clients))

    async def restore(self) -> None:
        await self._lines.open()

    async def close(self) -> None:
        await super().close()
        for client in self._clients:
            await client.close()
        for lines in (self._lines, *self._apart.values()):
            await lines.cut()


@contextlib.asynccontextmanager
async def empty_bench(held: cluster.Cluster) -> AsyncIterator[ClusterBench]:
    """A bench whose cluster is well and holds no stream."""
    await held.settled()
    await held.delete_streams()
    lines = Lines(held)
    await lines.open()
    made = ClusterBench(held, lines)
    try:
        yield made
    finally:
        await made.close()
