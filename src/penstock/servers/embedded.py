"""Both embedded servers of one data folder: brought up together, watched, brought up again, taken down together.

What a URL replaces is left alone. If the process that runs this is killed, the servers go on until the next `up`
adopts them or `stop_left_behind` ends them.
"""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import penstock
from penstock.base import errors, settings, tasks, telemetry
from penstock.servers import binaries, endpoints, files, folder, given, watermark
from penstock.servers.nats import EmbeddedNats
from penstock.servers.postgres import EmbeddedPostgres
from penstock.servers.settings import ServersSettings

Server = EmbeddedNats | EmbeddedPostgres

_log = telemetry.logger("servers.embedded")

restarts = telemetry.counter(
    "penstock_server_restarts_total",
    labels=("server",),
    meaning="An embedded server ended by itself, or was ill for good, and was started again.",
    remedy="Read the end of its file in the log folder of the data folder.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Rounds:
    """How often servers are examined, and after how many failures in a row nats-server is started anew.

    Patient enough for a machine that is merely busy: without an answer it takes 40 seconds. Postgres heals itself.
    """

    every_s: float = 5.0
    ill_for_good: int = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two servers answer; `postgres_url` is that of a user who may change the schema."""

    nats: endpoints.NatsEndpoint
    postgres_url: settings.Secret


class EmbeddedServers:
    """The servers of one installation."""

    def __init__(self, chosen: ServersSettings, *, durable: bool = True, rounds: Rounds | None = None) -> None:
        self._settings, self._durable, self._rounds = chosen, durable, rounds or Rounds()
        self._servers: dict[str, Server] = {}
        self._tasks = tasks.Tasks()
        self._exits = contextlib.ExitStack()

    async def start(self) -> Addresses:
        """Prepare the data folder, lock it, bring up what no URL replaces, and keep it up until `stop`.

        Raises Rejected for what the operator must change, Unavailable for what may pass; nothing runs then.
        """
        prepared = folder.prepare(self._settings.data_folder, build=penstock.__version__)
        watermark.require_space(prepared.path)
        self._exits.enter_context(folder.locked(prepared))
        try:
            with files.explained(prepared.path):
                nats, postgres_url = await self._start_both(prepared)
        except BaseException:
            await self.stop()
            raise
        binaries.prune(prepared.programs)
        for name, server in self._servers.items():
            self._tasks.forever(f"{name} is kept up", functools.partial(self._keep_up, name, server))
            examination = _Examination(server, prepared.path, self._rounds)
            self._tasks.forever(f"{name} is examined", examination.again)
        return Addresses(nats, postgres_url)

    @property
    def nats(self) -> EmbeddedNats | None:
        """The nats-server, unless a URL replaces it."""
        server = self._servers.get("nats")
        return server if isinstance(server, EmbeddedNats) else None

    async def health(self) -> Mapping[str, str]:
        """By server: empty when all is well, else one sentence on what is wrong."""
        return {name: await server.health() for name, server in self._servers.items()}

    async def stop(self) -> None:
        """Stop both gently and let go of the data folder. Raises Unavailable when one cannot be ended."""
        await self._tasks.stop()
        try:
            ended = await asyncio.gather(*(server.stop() for server in self._servers.values()), return_exceptions=True)
            self._servers.clear()
            if error := _most_telling(ended):
                raise error
        finally:
            self._exits.close()

    async def _start_both(self, prepared: folder.DataFolder) -> tuple[endpoints.NatsEndpoint, settings.Secret]:
        nats, postgres = await asyncio.gather(
            self._start_nats(prepared), self._start_postgres(prepared), return_exceptions=True
        )
        if error := _most_telling((nats, postgres)):
            raise error
        return cast("tuple[endpoints.NatsEndpoint, settings.Secret]", (nats, postgres))

    async def _start_nats(self, prepared: folder.DataFolder) -> endpoints.NatsEndpoint:
        if self._settings.nats_url is not None:
            return given.nats_endpoint(self._settings.nats_url.reveal())
        server = self._servers["nats"] = EmbeddedNats(prepared, self._settings)
        return await server.start()

    async def _start_postgres(self, prepared: folder.DataFolder) -> settings.Secret:
        if self._settings.postgres_url is not None:
            return self._settings.postgres_url
        server = self._servers["postgres"] = EmbeddedPostgres(prepared, self._settings, durable=self._durable)
        return settings.Secret((await server.start()).url())

    async def _keep_up(self, name: str, server: Server) -> None:
        """Start a server again whenever it ends, after a pause that grows while it does not stay."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            begun = loop.time()
            if (process := server.station.process) is not None:
                code = await process.wait()
                _log.error("server ended", server=name, code=code)
            failures = 1 if loop.time() - begun > 60 else failures + 1
            restarts.labels(name).inc()
            await asyncio.sleep(tasks.backoff_s(failures))
            try:
                await server.start()
                _log.info("server is up again", server=name)
            except errors.PenstockError as error:
                _log.error("server does not start", server=name, code=error.code, detail=error.detail)


class _Examination:
    """Looks at one server again and again; ends a nats-server that is ill for good, so that it is started anew.

    A stream that could not be written while the disk was full stays so until then; so not before there is space.
    """

    def __init__(self, server: Server, path: Path, rounds: Rounds) -> None:
        self._server, self._path, self._rounds = server, path, rounds
        self._failures = 0

    async def again(self) -> None:
        await asyncio.sleep(self._rounds.every_s)
        station = self._server.station
        station.set_log_aside()
        if not station.is_running():
            return
        illness = await self._server.health()
        self._failures = self._failures + 1 if illness else 0
        if illness:
            _log.warning("server is ill", server=station.name, detail=illness, failures=self._failures)
        has_space = watermark.free_bytes(self._path) >= watermark.LOWEST_START_BYTES
        if self._failures >= self._rounds.ill_for_good and isinstance(self._server, EmbeddedNats) and has_space:
            self._failures = 0
            await self._server.stop()


async def stop_left_behind(chosen: ServersSettings) -> list[str]:
    """Stop the servers that a killed `up` left running in the data folder; the names of those that ran.

    Raises Rejected while an `up` uses the folder.
    """
    path = folder.absolute(chosen.data_folder)
    if folder.read_format(path) is None:
        return []
    prepared, stopped = folder.DataFolder(path), list[str]()
    with folder.locked(prepared):
        for server in (EmbeddedNats(prepared, chosen), EmbeddedPostgres(prepared, chosen)):
            if await server.station.clear():
                stopped.append(server.station.name)
    return stopped


def _most_telling(results: Sequence[object]) -> BaseException | None:
    """Of what went wrong, what the operator must change before what may pass."""
    wrong = [result for result in results if isinstance(result, BaseException)]
    return min(wrong, key=lambda error: not isinstance(error, errors.Rejected), default=None)
