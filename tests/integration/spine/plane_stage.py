"""What the data plane is tested with: a nats-server configured for one test, and one that speaks badly on purpose."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from penstock.servers import binaries
from penstock.spine.adapters import nats_access
from penstock.spine.plane import link
from penstock.spine.plane.carrier import Timing
from penstock.spine.settings import NatsSettings
from tests import loopback, standstill

QUICK = Timing(connect_s=2.0, ping_s=0.4, herd_s=0.02, first_wait_s=0.02, most_wait_s=0.1, refused_wait_s=0.1)
WITHIN_S = 15.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


class NatsServer:
    """One nats-server with `configuration` in the server's own language."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        self.folder, self.port = folder, loopback.free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.configure(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, configuration: str) -> None:
        self.folder.mkdir(exist_ok=True)
        text = f'listen: "127.0.0.1:{self.port}"\nlame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n'
        (self.folder / "nats.conf").write_text(text + configuration)

    def launch(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([binaries.nats_server(), "-c", self.folder / "nats.conf"], stdout=log, stderr=log)

    async def start(self) -> None:
        self._process = self.launch()
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
                assert self._process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stand_still(self) -> None:
        """SIGSTOP, and no word from it any more until SIGCONT."""
        assert self._process is not None
        standstill.bring_about(self._process.pid)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextlib.asynccontextmanager
async def served(folder: Path, configuration: str = "") -> AsyncIterator[NatsServer]:
    server = NatsServer(folder, configuration)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.asynccontextmanager
async def linked(urls: str, *, timing: Timing = QUICK, **chosen: object) -> AsyncIterator[link.Link]:
    """An open link, with fields of the settings."""
    made = link.Link(nats_access.address(urls, NatsSettings(**chosen)), timing=timing)
    await made.open(wait_s=WITHIN_S)
    try:
        yield made
    finally:
        await made.close()


async def refused(urls: str, *, timing: Timing = QUICK, wait_s: float = WITHIN_S, **chosen: object) -> Exception:
    """What opening raises."""
    made = link.Link(nats_access.address(urls, NatsSettings(**chosen)), timing=timing)
    try:
        await made.open(wait_s=wait_s)
    except Exception as error:  # noqa: BLE001 - a test looks at it
        return error
    finally:
        await made.close()
    raise AssertionError("it was let in")


class Session:
    """A client, as the scripted server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.options: dict[str, object] = {}

    def say(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.encode())

    async def heard(self) -> bytes:
        line = await self.reader.readline()
        if not line:
            raise ConnectionResetError
        return line.rstrip(b"\r\n")

    def inform(self, **info: object) -> None:
        self.say("INFO " + json.dumps({"max_payload": 1 << 20, "headers": True, **info}) + "\r\n")

    async def let_in(self, **info: object) -> None:
        """INFO, CONNECT, and every PING up to the one behind the subscriptions."""
        self.inform(**info)
        pongs = 0
        while pongs < 2:
            line = await self.heard()
            if line.startswith(b"CONNECT "):
                self.options = json.loads(line[8:])
            elif line == b"PING":
                pongs += 1
                self.say("PONG\r\n")

    async def carry_on(self) -> None:
        """Answer PINGs for as long as the client is there."""
        while True:
            if await self.heard() == b"PING":
                self.say("PONG\r\n")


Script = Callable[[Session, int], Awaitable[None]]


class Scripted:
    """A server that does to its clients, counted from 1, what a script says; then it hangs up."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.count = 0
        self.url = ""
        self.failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.count += 1
        try:
            await self._script(Session(reader, writer), self.count)
        except (OSError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - the test ends with it
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not self.failures, self.failures


@contextlib.asynccontextmanager
async def scripted(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    made = Scripted(script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.stop()
