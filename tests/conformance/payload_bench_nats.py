"""A payload bench over a real nats-server, with a user who may do no more than a sandboxed worker of one component."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from penstock.servers import binaries
from penstock.spine import payload
from penstock.spine.adapters import payloads_nats
from penstock.spine.plane import address, link, message
from penstock.spine.testing import payload_bench
from tests import loopback, standstill

HOST = "127.0.0.1"
BUCKET = payload_bench.BUCKET.name
WORKERS = ("permitted", "imported")
"""A user of the platform's own account with permissions, and one of an account of its own that imports services."""

CONFIGURATION = """\
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}" }}
accounts {{
  PLATFORM {{
    jetstream: enabled
    users: [
      {{ user: platform, password: platform }}
      {{ user: permitted, password: permitted, permissions: {{
        publish: [
          "$O.{bucket}.C.>", "$O.{bucket}.M.>", "$JS.API.DIRECT.GET.OBJ_{bucket}", "$JS.API.DIRECT.GET.OBJ_{bucket}.>"
        ]
        subscribe: ["_INBOX_worker.>"]
      }} }}
    ]
    exports: [
      {{ service: "$O.{bucket}.C.>", accounts: [PARSER] }}
      {{ service: "$O.{bucket}.M.>", accounts: [PARSER] }}
      {{ service: "$JS.API.DIRECT.GET.OBJ_{bucket}", response_type: Stream, accounts: [PARSER] }}
    ]
  }}
  PARSER {{
    users: [{{ user: imported, password: imported, permissions: {{ subscribe: ["_INBOX_worker.>"] }} }}]
    imports: [
      {{ service: {{ account: PLATFORM, subject: "$O.{bucket}.C.>" }} }}
      {{ service: {{ account: PLATFORM, subject: "$O.{bucket}.M.>" }} }}
      {{ service: {{ account: PLATFORM, subject: "$JS.API.DIRECT.GET.OBJ_{bucket}" }} }}
    ]
  }}
}}
"""


class Server:
    """One nats-server process on a port of its own, with JetStream in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.port = loopback.free_port()
        self._file = folder / "nats.conf"
        self._file.write_text(CONFIGURATION.format(port=self.port, store=folder / "store", bucket=BUCKET))
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, user: str) -> address.Address:
        access = address.Access(inbox_prefix="_INBOX_worker") if user in WORKERS else None
        return address.address(f"nats://{HOST}:{self.port}", user=user, password=user, access=access)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        program = [binaries.nats_server(), "-c", self._file]
        self._process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            assert self._process.poll() is None, "nats-server did not start"
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.005)

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nobody answers on them."""
        assert self._process is not None
        standstill.bring_about(self._process.pid)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

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


class NatsPayloadBench(payload_bench.PayloadBench):
    """Clients of one server. `worker` says which kind of fence its worker has."""

    def __init__(self, server: Server, admin: link.Link, worker: str) -> None:
        self.server, self.admin, self._worker = server, admin, worker
        self._links: list[link.Link] = []

    async def connect(self, *, deadline_s: float = 15.0) -> payloads_nats.NatsPayloads:
        return await self.connect_as("platform", deadline_s=deadline_s)

    async def connect_fenced(self) -> payloads_nats.NatsPayloads:
        return await self.connect_as(self._worker)

    async def connect_as(self, user: str, *, deadline_s: float = 15.0) -> payloads_nats.NatsPayloads:
        chunks = payloads_nats.NatsChunks(await self.link_as(user), deadline_s=deadline_s)
        return payloads_nats.NatsPayloads(chunks, limit_bytes=payload_bench.LIMIT_BYTES)

    async def link_as(self, user: str) -> link.Link:
        """A connection of a user."""
        made = link.Link(self.server.address(user))
        await made.open(wait_s=10)
        self._links.append(made)
        return made

    async def elapse(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    async def interrupt(self) -> None:
        self.server.kill()
        async with asyncio.timeout(10):
            while any(each.connected for each in self._links):
                await asyncio.sleep(0.01)

    async def restore(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def chunks(self, reference: payload.Reference) -> list[bytes]:
        """Every chunk, as whoever may read the bucket reads them."""
        found, sequence = list[bytes](), 0
        while True:
            question = {"seq": sequence + 1, "next_by_subj": f"$O.{reference.bucket}.C.{reference.name}"}
            answer = await self.ask(f"DIRECT.GET.OBJ_{reference.bucket}", question)
            if not answer.body:
                return found
            found.append(answer.body)
            sequence = int(answer.headers["Nats-Sequence"])

    async def plant(self, reference: payload.Reference, chunks: list[bytes]) -> None:
        subject = f"$O.{reference.bucket}.C.{reference.name}"
        await self.ask(f"STREAM.PURGE.OBJ_{reference.bucket}", {"filter": subject})
        for chunk in chunks:
            assert b'"error"' not in (await self.admin.call(subject, chunk, 5)).body

    async def held_bytes(self) -> int:
        info = json.loads((await self.ask(f"STREAM.INFO.OBJ_{BUCKET}")).body)
        return int(info["state"]["bytes"])

    async def ask(self, subject: str, request: dict[str, object] | None = None) -> message.Message:
        """One call of the JetStream API, with the platform's rights."""
        await self.admin.wait_connected(10)
        return await self.admin.call(f"$JS.API.{subject}", json.dumps(request).encode() if request else b"", 5)

    async def close(self) -> None:
        for each in self._links:
            await each.close()


@contextlib.asynccontextmanager
async def empty_bench(server: Server, *, worker: str = "permitted") -> AsyncIterator[NatsPayloadBench]:
    """A bench whose server holds no bucket."""
    server.start()
    admin = link.Link(server.address("platform"))
    await admin.open(wait_s=10)
    for bucket in (BUCKET, "jobs_other"):
        await admin.call(f"$JS.API.STREAM.DELETE.OBJ_{bucket}", b"", 5)
    made = NatsPayloadBench(server, admin, worker)
    try:
        yield made
    finally:
        await made.close()
        await admin.close()
