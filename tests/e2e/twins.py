"""Two tenants in whom everything collides that can: names, conversations, senders, events, messages, commands, apps.

The platforms live in a thread of their own, so that verbs may run in this one as in a shell.
"""

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import nats
import nats.js.errors

from penstock.app import schema
from penstock.base import ids
from penstock.channels.testing import simulator, simulators, webhook_simulator
from penstock.database import pool
from penstock.spine import consumer, stream, subject
from tests.e2e import installation, twin_platforms
from tests.unit.cli import calling

T = TypeVar("T")

ACME, GLOBEX = "acme", "globex"
APP = "poison"
POISON_APP = Path(__file__).parent / "poison_app.py"
ROOM, SAD_ROOM, GONE_ROOM = "ROOM1", "ROOM2", "ROOM3"
WITHIN_S = 120.0


class Background:
    """An event loop in a thread; what was entered is left again in the end."""

    def __init__(self) -> None:
        self._loop, self._stack = asyncio.new_event_loop(), contextlib.AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="platforms", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN_S)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context there until the end."""
        return self.run(self._stack.enter_async_context(context))

    @contextlib.contextmanager
    def going_on(self, work: Callable[[], Coroutine[Any, Any, object]]) -> Generator[None]:
        """Do something there again and again while the block lasts."""

        async def again() -> None:
            while True:
                await work()
                await asyncio.sleep(0.05)

        running = asyncio.run_coroutine_threadsafe(again(), self._loop)
        try:
            yield
        finally:
            running.cancel()

    def close(self) -> None:
        """Leave everything, and end the thread."""
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WITHIN_S)
            self._loop.close()


@dataclasses.dataclass
class Twin:
    """One of the two: their platforms and accounts by channel, and ids of what they have."""

    tenant: str
    platforms: dict[str, simulator.Simulator] = dataclasses.field(default_factory=dict[str, simulator.Simulator])
    accounts: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    secrets: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    quarantined: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    unknown: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    rooms: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    senders: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    posted: dict[str, list[simulator.Posted]] = dataclasses.field(default_factory=dict[str, list[simulator.Posted]])

    terminal_secret: str = ""

    @property
    def words(self) -> list[str]:
        """What people say to this tenant, and to no other."""
        return [f"{self.tenant} says {number}" for number in range(3)]

    @property
    def marks(self) -> set[str]:
        """What must not turn up in anything that another tenant is told."""
        return {self.tenant, *self.accounts.values(), *self.secrets.values(), *self.quarantined.values()}


class Twins:
    """Both, on one running installation."""

    def __init__(self, background: Background, running: installation.Installation) -> None:
        self.background, self.running = background, running
        self.acme, self.globex = Twin(ACME), Twin(GLOBEX)

    def call(self, *arguments: str) -> calling.Outcome:
        """A verb in this process, with the user's environment."""
        ours = {name: text for name, text in self.running.environ.items() if name.startswith(("PENSTOCK_", "XDG_"))}
        return calling.call(*arguments, environ={"PENSTOCK_TELEMETRY__LOG_LEVEL": "error", **ours})

    def verb(self, *arguments: str) -> Any:
        """The document of a verb that must succeed."""
        ended = self.call(*arguments, "--json")
        assert ended.code == 0, f"{arguments}: {ended.err}"
        return ended.document

    def settle_in(self) -> None:
        """Tenants, accounts of one name on every channel, and the app of one name."""
        channels = simulators.ALL.keys()
        assert channels == twin_platforms.PLATFORMS.keys(), "say in twin_platforms how two of them give the same ids"
        for twin in (self.acme, self.globex):
            self.verb("tenant", "create", twin.tenant)
            for channel in channels:
                twin.platforms[channel] = self.background.enter(twin_platforms.PLATFORMS[channel].start())
                self._make_account(twin, channel)
            made = self.verb("account", "create", "shell", "-t", twin.tenant, "-c", "terminal")
            twin.accounts["terminal"], twin.secrets["terminal"] = made["id"], made["secret_id"]
            twin.terminal_secret = made["secret"]
        self.background.enter(installation.app(self.running, f"{ACME},{GLOBEX}", POISON_APP))

    def _make_account(self, twin: Twin, channel: str) -> None:
        platform, chosen = twin.platforms[channel], list[str]()
        for kind, secret in platform.secrets.items():
            os.environ[f"TWIN_{kind.upper()}"] = secret.reveal()
            chosen += ["--secret", f"{kind}=env:TWIN_{kind.upper()}"]
        for name, value in platform.config.items():
            chosen += ["--set", f"{name}={value}"]
        try:
            made = self.verb("account", "create", channel, "-t", twin.tenant, "-c", channel, *chosen)
        finally:
            for kind in platform.secrets:
                del os.environ[f"TWIN_{kind.upper()}"]
        twin.accounts[channel], twin.secrets[channel] = made["id"], made["secret_id"]
        platform.connect(made["webhook_url"])

    def converse(self) -> None:
        """Words in and answers out, one after the other on each platform: so both number alike."""

        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                for twin in (self.acme, self.globex):
                    for channel in twin.platforms:
                        group.create_task(self._converse(twin, channel))

        self.background.run(everybody())
        for twin in (self.acme, self.globex):
            self.background.run(self._learn(twin))
            for channel in twin.platforms:
                place = ("-t", twin.tenant, "-a", twin.accounts[channel], "-c", twin.rooms[channel])
                self.verb("message", "send", f"{twin.tenant} notice", *place, "--id", f"twin-{channel}", "--wait")
            self.background.run(self._give_up(twin))
            self._erase_bob(twin)

    def _erase_bob(self, twin: Twin) -> None:
        """Somebody who asked both to forget them, and whom both remember having forgotten."""
        platform = twin.platforms["webhook"]
        assert isinstance(platform, webhook_simulator.WebhookSimulator)
        assert self.background.run(platform.say(GONE_ROOM, f"bob of {twin.tenant}", sender="bob")).ok
        whom = ("-t", twin.tenant, "-a", twin.accounts["webhook"], "-s", "bob")
        assert self.verb("person", "erase", *whom, "--yes")["complete"]

    async def _converse(self, twin: Twin, channel: str) -> None:
        platform, posted = twin.platforms[channel], twin.posted.setdefault(channel, [])
        for number, text in enumerate(twin.words, 1):
            posted.append(await platform.say(ROOM, text))
            assert posted[-1].status == 200, (channel, posted[-1])
            await platform.until(
                lambda number=number: len(platform.heard(ROOM)) >= number, timeout_s=twin_platforms.PATIENCE_S
            )
        posted.append(await platform.say(SAD_ROOM, "poison"))
        assert await twin_platforms.PLATFORMS[channel].post_unknown(platform) == 200

    def look_around(self) -> None:
        """Wait for what the app gave up, one message of each channel; remember ids."""
        for twin in (self.acme, self.globex):
            rows: Sequence[Any] = ()
            while len(rows) < len(twin.platforms):  # the test's own time limit ends this
                rows = self.verb("quarantine", "ls", "-t", twin.tenant)
            unknown = self.verb("account", "unknown", "ls", "-t", twin.tenant)
            twin.unknown = {
                channel: each["event_id"]
                for each in unknown
                for channel, account in twin.accounts.items()
                if each["account"] == account
            }
            assert twin.unknown.keys() == twin.platforms.keys()
            twin.quarantined = {row["subject"].split(".")[5]: row["id"] for row in rows}
            assert twin.quarantined.keys() == twin.platforms.keys()

    async def _learn(self, twin: Twin) -> None:
        """What the room, and who spoke there, are called on the wire."""
        async with self._rows("channels", twin.tenant) as bound:
            for channel, posted in twin.posted.items():
                found = await bound.fetch_all(
                    "select conversation, sender from channels.message where tenant = %s and account = %s"
                    " and event_id = %s",
                    (twin.tenant, twin.accounts[channel], posted[0].event_id),
                )
                [(twin.rooms[channel], twin.senders[channel])] = found

    async def _give_up(self, twin: Twin) -> None:
        """A message that a stream refused for good, under the id of the other's, as a publisher leaves it behind."""
        async with self._rows("channels", twin.tenant) as bound:
            await bound.execute(
                "insert into channels.outbox (tenant, partition, key, stream, subject, message_id, headers, body,"
                " failed_at, failure) values (%s, 0, 'twin', 'RECEIPTS', %s, 'twin', '{}', '', now(), 'too_large')",
                (twin.tenant, subject.receipts(twin.tenant, "twin", ROOM)),
            )

    def sequence_of(self, tenant: str) -> int:
        """The place of some message of a tenant in the stream of what people say."""

        async def look() -> int:
            where = self.running.endpoints
            client = await nats.connect(where.nats_url, user=where.nats_user, password=where.nats_password)
            try:
                name, pattern = stream.MESSAGES_INBOUND.name, f"tenant.{tenant}.>"
                found = await client.jetstream().get_msg(name, seq=1, next=True, subject=pattern)
                assert found.seq is not None
                return found.seq
            finally:
                await client.close()

        return self.background.run(look())

    @contextlib.asynccontextmanager
    async def _rows(self, room: str, tenant: str) -> Any:
        database = pool.Database(self.running.endpoints.postgres_url, application="test", size=1)
        try:
            async with database.transaction(room, [ids.tenant_id(tenant)]) as bound:
                yield bound
        finally:
            await database.close()

    def all_of(self, tenant: str) -> dict[str, Any]:
        """Everything that an installation keeps of a tenant: rows, messages in streams, places of durables."""
        return self.background.run(self._all_of(tenant))

    async def _all_of(self, tenant: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for room in (one.room for one in schema.rooms()):
            async with self._rows(room, tenant) as bound:
                tables = await bound.fetch_all(_TABLES, (room,))
                for (table,) in tables:
                    # What has left goes from the outbox by itself.
                    left = " and failed_at is not null" if table == "outbox" else ""
                    query = f"select each::text from {room}.{table} as each where tenant = %s{left} order by 1"
                    found[f"{room}.{table}"] = [row[0] for row in await bound.fetch_all(query, (tenant,))]
        where = self.running.endpoints
        client = await nats.connect(where.nats_url, user=where.nats_user, password=where.nats_password)
        try:
            for policy in stream.STREAMS:
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    info = await client.jetstream().stream_info(policy.name, subjects_filter=f"tenant.{tenant}.>")
                    found[policy.name] = info.state.subjects or {}
            for durable in consumer.of_app(tenant, APP).durables():
                state = await client.jetstream().consumer_info(durable.stream, durable.name)
                found[durable.name] = (state.num_pending, state.num_ack_pending, state.ack_floor)
        finally:
            await client.close()
        return found


_TABLES = """
select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped
where n.nspname = %s and c.relkind in ('r', 'p') and not c.relispartition
and has_table_privilege(c.oid, 'select') order by 1"""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Twins]:
    """Both, once they have talked and something of theirs is wherever something can be."""
    background = Background()
    try:
        made = Twins(background, background.enter(installation.up(installation.environment(folder))))
        made.settle_in()
        made.converse()
        made.look_around()
        yield made
    finally:
        background.close()
