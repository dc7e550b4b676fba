"""A stage of its own for each test: a database, a nats-server that may be killed, and two tenants."""

import asyncio

import pytest

from penstock.app import schema
from penstock.database import migrations
from penstock.servers import testing
from penstock.spine import stream
from tests.integration.person import stage as stages
from tests.integration.state import losing


@pytest.fixture(scope="session")
def migrated(postgres_endpoint):
    """A database with our tables in it: copying it takes less than half of the time that making them takes."""
    with testing.fresh_database(postgres_endpoint) as endpoint:
        asyncio.run(migrations.migrate(endpoint.url(), schema.rooms()))
        yield endpoint


@pytest.fixture
def own_postgres(postgres_endpoint, migrated):
    """The database of this test alone."""
    with testing.fresh_database(postgres_endpoint, like=migrated) as endpoint:
        yield endpoint


@pytest.fixture
async def store(server_folder):
    """The nats-server of this test alone."""
    async with losing.losing_store(server_folder / "data", stream.STREAMS) as store:
        yield store


@pytest.fixture
async def stage(own_postgres, store, server_folder):
    """Everything runs; acme and globex have an account each."""
    async with stages.opened(own_postgres.url(), store.url, server_folder) as found:
        await found.settle_in("acme", "globex")
        await found.start()
        yield found
