"""A bench over a real nats-server from the wheel: started once, emptied for every test, killed and started again."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from nats.aio.client import Client

from penstock.spine import ports
from penstock.spine.adapters import spine_nats
from penstock.spine.testing import bench as benches
from tests import loopback

PASSWORD = "bench-password"


class Server:
    """One nats-server process on a port of its own, with JetStream in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = loopback.free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs already, and wait until it answers."""
        if self._process is not None:
            return
        binary = Path(sysconfig.get_path("scripts")) / "nats-server"
        listen = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]
        self._process = subprocess.Popen(
            [binary, *listen, "--user", "bench", "--pass", PASSWORD],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, "nats-server did not start"
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.005)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Line:
    """A port of its own that leads to the server, until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        self.port = self.port or loopback.free_port()
        self._listening = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            if self._listening is None:
                return  # it was cut between the accept and now
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, there_writer))
                    group.create_task(_pump(there_reader, writer))
            finally:
                there_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # either end went away, or the line was cut
        finally:
            writer.transport.abort()
            self._pipes.discard(task)

    async def cut(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await asyncio.sleep(0)  # transports that were aborted close their sockets in the next turn of the loop


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


class NatsBench(benches.Bench):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._clients: list[spine_nats.NatsSpine] = []
        self._lines: dict[ports.Spine, Line] = {}

    async def connect(self, *, deadline_s: float = 15.0) -> spine_nats.NatsSpine:
        return await self._connect(self._server.url, deadline_s)

    async def _connect(self, url: str, deadline_s: float = 15.0) -> spine_nats.NatsSpine:
        client = await spine_nats.NatsSpine.connect(
            url, user="bench", password=PASSWORD, wait_s=10, deadline_s=deadline_s
        )
        self._clients.append(client)
        return client

    async def connect_apart(self) -> spine_nats.NatsSpine:
        line = Line(self._server.port)
        await line.open()
        client = await self._connect(f"nats://127.0.0.1:{line.port}")
        self._lines[client] = line
        return client

    async def cut(self, client: ports.Spine) -> None:
        await self._lines[client].cut()
        await self.until(lambda: not (client.connected or client.connection))

    async def mend(self, client: ports.Spine) -> None:
        await self._lines[client].open()

    async def delete_stream(self, name: str) -> None:
        async with administrator(self._server) as admin:
            await delete_stream(admin, name, self._server.folder)

    async def elapse(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    async def interrupt(self) -> None:
        self._server.kill()
        await self.until(lambda: not any(client.connected or client.connection for client in self._clients))

    async def restore(self) -> None:
        self._server.start()

    async def close(self) -> None:
        await super().close()
        for client in self._clients:
            await client.close()
        for line in self._lines.values():
            await line.cut()


@contextlib.asynccontextmanager
async def administrator(server: Server) -> AsyncIterator[Client]:
    """Somebody with the tools of the server."""
    client = Client()
    await client.connect(server.url, user="bench", password=PASSWORD)
    try:
        yield client
    finally:
        await client.close()


async def delete_stream(admin: Client, name: str, folder: Path) -> None:
    """Delete it, and wait until its files are gone too: a stream that is made anew before finds them again."""
    await admin.request(f"$JS.API.STREAM.DELETE.{name}", timeout=5)
    streams = folder / "jetstream" / "$G" / "streams"
    deadline = time.monotonic() + 10
    while (streams / name).exists() or (streams / f".{name}").exists():
        assert time.monotonic() < deadline, f"stream {name} does not go away"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def empty_bench(server: Server) -> AsyncIterator[NatsBench]:
    """A bench whose server holds no stream."""
    server.start()
    async with administrator(server) as admin:
        for name in json.loads((await admin.request("$JS.API.STREAM.NAMES", timeout=5)).data)["streams"] or []:
            await delete_stream(admin, name, server.folder)
    made = NatsBench(server)
    try:
        yield made
    finally:
        await made.close()
