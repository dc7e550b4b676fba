"""The embedded Postgres: no TCP, a socket that only its user reaches, durable, and small enough for a laptop."""

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from penstock.servers import binaries, cluster, credentials, privileges, process, socket_folder
from penstock.servers.endpoints import DATABASE, PORT, SUPERUSER, PostgresEndpoint
from penstock.servers.folder import DataFolder
from penstock.servers.settings import MIB, ServersSettings
from penstock.servers.station import Place, Station

NAME: Final = "postgres"
TITLE: Final = "Postgres"


class EmbeddedPostgres:
    """One Postgres for one data folder; `start` may be called again after it has died.

    Not `durable`: nothing waits for the disk, for tests only; a power cut may then destroy the database.
    """

    def __init__(self, folder: DataFolder, settings: ServersSettings, *, durable: bool = True) -> None:
        self._folder, self._settings, self._durable = folder, settings, durable
        # Fast shutdown first (SIGINT: sessions are cut, a checkpoint is written), then immediate (SIGQUIT).
        self._station = Station(Place(folder, NAME, (signal.SIGINT, signal.SIGQUIT)), settings)
        self._programs = Path()
        self._socket = Path()

    @property
    def station(self) -> Station:
        """The process and its files."""
        return self._station

    async def start(self) -> PostgresEndpoint:
        """Adopt the server that is there, or make the cluster if need be and start one; it answers when this returns.

        Raises Rejected for what the operator must change, Unavailable for what may pass.
        """
        user = privileges.server_user(self._folder.path)
        self._programs = binaries.supplied_postgres_folder(self._folder.programs, user)
        password = credentials.kept(
            self._folder.secret(NAME), user=SUPERUSER, lost=(self._folder.postgres / "PG_VERSION").exists()
        )
        self._socket = socket_folder.prepare(self._folder, user)

        def as_program(_: Mapping[str, int]) -> process.Program:
            return process.Program(TITLE, self._arguments(), "", {"socket": PORT}, user)

        if not await self._station.adopt(as_program, self._ready):
            await self._station.clear()
            made = cluster.Cluster(self._folder, self._programs, user, self._durable)
            await _to_the_end(asyncio.to_thread(made.ensure, password))
            cluster.forget_dead_postmaster(self._folder.postgres, self._socket)
            await self._station.launch(as_program({}), self._ready)
        return PostgresEndpoint(str(self._socket), PORT, SUPERUSER, password, DATABASE)

    async def health(self) -> str:
        """Empty when all is well, else one sentence on what is wrong."""
        if not self._station.is_running():
            return "Postgres does not run"
        return "" if await self._accepts() else "Postgres takes no connections"

    async def stop(self) -> None:
        """Stop it: sessions are cut, and everything committed is on disk."""
        await self._station.stop()
        socket_folder.remove(self._folder)

    async def _ready(self, found: process.ServerProcess) -> bool:
        """What `pg_ctl --wait` looks at: the pid file's eighth line, written when connections are taken."""
        try:
            lines = (self._folder.postgres / "postmaster.pid").read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(found.pid) and lines[7].strip() == "ready"

    async def _accepts(self) -> bool:
        argv = ["-q", "-t", "3", "-h", str(self._socket), "-p", str(PORT), "-d", DATABASE]
        asked = await asyncio.create_subprocess_exec(
            str(self._programs / "pg_isready"),
            *argv,
            env=process.plain_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await asked.wait() == 0

    def _arguments(self) -> tuple[str, ...]:
        chosen = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket),
            "port": str(PORT),
            "max_connections": str(self._settings.postgres_connections),
            "shared_buffers": f"{self._settings.postgres_shared_buffers_bytes // MIB}MB",
            **_SETTINGS,
        }
        pairs = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        argv = (str(self._programs / "postgres"), "-D", str(self._folder.postgres), *pairs)
        return (*argv, *cluster.fsync_arguments(durable=self._durable))


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work in a thread, which cannot be cancelled: a cancelled caller is told when it has ended."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


_SETTINGS: Final = {
    # Durable: a commit that was answered survives the machine.
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_size": "512MB",
    # Reads are from the page cache of one machine: three more processes would only cost memory.
    "io_method": "sync",
    "cluster_name": "penstock",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # What goes wrong in a statement is told to the client; details and statements may quote what people wrote.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
