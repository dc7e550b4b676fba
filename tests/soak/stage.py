"""A whole installation of several processes on real servers, and platforms with people who talk to it.

`penstock up` keeps nats-server, Postgres and one core; beside it run as many more cores and processes of the app as
wanted, kept running as well. Each core has an account of its own: its platform posts to that core.
"""

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from penstock.channels.testing import webhook_sender, webhook_simulator
from tests import loopback, standstill
from tests.e2e import installation as installations
from tests.e2e import processes, records
from tests.soak import parts, store, verdict
from tests.soak import talk as talks

TENANT = "acme"
ROLES = ("channels", "state")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays: how many cores (the one of `up` included), and which app in how many processes.

    `variables` are set for everybody, `of_app` for the app alone. `patience_s`: for how long platforms post again.
    """

    cores: int = 1
    apps: int = 1
    app: Path = installations.ECHO
    rooms: int = 20
    patience_s: float = 120.0
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    of_app: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


class Stage:
    """An installation at work. `parts`: nats, postgres, core, core-2..., app, app-2... by name; a talk per core."""

    def __init__(self, installation: installations.Installation) -> None:
        self.installation = installation
        self.parts: dict[str, parts.Part] = {
            "nats": parts.Part("nats", lambda: installation.server_pid("nats")),
            "postgres": parts.Part("postgres", lambda: installation.server_pid("postgres")),
            "core": parts.Part("core", installation.core_pid),
        }
        self._away = 0
        self.talks: list[talks.Talk] = []

    @property
    def talk(self) -> talks.Talk:
        """The one that there is where there is one core."""
        return self.talks[0]

    @property
    def platforms(self) -> list[webhook_simulator.WebhookSimulator]:
        """The platform of each talk."""
        return [talk.platform for talk in self.talks]

    @property
    def arrived(self) -> int:
        """How many requests the platforms have got in all."""
        return sum(len(platform.arrivals) for platform in self.platforms)

    def kept(self, name: str) -> parts.Kept:
        """A core or app that runs beside `up`."""
        part = self.parts[name]
        assert isinstance(part, parts.Kept)
        return part

    @contextlib.asynccontextmanager
    async def away(self, server: str) -> AsyncGenerator[None]:
        """`nats` or `postgres` killed, and started again after the block only: its supervisor is paused so long."""
        part = self.parts[server]
        await processes.until(lambda: part.pid, f"{server} runs")
        # One that still moves would start the server again at once.
        standstill.bring_about(self.installation.process.pid)
        self._away += 1
        ended = part.send(signal.SIGKILL)
        try:
            yield
        finally:
            self._away -= 1
            if not self._away:
                self.installation.signal(signal.SIGCONT)
        await part.back(ended)

    async def until_arrived(self, count: int, *, timeout_s: float = 60.0) -> None:
        """Wait until the platforms have got that many requests in all."""
        await processes.until(lambda: self.arrived >= count, f"{count} requests arrive", timeout_s=timeout_s)

    async def say(self, count: int, *, pause_s: float = 0.0) -> list[talks.Said]:
        """Say that many messages, shared by the talks; what became of each."""
        each, more = divmod(count, len(self.talks))
        counts = [each + (number < more) for number in range(len(self.talks))]
        said = await asyncio.gather(
            *(talk.say(wanted, pause_s=pause_s) for talk, wanted in zip(self.talks, counts, strict=True))
        )
        return [one for of_talk in said for one in of_talk]

    async def answered(self, *, timeout_s: float = 60.0) -> None:
        """Wait until everything that was taken has its answer."""
        await asyncio.gather(*(talk.answered(timeout_s=timeout_s) for talk in self.talks))

    async def verdict(self, *, but: Collection[str] = ()) -> verdict.Verdict:
        """What was lost, doubled and reordered until now, by what platforms heard and what rows admit."""
        ambiguous = await records.ambiguous_rows(self.installation, TENANT)
        whole = verdict.Verdict()
        for talk in self.talks:
            whole += verdict.judge(talk.said, talk.platform.arrivals, ambiguous=ambiguous, but=but)
        return whole

    async def not_kept(self) -> list[str]:
        """Texts that were answered 200 and whose message is not in the database: what a recovery would have lost."""
        kept = await records.stored_events(self.installation, TENANT)
        return [
            said.text for talk in self.talks for said in talk.said if said.taken and said.posted.event_id not in kept
        ]

    def recovery_s(self, since_s: float) -> tuple[float, float]:
        """Seconds from a moment to the first answer to something said after it, and until every room had one."""
        rooms = [
            verdict.recovery_s(talk.said, verdict.first_answers(talk.platform.arrivals), since_s) for talk in self.talks
        ]
        return min(first for first, _ in rooms), max(last for _, last in rooms)


@contextlib.asynccontextmanager
async def opened(folder: Path, cast: Cast = Cast()) -> AsyncGenerator[Stage]:
    """The installation, ready, with everybody in place; all of it is ended whatever happens."""
    environ = installations.environment(folder, PENSTOCK_SDK__LOG_LEVEL="info", **cast.variables)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(installations.up(environ))
        stage = Stage(running)
        await running.cli("tenant", "create", TENANT)
        for number in range(1, cast.cores + 1):
            another = number > 1
            url = await stack.enter_async_context(_another_core(stage, number)) if another else running.http_url
            await stack.enter_async_context(talk(stage, cast, number, url))
        for number in range(1, cast.apps + 1):
            await stack.enter_async_context(app(stage, cast, number))
        try:
            yield stage
        except BaseException:
            await tell_all(stage)
            raise
        finally:
            for part in stage.parts.values():
                part.send(signal.SIGCONT)


async def tell_all(stage: Stage) -> None:
    """Print what helps to find out what was wrong: where each durable is, and what processes beside `up` have said."""
    for stream in ("MESSAGES_INBOUND", "MESSAGES_OUTBOUND"):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                for line in await store.durables(stage.installation, stream):
                    print(line)
    for part in stage.parts.values():
        if isinstance(part, parts.Kept):
            print(f"{part.name} said:\n{part.command.err[-installations.LAST_WORDS :]}")


@contextlib.asynccontextmanager
async def _another_core(stage: Stage, number: int) -> AsyncGenerator[str]:
    """A core beside that of `up`, on the same servers; yields its URL."""
    where, port = stage.installation.endpoints, loopback.free_port()
    nats = urlsplit(where.nats_url)
    environ = {
        **stage.installation.environ,
        "PENSTOCK_NATS_URL": urlunsplit(nats._replace(netloc=f"{where.nats_user}:{where.nats_password}@{nats.netloc}")),
        "PENSTOCK_POSTGRES_URL": where.postgres_url,
        "PENSTOCK_EDGE__PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    async with _kept(stage, _named("core", number), lambda: installations.Command(environ, "run", *ROLES)):
        await _answers(f"{url}/ready")
        yield url


@contextlib.asynccontextmanager
async def app(stage: Stage, cast: Cast, number: int) -> AsyncGenerator[None]:
    """One process of the app, once it listens."""
    port = loopback.free_port()
    environ = {
        **stage.installation.environ,
        "PENSTOCK_TENANT": TENANT,
        "PENSTOCK_SDK__PROBE_PORT": str(port),
        **cast.of_app,
    }
    python, *_ = installations.penstock(environ)
    program = (python, str(cast.app))
    async with _kept(stage, _named("app", number), lambda: installations.Command(environ, program=program)):
        await _answers(f"http://127.0.0.1:{port}/ready")
        yield


@contextlib.asynccontextmanager
async def _kept(stage: Stage, name: str, start: Callable[[], installations.Command]) -> AsyncGenerator[None]:
    part = stage.parts[name] = parts.Kept(name, start)
    try:
        yield
    finally:
        await part.close()


def _named(kind: str, number: int) -> str:
    return kind if number == 1 else f"{kind}-{number}"


@contextlib.asynccontextmanager
async def talk(stage: Stage, cast: Cast, number: int, core_url: str) -> AsyncGenerator[talks.Talk]:
    """People on a platform of their own, which has an account and posts to one of the cores."""
    secret, cli = webhook_sender.fresh_secret(), stage.installation.cli
    async with webhook_simulator.WebhookSimulator([secret], patience_s=cast.patience_s) as platform:
        made = await cli("account", "create", f"shop-{number}", "-t", TENANT, "--set", f"url={platform.url}")
        platform.use_secrets([made["secret"]])
        platform.connect(core_url + urlsplit(made["webhook_url"]).path)
        talk = talks.Talk(platform, name="message" if number == 1 else f"message of {number}", rooms=cast.rooms)
        stage.talks.append(talk)
        yield talk


async def _answers(url: str, *, timeout_s: float = 30.0) -> None:
    """Wait until a page is 200."""
    async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=timeout_s) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.05)
