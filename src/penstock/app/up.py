"""`penstock up`: everything on one machine. Starts what it must, watches it, and takes it down in order.

Start: data folder, sealing key, nats-server and Postgres side by side, migrations, listening socket, core process.
Stop: the core drains first, then the servers. A server that dies is started again; so is the core.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, cast

import penstock
from penstock.app import child, configuration, endpoints, schema
from penstock.base import errors, settings, tasks, telemetry
from penstock.database import migrations, roles
from penstock.edge import wiring as edge_wiring
from penstock.sealing import keys
from penstock.servers import credentials, folder, nats, postgres, probe, watermark

ROLES: Final = ("channels", "state")
LOGIN: Final = "penstock"
WATCH_S: Final = 1.0
READY_S: Final = 60.0

_log = telemetry.logger("app.up")


@dataclasses.dataclass(frozen=True, slots=True)
class Installation:
    """A running installation: where it listens, the environment in which other processes find it, and its core."""

    endpoints: endpoints.Endpoints
    environ: Mapping[str, str]
    core: child.Child
    notes: tuple[str, ...]


@dataclasses.dataclass(slots=True)
class _Servers:
    """The embedded servers that are ours to keep running; None where a URL replaces one."""

    nats: nats.EmbeddedNats | None
    postgres: postgres.EmbeddedPostgres | None

    async def stop(self) -> None:
        for server in (self.nats, self.postgres):
            if server is not None:
                await server.stop()


@contextlib.asynccontextmanager
async def running(
    found: configuration.Configuration, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Installation]:
    """An installation that is ready, for as long as the block lasts.

    Raises Rejected for what the operator must change, Unavailable for what may pass by itself.
    """
    variables = dict(os.environ if environ is None else environ)
    place = folder.prepare(found.servers.data_folder, build=penstock.__version__)
    with folder.locked(place):
        watermark.require_space(place.path)
        notes = _ensure_key(found, place)
        servers = _Servers(
            None if found.servers.nats_url else nats.EmbeddedNats(place, found.servers),
            None if found.servers.postgres_url else postgres.EmbeddedPostgres(place, found.servers),
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(servers.stop)
            bus, database_url = await _start_servers(servers, found, place)
            listener = stack.enter_context(edge_wiring.bind(found.edge.host, found.edge.port))
            where = endpoints.Endpoints(
                http_url=f"http://{_host(found.edge.host)}:{listener.getsockname()[1]}",
                postgres_url=database_url,
                pid=os.getpid(),
                **bus,
            )
            core = child.Child(ROLES, _core_environ(variables, where, place), listener)
            await core.start()
            stack.push_async_callback(core.stop, found.edge.drain_s + 15)
            watching = tasks.Tasks()
            stack.push_async_callback(watching.stop)
            await _until_ready(where, core)
            watching.forever("servers", lambda: _watch(servers))
            endpoints.write(place.path, where)
            stack.callback(endpoints.remove, place.path)
            yield Installation(where, {**variables, "PENSTOCK_DATA": str(place.path)}, core, notes)


def _ensure_key(found: configuration.Configuration, place: folder.DataFolder) -> tuple[str, ...]:
    """Make the key that seals secrets, unless the settings bring one; returns what people should know of it."""
    if found.sealing.key is not None or found.sealing.key_file is not None:
        return ()
    note = keys.ensure_file(found.key_file, data_folder=place.path)
    return (note,) if note else ()


async def _start_servers(
    servers: _Servers, found: configuration.Configuration, place: folder.DataFolder
) -> tuple[dict[str, str], str]:
    """Bus and database, side by side; returns what `Endpoints` says of the bus, and the core's Postgres URL."""

    async def bus() -> dict[str, str]:
        if servers.nats is None:
            url = found.servers.nats_url or settings.Secret("")
            return {"nats_url": url.reveal(), "nats_user": "", "nats_password": ""}
        at = await servers.nats.start()
        return {"nats_url": at.url, "nats_user": at.user, "nats_password": at.password}

    async def database() -> str:
        if servers.postgres is None:
            url = (found.servers.postgres_url or settings.Secret("")).reveal()
            await migrations.migrate(url, schema.rooms())
            return url
        at = await servers.postgres.start()
        word, _ = credentials.kept(place.secret("core"), user=LOGIN)
        login = roles.Login(LOGIN, settings.Secret(word))
        await migrations.migrate(at.url(), schema.rooms(), login=login)
        return at.url(user=LOGIN, password=word)

    found_bus, found_database = await asyncio.gather(bus(), database(), return_exceptions=True)
    for outcome in (found_bus, found_database):
        if isinstance(outcome, BaseException):
            raise outcome  # both have ended by now, so that what was started can be stopped
    return cast("tuple[dict[str, str], str]", (found_bus, found_database))


def _core_environ(variables: Mapping[str, str], where: endpoints.Endpoints, place: folder.DataFolder) -> dict[str, str]:
    """What the core process is told: addresses and credentials by environment, never by argument."""
    return {
        **variables,
        "PENSTOCK_DATA": str(place.path),
        "PENSTOCK_NATS_URL": where.nats_url_with_credentials(),
        "PENSTOCK_POSTGRES_URL": where.postgres_url,
    }


def _host(address: str) -> str:
    """A host that can stand in a URL and be reached from here."""
    if address in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not listened on
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


async def _until_ready(where: endpoints.Endpoints, core: child.Child) -> None:
    """Wait for the core's first `/ready`. Raises Unavailable when it does not come, or the core keeps ending."""
    host, _, port = where.http_url.removeprefix("http://").rpartition(":")
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and core.restarts < 3:
        if await probe.http_status(host.strip("[]"), int(port), "/ready") == 200:
            return
        await asyncio.sleep(0.02)
    raise errors.Unavailable(
        "core_not_ready", "the core process did not become ready", hint="Its log lines above say why."
    )


async def _watch(servers: _Servers) -> None:
    """Look after the servers once a second; one that has died is started again."""
    await asyncio.sleep(WATCH_S)
    for server in (servers.nats, servers.postgres):
        if server is not None and not server.station.is_running():
            _log.error("a server ended", server=type(server).__name__)
            await server.start()
            _log.info("the server runs again", server=type(server).__name__)
        elif server is not None:
            server.station.set_log_aside()


async def run(found: configuration.Configuration, say: Callable[[Any], None], *, as_json: bool) -> None:
    """Run until SIGTERM or SIGINT; `say` prints where everything is once it is ready, and the end.

    The first signal cancels whatever this does, starting included; what was started is stopped in order. A second one
    cancels the stopping.
    """
    telemetry.configure_logs(level=found.telemetry.log_level)
    loop, main, told = asyncio.get_running_loop(), asyncio.current_task(), False

    def stop() -> None:
        nonlocal told
        told = True
        if main is not None:
            main.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    begun = time.perf_counter()
    try:
        async with running(found) as installation:
            seconds = time.perf_counter() - begun
            if as_json:
                say({"http_url": installation.endpoints.http_url, "pid": os.getpid(), "seconds": round(seconds, 3)})
            else:
                _tell(installation, say, seconds)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not told:
            raise
    if not as_json:
        say("Stopped.")


def _tell(installation: Installation, say: Callable[[Any], None], seconds: float) -> None:
    where, data = installation.endpoints, installation.environ["PENSTOCK_DATA"]
    say(f"Penstock is ready ({seconds:.1f} s).")
    say(f"  http      {where.http_url}   /health /ready /metrics, /webhooks/CHANNEL/ACCOUNT")
    say(f"  nats      {where.nats_url.rpartition('@')[2].removeprefix('nats://')}")
    say(f"  data      {data}")
    for note in installation.notes:
        say(f"  {note}")
    say("Next: 'penstock tenant create acme', or 'penstock chat' to talk to an app. Ctrl-C stops everything.")
