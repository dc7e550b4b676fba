"""`penstock up`: everything on one machine. Starts what it must, watches it, and takes it down in order.

Start: data folder, sealing key, nats-server and Postgres side by side, migrations, listening socket, core process.
Stop: the core drains first, then the servers. A server that dies is started again; so is the core.
"""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from penstock.app import child, configuration, endpoints, house, schema, walls
from penstock.base import errors, settings, tasks, telemetry
from penstock.database import migrations, roles
from penstock.edge import wiring as edge_wiring
from penstock.sealing import keys
from penstock.servers import credentials, embedded, folder, given, probe

ROLES: Final = ("channels", "state")
LOGIN: Final = "penstock"
READY_S: Final = 60.0

_log = telemetry.logger("app.up")


@dataclasses.dataclass(frozen=True, slots=True)
class Installation:
    """A running installation: where it listens, the environment in which other processes find it, and its core."""

    endpoints: endpoints.Endpoints
    environ: Mapping[str, str]
    core: child.Child
    notes: tuple[str, ...]


@contextlib.asynccontextmanager
async def running(
    found: configuration.Configuration, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Installation]:
    """An installation that is ready, for as long as the block lasts.

    Raises Rejected for what the operator must change, Unavailable for what may pass by itself.
    """
    variables = dict(os.environ if environ is None else environ)
    _require_purpose(found)
    await given.require_answers(found.servers)
    async with contextlib.AsyncExitStack() as stack:
        servers = embedded.EmbeddedServers(found.servers)
        at = await servers.start()
        stack.push_async_callback(servers.stop)
        place = folder.DataFolder(folder.absolute(found.servers.data_folder))
        notes = _ensure_key(found, place)
        listener = stack.enter_context(edge_wiring.bind(found.edge.host, found.edge.port))
        where = endpoints.Endpoints(
            http_url=f"http://{_host(found.edge.host)}:{listener.getsockname()[1]}",
            nats_url=at.nats.url,
            nats_user=at.nats.user,
            nats_password=at.nats.password,
            postgres_url=await _migrate(found, place, at.postgres_url),
            pid=os.getpid(),
            nats=found.nats.table(),
        )
        await _prove_openable(found, where.postgres_url)
        await stack.enter_async_context(
            walls.kept(walls.Ground(found, place, at.nats, servers.nats), where.postgres_url)
        )
        core = child.Child((*child.PROGRAM, *ROLES), _core_environ(variables, at, where, place), listener)
        await core.start()
        stack.push_async_callback(core.stop, 2 * found.edge.drain_s + 15)
        await _until_ready(where, core)
        endpoints.write(place.path, where)
        stack.callback(endpoints.remove, place.path)
        yield Installation(where, {**variables, "PENSTOCK_DATA": str(place.path)}, core, notes)


def _require_purpose(found: configuration.Configuration) -> None:
    """Raise Rejected for settings of a NATS server that is not used: the embedded one lets us in by itself."""
    if found.servers.nats_url is None and found.nats.table():
        raise errors.Rejected(
            "bad_setting",
            f"nats.{min(found.nats.table())} is for a server that PENSTOCK_NATS_URL names, and it names none",
            hint="Set PENSTOCK_NATS_URL, or take the settings of [nats] away.",
            field="nats",
        )


def _ensure_key(found: configuration.Configuration, place: folder.DataFolder) -> tuple[str, ...]:
    """Make the key that seals secrets, unless the settings bring one; returns what people should know of it."""
    if found.sealing.service != "key" or found.sealing.key is not None or found.sealing.key_file is not None:
        return ()
    note = keys.ensure_file(found.key_file, data_folder=place.path)
    return (note,) if note else ()


async def _migrate(found: configuration.Configuration, place: folder.DataFolder, admin_url: settings.Secret) -> str:
    """Bring the schema up to this build; returns the URL that processes use.

    On the embedded server that is a login which may act for rooms and change no table. A server that the operator
    named is used as the operator logs in.
    """
    if found.servers.postgres_url is not None:
        await migrations.migrate(admin_url.reveal(), schema.rooms())
        return admin_url.reveal()
    word = credentials.kept(place.secret("core"), user=LOGIN)
    await migrations.migrate(admin_url.reveal(), schema.rooms(), login=roles.Login(LOGIN, settings.Secret(word)))
    parts = urlsplit(admin_url.reveal())
    place_of_server = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{LOGIN}:{quote(word, safe='')}@{place_of_server}"))


async def _prove_openable(found: configuration.Configuration, postgres_url: str) -> None:
    """Say here what the core would refuse (a wrong sealing key), and not by a core that keeps ending.

    A key service that is away is waited for, as the core would.
    """
    failures = 0
    while True:
        try:
            async with house.opened(found, postgres_url):
                return
        except errors.Unavailable as error:
            if error.code != "key_service_away":
                raise
            failures += 1
            _log.warning("waits to start", code=error.code, detail=error.detail)
            await asyncio.sleep(tasks.backoff_s(failures, most_s=5.0))


def _core_environ(
    variables: Mapping[str, str], at: embedded.Addresses, where: endpoints.Endpoints, place: folder.DataFolder
) -> dict[str, str]:
    """What the core process is told: addresses and credentials by environment, never by argument.

    By their short names only: a long one that the user had set would win.
    """
    long = {f"{settings.PREFIX}SERVERS__{name}" for name in ("DATA_FOLDER", "NATS_URL", "POSTGRES_URL")}
    return {
        **{name: value for name, value in variables.items() if name not in long},
        "PENSTOCK_DATA": str(place.path),
        "PENSTOCK_NATS_URL": at.nats.url_with_credentials(),
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
        status, _ = await probe.http_get(host.strip("[]"), int(port), "/ready")
        if status == 200:
            return
        await asyncio.sleep(0.02)
    raise errors.Unavailable(
        "core_not_ready", "the core process did not become ready", hint="Its log lines above say why."
    )


async def run(found: configuration.Configuration, say: Callable[[Any], None], *, as_json: bool) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; `say` prints where everything is once it is ready, and the end.

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

    for number in tasks.ending_signals():
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
