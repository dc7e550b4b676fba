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

from penstock.spine.adapters import spine_nats
from penstock.spine.testing import bench as benches

PASSWORD = "bench-password"


class Server:
    """One nats-server process on a port of its own, with JetStream in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
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


class NatsBench(benches.Bench):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._clients: list[spine_nats.NatsSpine] = []

    async def connect(self, *, deadline_s: float = 15.0) -> spine_nats.NatsSpine:
        client = await spine_nats.NatsSpine.connect(
            self._server.url, user="bench", password=PASSWORD, wait_s=10, deadline_s=deadline_s
        )
        self._clients.append(client)
        return client

    async def elapse(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    async def interrupt(self) -> None:
        self._server.kill()
        await self.until(lambda: not any(client.connected for client in self._clients))

    async def restore(self) -> None:
        self._server.start()

    async def close(self) -> None:
        await super().close()
        for client in self._clients:
            await client.close()


@contextlib.asynccontextmanager
async def empty_bench(server: Server) -> AsyncIterator[NatsBench]:
    """A bench whose server holds no stream."""
    server.start()
    admin = Client()
    await admin.connect(server.url, user="bench", password=PASSWORD)
    names = json.loads((await admin.request("$JS.API.STREAM.NAMES", timeout=5)).data)["streams"] or []
    for name in names:
        # A stream that is made anew right after it was deleted may find messages that the server had still to remove.
        await admin.request(f"$JS.API.STREAM.PURGE.{name}", timeout=5)
        await admin.request(f"$JS.API.STREAM.DELETE.{name}", timeout=5)
    await admin.close()
    made = NatsBench(server)
    try:
        yield made
    finally:
        await made.close()
