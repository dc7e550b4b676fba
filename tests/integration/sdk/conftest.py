"""A stage for each test on the session's nats-server: a tenant of its own."""

import pytest

from tests.integration.sdk import stage as stages


@pytest.fixture
async def stage(nats_endpoint):
    """A bus, with the test playing the platform."""
    async with stages.opened(nats_endpoint) as made:
        yield made
