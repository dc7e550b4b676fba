"""A room with an outbox, a stream for what it says, and transports that fail on request."""

import asyncio
import dataclasses
import datetime
import secrets
import time

import psycopg
import pytest

from penstock.base import errors, settings
from penstock.database import migrations, pool, roles
from penstock.spine import ports, provision, stream
from penstock.spine.adapters import spine_nats
from penstock.state import outbox, publisher, quarantine

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))
SCHEMAS = [migrations.RoomSchema("shop", outbox.MIGRATIONS), quarantine.SCHEMA]


@dataclasses.dataclass
class Shop:
    """One room on real servers. `stream` is of this test alone."""

    url: str
    admin_url: str
    stream: str

    def open(self, application="test"):
        return pool.Database(self.url, application=application, size=4)

    def outgoing(self, number, key="k", tenant="acme", body=b""):
        subject = f"tenant.{tenant}.{self.stream}.{number}"
        message_id = f"{tenant}:{self.stream}:{number}"
        headers = {"Nats-Msg-Id": message_id, "tenant-id": tenant, "number": str(number)}
        return ports.Outgoing(self.stream, subject, f"{tenant}/{key}", headers, body or str(number).encode())

    async def append(self, database, numbers, *, keys=1, tenant="acme"):
        async with database.transaction("shop", [tenant]) as transaction:
            await outbox.append(transaction, [self.outgoing(number, f"k{number % keys}", tenant) for number in numbers])

    async def counts(self, database, tenant="acme"):
        """Rows waiting, published, given up."""
        async with database.transaction("shop", [tenant]) as transaction:
            return await transaction.fetch_one(
                "select count(*) filter (where published_at is null and failed_at is null), "
                "count(published_at), count(failed_at) from shop.outbox"
            )

    async def until_published(self, database, number, *, within_s=20.0):
        async def done():
            try:
                return (await self.counts(database))[1] == number
            except errors.Unavailable:
                return False

        await until(done, within_s=within_s)

    async def age(self, numbers, *, minutes):
        """Let rows have been published so long ago."""
        async with await psycopg.AsyncConnection.connect(self.admin_url) as admin:
            await admin.execute(
                "update shop.outbox set published_at = published_at - make_interval(mins => %s) "
                "where (headers ->> 'number')::int = any(%s)",
                (minutes, list(numbers)),
            )

    def streams(self):
        return [stream.StreamPolicy(self.stream, (f"tenant.*.{self.stream}.>",), "a test", max_bytes=64 << 20)]


async def until(condition, *, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


class Counter:
    """A transport in memory that remembers what it took, in order; `fate` may raise or wait for each message."""

    connected_as = 1

    @property
    def connection(self):
        return self.connected_as

    def __init__(self):
        self.created = datetime.datetime.now(datetime.UTC)
        self.taken = []
        self.running = {}
        self.most_of_a_key = 0
        self.fate = self.let_pass

    async def let_pass(self, message):
        await asyncio.sleep(0)

    async def stream_state(self, name):
        return ports.StreamState(self.created, 1, len(self.taken), len(self.taken), 0)

    async def message(self, stream, sequence):
        return self.taken[sequence - 1] if 0 < sequence <= len(self.taken) else None

    async def describe_consumer(self, stream, name):
        """There are none."""

    async def create_consumer(self, policy):
        """Nor would they be read."""

    async def publish(self, message, *, on=None):
        assert on == self.connection
        self.running[message.key] = self.running.get(message.key, 0) + 1
        self.most_of_a_key = max(self.most_of_a_key, self.running[message.key])
        try:
            await self.fate(message)
            self.taken.append(message)
            return ports.Published(message.stream, len(self.taken), duplicate=False)
        finally:
            self.running[message.key] -= 1

    def numbers(self, key):
        return [int(message.headers["number"]) for message in self.taken if message.key == key]


@pytest.fixture
async def shop(fresh_postgres):
    url = fresh_postgres.url(user=LOGIN.name, password=LOGIN.password.reveal())
    await migrations.migrate(fresh_postgres.url(), SCHEMAS, login=LOGIN)
    return Shop(url, fresh_postgres.url(), f"SHOP_{secrets.token_hex(6)}")


@pytest.fixture
async def database(shop):
    opened = shop.open()
    yield opened
    await opened.close()


@pytest.fixture
def counter():
    return Counter()


@pytest.fixture
async def publishing(database, counter):
    """A publisher into the counter; not started."""
    made = publisher.Publisher(database, counter, "shop")
    yield made
    await made.stop()


@pytest.fixture
async def spine(shop, nats_endpoint):
    opened = await spine_nats.NatsSpine.connect(nats_endpoint.url_with_credentials(), wait_s=10)
    await provision.streams(opened, shop.streams())
    yield opened
    await opened.close()
