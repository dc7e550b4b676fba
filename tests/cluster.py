"""Three clustered nats-servers from the wheel, over TLS, in the hands of a test: killed, paused, away, stepped down.

`running(folder)` starts them and stops them whatever happens; the session fixture `nats_cluster` shares one cluster.
Routes and clients speak TLS under a certificate authority of the run, clients as a user with a password.
"""

import asyncio
import contextlib
import http.client
import json
import secrets
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from penstock.servers import binaries, testing
from penstock.spine import settings
from penstock.spine.adapters import nats_access
from penstock.spine.plane import address as addresses
from tests import certificates, loopback, standstill

NODES = ("n1", "n2", "n3")
USER = "penstock"
HOST = "127.0.0.1"
FORMS_S = 30.0
"""Recipes: 0.4 s, once 8 s. A machine that is busy with other tests takes longer."""

CONFIGURATION = """\
server_name: {name}
listen: "127.0.0.1:{client}"
http: "127.0.0.1:{monitor}"
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
{client_tls}
cluster {{
  name: penstock
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
  # A test that leads its clients through lines of its own wants them to know no other way.
  no_advertise: true
  tls {{ {tls}, verify: true }}
}}
jetstream {{ store_dir: "{store}", max_file_store: 64GB, max_memory_store: 64MB }}
accounts {{
  PENSTOCK {{ jetstream: enabled, users: [{{ user: "{user}", password: "{password}" }}] }}
  SYSTEM {{ users: [{{ user: "system", password: "{password}" }}] }}
}}
system_account: SYSTEM
"""


class Node:
    """One nats-server process of the cluster. Its methods do not wait for the others; `Cluster.settled` does."""

    def __init__(self, name: str, folder: Path, ports: dict[str, int], scheme: str) -> None:
        self.name, self.folder, self.ports = name, folder, ports
        self.url = f"{scheme}://{HOST}:{ports['client']}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, with all that it kept, unless it runs."""
        if self.running:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binaries.nats_server(), "-c", self.folder / "nats.conf"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL: gone at once, sockets closed by the kernel."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: it hands its leaderships over and ends."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nobody answers on them."""
        standstill.bring_about(self.pid)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def retire(self) -> None:
        """Lame duck mode: it tells its clients to go elsewhere and ends within half a minute."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR2)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            # One that was paused hears only SIGKILL until it goes on.
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None

    def asks(self, path: str) -> dict[str, Any] | None:
        """What its monitor answers; None while it does not, or is not well."""
        connection = http.client.HTTPConnection(HOST, self.ports["monitor"], timeout=1)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


class Cluster:
    """Three nodes; `urls` is the list of their addresses as a client takes it, `authority` the file that it trusts."""

    def __init__(self, folder: Path, *, tls: bool = True) -> None:
        self.folder, self.user, self.password = folder, USER, secrets.token_urlsafe(18)
        authority = certificates.Authority(folder)
        self.authority: Path = authority.certificate
        self.tls = tls
        ports = loopback.free_ports(3 * len(NODES))
        self.nodes = tuple(
            Node(
                name,
                folder / name,
                dict(zip(("client", "monitor", "route"), ports[3 * place : 3 * place + 3], strict=True)),
                "tls" if tls else "nats",
            )
            for place, name in enumerate(NODES)
        )
        for node in self.nodes:
            self._configure(node, authority)

    @property
    def urls(self) -> str:
        """All addresses, joined by commas."""
        return ",".join(node.url for node in self.nodes)

    def trust(self) -> ssl.SSLContext | None:
        """What a client of Python's needs to trust the cluster; None without TLS."""
        return ssl.create_default_context(cafile=str(self.authority)) if self.tls else None

    def address(self, name: str = "penstock", *, urls: str = "") -> addresses.Address:
        """What a client of ours needs: all nodes unless `urls` says another way there, user, password and trust."""
        chosen = settings.NatsSettings(ca_file=self.authority if self.tls else None)
        return nats_access.address(urls or self.urls, chosen, user=self.user, password=self.password, name=name)

    def start(self) -> None:
        """Start what does not run and wait until all is well."""
        for node in self.nodes:
            node.start()
        self._wait()

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def meta_leader(self) -> str:
        """The node that leads the cluster's own group; empty while there is none that all agree on."""
        said = [node.asks("/jsz") for node in self.nodes if node.running]
        leaders = {str(each["meta_cluster"].get("leader", "")) if each else "" for each in said}
        return leaders.pop() if len(leaders) == 1 else ""

    def well(self) -> bool:
        """Whether every node answers, has caught up, and agrees on a leader of three."""
        if not all(node.running and node.asks("/healthz") for node in self.nodes):
            return False
        well = [each for each in self._members() if each.get("current") and not each.get("offline")]
        return len(well) == len(self.nodes) - 1

    def _members(self) -> list[dict[str, Any]]:
        """The other members of the cluster's own group, as its leader sees them; none without one."""
        leader = self.meta_leader()
        said = self.node(leader).asks("/jsz") if leader else None
        return (said or {}).get("meta_cluster", {}).get("replicas") or []

    def _wait(self) -> None:
        deadline = time.monotonic() + FORMS_S
        while not self.well():
            assert time.monotonic() < deadline, f"the cluster is not well: {[n.asks('/jsz') for n in self.nodes]}"
            time.sleep(0.05)

    async def settled(self) -> None:
        """Have all nodes back, caught up, agreed and ready to take streams, whatever was done to them."""
        for node in self.nodes:
            if node.running:
                node.resume()
        await asyncio.to_thread(self.start)
        probe = {"name": "PROBE", "subjects": ["probe"], "num_replicas": len(self.nodes)}
        async with asyncio.timeout(FORMS_S):
            # A node is a member again before the leader has heard how much room it has, and places nothing there.
            while (await self.ask("STREAM.CREATE.PROBE", probe)).get("error"):
                await asyncio.sleep(0.1)
        await self.ask("STREAM.DELETE.PROBE")

    @contextlib.asynccontextmanager
    async def administrator(self, *, system: bool = False) -> AsyncIterator[Client]:
        """A client of nats-py, as our user or as the one of the system account."""
        client = Client()
        await client.connect(
            [node.url for node in self.nodes if node.running],
            user="system" if system else self.user,
            password=self.password,
            tls=self.trust(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
        )
        try:
            yield client
        finally:
            await client.close()

    async def ask(
        self, subject: str, request: dict[str, Any] | None = None, *, system: bool = False, timeout_s: float = 5
    ) -> Any:
        """One call of the JetStream API, `subject` without its prefix."""
        async with self.administrator(system=system) as client:
            body = json.dumps(request).encode() if request else b""
            return json.loads((await client.request(f"$JS.API.{subject}", body, timeout=timeout_s)).data)

    async def leader(self, stream: str, durable: str = "") -> Node:
        """The node that leads a stream, or a durable of it, once there is one."""
        about = f"CONSUMER.INFO.{stream}.{durable}" if durable else f"STREAM.INFO.{stream}"
        async with asyncio.timeout(FORMS_S):
            while True:
                # Nobody answers for a group between two leaders.
                with contextlib.suppress(nats.errors.Error):
                    found = await self.ask(about, timeout_s=1)
                    if name := found.get("cluster", {}).get("leader"):
                        return self.node(name)
                await asyncio.sleep(0.05)

    async def step_down(self, stream: str) -> None:
        """Have the leader of a stream hand over to another node."""
        answer = await self.ask(f"STREAM.LEADER.STEPDOWN.{stream}")
        assert answer.get("success"), answer

    async def lead(self, node: Node, stream: str, durable: str = "") -> None:
        """Have a node lead a stream, or a durable of it."""
        about = f"CONSUMER.LEADER.STEPDOWN.{stream}.{durable}" if durable else f"STREAM.LEADER.STEPDOWN.{stream}"
        async with asyncio.timeout(FORMS_S):
            while await self.leader(stream, durable) is not node:
                await self.ask(about, {"placement": {"preferred": node.name}})
                await asyncio.sleep(0.05)

    def carrying(self, client: str) -> Node:
        """The node that the data plane of a client of this name is connected to (nats-py may be elsewhere)."""
        for node in self.nodes:
            connections = (node.asks("/connz") or {}).get("connections", []) if node.running else []
            if any(each.get("name") == client and each.get("lang") != "python3" for each in connections):
                return node
        raise AssertionError(f"no node carries {client}")

    async def step_down_meta(self) -> None:
        """Have the leader of the cluster's own group hand over."""
        answer = await self.ask("META.LEADER.STEPDOWN", system=True)
        assert answer.get("success"), answer

    async def delete_stream(self, name: str) -> None:
        """Delete a stream, emptied first: one that is made anew at once may find messages still to be removed."""
        async with self.administrator() as client:
            await client.request(f"$JS.API.STREAM.PURGE.{name}", timeout=10)
            await client.request(f"$JS.API.STREAM.DELETE.{name}", timeout=10)

    async def delete_streams(self) -> None:
        """Leave no stream behind, buckets included."""
        for name in (await self.ask("STREAM.NAMES"))["streams"] or []:
            await self.delete_stream(name)

    def _configure(self, node: Node, authority: certificates.Authority) -> None:
        node.folder.mkdir()
        certificate, key = authority.sign(node.name)
        tls = f'cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority.certificate}"'
        written = CONFIGURATION.format(
            name=node.name,
            **node.ports,
            routes=", ".join(f'"tls://{HOST}:{other.ports["route"]}"' for other in self.nodes if other is not node),
            tls=tls,
            client_tls=f"tls {{ {tls} }}" if self.tls else "",
            store=node.folder / "store",
            user=self.user,
            password=self.password,
        )
        (node.folder / "nats.conf").touch(0o600)
        (node.folder / "nats.conf").write_text(written, encoding="utf-8")


@contextlib.contextmanager
def running(*, tls: bool = True) -> Iterator[Cluster]:
    """A cluster that is well, in a folder of its own."""
    with testing.temporary_folder() as folder:
        cluster = Cluster(folder, tls=tls)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
