"""The embedded nats-server: JetStream on, loopback only, generated credentials, its store in the data folder."""

import hashlib
import json
import os
import signal
from collections.abc import Mapping
from typing import Final

from penstock.base import errors
from penstock.servers import binaries, credentials, files, ports, privileges, probe, process
from penstock.servers.endpoints import NatsEndpoint
from penstock.servers.folder import DataFolder
from penstock.servers.settings import ServersSettings
from penstock.servers.station import AsProgram, Place, Station

NAME: Final = "nats"
TITLE: Final = "nats-server"
USER: Final = "penstock"
_MEMORY_STORE_BYTES: Final = 64 << 20


class EmbeddedNats:
    """One nats-server for one data folder; `start` may be called again after it has died."""

    def __init__(self, folder: DataFolder, settings: ServersSettings) -> None:
        self._folder, self._settings = folder, settings
        self._station = Station(Place(folder, NAME, (signal.SIGTERM,)), settings)

    @property
    def station(self) -> Station:
        """The process and its files."""
        return self._station

    async def start(self) -> NatsEndpoint:
        """Adopt the server that is there, or start one; it answers when this returns.

        Raises Rejected for what the operator must change, Unavailable for what may pass.
        """
        user = privileges.server_user(self._folder.path)
        program = binaries.supplied_nats_server(self._folder.programs, user)
        password = credentials.kept(self._folder.secret(NAME), user=USER)
        with files.explained(self._folder.path):
            self._folder.nats.mkdir(mode=0o700, exist_ok=True)
            if self._folder.nats.stat().st_uid != user.uid:
                privileges.hand_over(self._folder.nats, user)

        def as_program(numbers: Mapping[str, int]) -> process.Program:
            argv = (str(program), "-c", str(self._folder.nats / "nats.conf"))
            fixed = {"client": self._settings.nats_port, "monitor": self._settings.nats_monitor_port}
            used = {use: port or numbers.get(use, 0) for use, port in fixed.items()}
            return process.Program(TITLE, argv, self._configuration(used, password), used, user)

        if not await self._station.adopt(as_program, self._ready):
            await self._station.clear()
            await self._launch(as_program)
        return self._endpoint(password)

    async def health(self) -> str:
        """Empty when all is well, else one sentence on what is wrong."""
        if not self._station.is_running():
            return "nats-server does not run"
        # The plain question: after a full disk a stream refuses every write until a restart, and only this one tells.
        status, body = await self._ask("/healthz")
        if status == 200:
            return ""
        return f"nats-server is ill: {_reason(body)}" if status else "nats-server does not answer"

    async def stop(self) -> None:
        """Stop it; what clients were told is kept is on disk."""
        await self._station.stop()

    async def _launch(self, as_program: AsProgram) -> None:
        for last_try in (False, False, True):
            program = as_program(self._choose_ports())
            files.write_private(self._folder.nats / "nats.conf", program.configuration, owner=program.user.owner)
            try:
                await self._station.launch(program, self._ready)
                return
            except errors.Unavailable as error:
                # Between our look and the server's, another program may have taken a port.
                lost = error.code == "server_ended" and not all(map(ports.is_free, program.ports.values()))
                if last_try or not lost:
                    raise

    def _choose_ports(self) -> dict[str, int]:
        remembered = self._station.ports
        fixed, fixed_monitor = self._settings.nats_port, self._settings.nats_monitor_port
        client = ports.choose(
            fixed, remembered=remembered.get("client", 0), setting="servers.nats_port", but=[fixed_monitor]
        )
        monitor = ports.choose(
            fixed_monitor, remembered=remembered.get("monitor", 0), setting="servers.nats_monitor_port", but=[client]
        )
        return {"client": client, "monitor": monitor}

    async def _ready(self, _: process.ServerProcess) -> bool:
        """It says that it is well, and what says so is this very server and no stranger on its port."""
        status, _body = await self._ask("/healthz")
        if status != 200:
            return False
        _status, body = await self._ask("/varz")
        return f'"server_name": "{self._server_name()}"'.encode() in body

    async def _ask(self, path: str) -> tuple[int, bytes]:
        return await probe.http_get(ports.HOST, self._station.ports["monitor"], path)

    def _endpoint(self, password: str) -> NatsEndpoint:
        numbers = self._station.ports
        return NatsEndpoint(
            url=f"nats://{ports.HOST}:{numbers['client']}",
            user=USER,
            password=password,
            monitor_url=f"http://{ports.HOST}:{numbers['monitor']}",
        )

    def _server_name(self) -> str:
        return f"penstock-{hashlib.sha256(os.fsencode(self._folder.path)).hexdigest()[:12]}"

    def _configuration(self, numbers: Mapping[str, int], password: str) -> str:
        return _CONFIGURATION.format(
            name=self._server_name(),
            host=ports.HOST,
            client=numbers["client"],
            monitor=numbers["monitor"],
            store=_quoted(str(self._folder.nats)),
            settings=self._settings,
            memory=_MEMORY_STORE_BYTES,
            user=USER,
            password=_quoted(password),
        )


_CONFIGURATION: Final = """\
# Written by Penstock at each start.
server_name: "{name}"
listen: "{host}:{client}"
http: "{host}:{monitor}"
max_payload: {settings.nats_max_payload_bytes}
logtime_utc: true
lame_duck_duration: "30s"
lame_duck_grace_period: "2s"
jetstream {{
  store_dir: {store}
  max_file_store: {settings.nats_store_bytes}
  max_memory_store: {memory}
}}
accounts {{
  PENSTOCK {{
    jetstream: enabled
    users: [{{ user: "{user}", password: {password} }}]
  }}
}}
"""


def _reason(body: bytes) -> str:
    """The `error` of an answer of `/healthz`."""
    try:
        return str(json.loads(body)["error"])[:300]
    except (ValueError, TypeError, KeyError):
        return "it does not say why"


def _quoted(text: str) -> str:
    """A string of nats-server's configuration language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
