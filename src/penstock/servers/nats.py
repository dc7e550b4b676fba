"""The embedded nats-server: JetStream on, loopback only, generated credentials, its store in the data folder.

Who may log in stands in a file of its own (`accounts.conf`), which is replaced while the server runs: a reload takes
nothing from those who are connected.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.base import errors, telemetry
from penstock.servers import binaries, credentials, files, ports, privileges, probe, process
from penstock.servers.endpoints import NatsEndpoint
from penstock.servers.folder import DataFolder
from penstock.servers.settings import ServersSettings
from penstock.servers.station import AsProgram, Place, Station

NAME: Final = "nats"
TITLE: Final = "nats-server"
USER: Final = "penstock"
ACCOUNTS: Final = "accounts.conf"
RELOADS: Final = 2
"""A new account answers, and one that imports more imports by patterns, only after the second (nats-server 2.15)."""
RELOADED_S: Final = 60.0
_MEMORY_STORE_BYTES: Final = 64 << 20

_log = telemetry.logger("servers.nats")


class EmbeddedNats:
    """One nats-server for one data folder; `start` may be called again after it has died."""

    def __init__(self, folder: DataFolder, settings: ServersSettings) -> None:
        self._folder, self._settings = folder, settings
        self._station = Station(Place(folder, NAME, (signal.SIGTERM,)), settings)
        self._reloading = asyncio.Lock()
        self._taken = ""

    @property
    def station(self) -> Station:
        """The process and its files."""
        return self._station

    @property
    def accounts_file(self) -> Path:
        """Who may log in, passwords included."""
        return self._folder.nats / ACCOUNTS

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
            return process.Program(TITLE, argv, self._configuration(used), used, user)

        with files.explained(self._folder.path):
            self._ensure_accounts(password, user)
        if not await self._station.adopt(as_program, self._ready):
            await self._station.clear()
            await self._launch(as_program)
        return self._endpoint(password)

    def _ensure_accounts(self, password: str, user: privileges.ServerUser) -> None:
        """Leave the accounts of the last time, if our own login is among them; else there is only that."""
        login = f'{{ user: "{USER}", password: {_quoted(password)} }}'
        with contextlib.suppress(OSError, ValueError):
            if login in self.accounts_file.read_text(encoding="utf-8"):
                return
        files.write_private(self.accounts_file, _OWNER_ONLY.format(login=login), owner=user.owner)

    async def admit(self, accounts: str) -> bool:
        """Replace who may log in (an `accounts` block that has our own login) and have the server read it.

        False when it has read that already. Connections stay, and what is on its way arrives. Raises Unavailable
        `not_reloaded` when the server does not take it; it goes on with what it had.
        """
        # That the file says so is not enough: who wrote it may have been killed before this server read it.
        async with self._reloading:
            before = ""
            with contextlib.suppress(OSError, ValueError):
                before = self.accounts_file.read_text(encoding="utf-8")
            if before == accounts == self._taken:
                return False
            self._taken = ""
            self._write_accounts(accounts)
            try:
                for _ in range(RELOADS):
                    await self._reload()
            except BaseException:
                # What it does not take now it would not start with.
                if before:
                    self._write_accounts(before)
                raise
            self._taken = accounts
            return True

    def _write_accounts(self, accounts: str) -> None:
        user = privileges.server_user(self._folder.path)
        with files.explained(self._folder.path):
            files.write_private(self.accounts_file, accounts, owner=user.owner)

    async def _reload(self) -> None:
        """Have the configuration read, and wait until it was; one that does not run reads it when it starts."""
        server = self._station.process
        if server is None or not server.is_running():
            return
        before = await self._loaded_at()
        server.send(signal.SIGHUP)
        pause_s = 0.005
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELOADED_S):
                while server.is_running():
                    await asyncio.sleep(pause_s)
                    if await self._loaded_at() not in {"", before}:
                        return
                    pause_s = min(pause_s * 1.5, 0.1)
                return
        raise errors.Unavailable(
            "not_reloaded",
            "nats-server did not take its new accounts",
            hint=f"The end of {self._folder.log(NAME)} says why.",
        )

    async def _loaded_at(self) -> str:
        """When the server read its configuration, in its own words; empty while it does not say."""
        _status, body = await self._ask("/varz")
        try:
            return str(json.loads(body)["config_load_time"])
        except (ValueError, TypeError, KeyError):
            return ""

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

    def _configuration(self, numbers: Mapping[str, int]) -> str:
        return _CONFIGURATION.format(
            name=self._server_name(),
            host=ports.HOST,
            client=numbers["client"],
            monitor=numbers["monitor"],
            store=_quoted(str(self._folder.nats)),
            settings=self._settings,
            memory=_MEMORY_STORE_BYTES,
            accounts=ACCOUNTS,
        )


_CONFIGURATION: Final = """\
# Written by Penstock at each start; who may log in stands beside it.
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
include "./{accounts}"
"""

_OWNER_ONLY: Final = """\
accounts {{
  PENSTOCK {{
    jetstream: enabled
    users: [{login}]
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
