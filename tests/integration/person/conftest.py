"""A stage of its own for each test: a database, a nats-server that may be killed, and two tenants."""

import pytest

from penstock.spine import stream
from tests.integration.person import stage as stages
from tests.integration.state import losing


@pytest.fixture
async def store(server_folder):
    """The nats-server of this test alone."""
    async with losing.losing_store(server_folder / "data", stream.STREAMS) as store:
        yield store


@pytest.fixture
async def stage(fresh_postgres, store, server_folder):
    """Everything runs; acme and globex have an account each."""
    async with stages.opened(fresh_postgres.url(), store.url, server_folder) as found:
        await found.settle_in("acme", "globex")
        await found.start()
        yield found
