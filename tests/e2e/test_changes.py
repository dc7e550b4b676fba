"""What an operator changes with a verb, in a process of its own, the running core acts on at once."""

import asyncio
import time
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.e2e import conversation, installation

WELL_BEFORE_S = 20.0
"""Less than the half minute for which the core here remembers accounts and tenants."""


async def until_status(platform: webhook_simulator.WebhookSimulator, status: int) -> None:
    """Say something again and again until it is answered so."""
    deadline = time.monotonic() + WELL_BEFORE_S
    while (seen := (await platform.say("room", "hello")).status) != status:
        assert time.monotonic() < deadline, f"the core still answers {seen}, not {status}"
        await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_core_hears_of_a_change_long_before_it_would_look_again(folder: Path) -> None:
    environ = installation.environment(folder, PENSTOCK_CHANNELS__ACCOUNT_CACHE_S="30")
    async with (
        installation.up(environ) as running,
        conversation.account(running, "acme", patience_s=0.0) as platform,
    ):
        id = platform.webhook_url.rpartition("/")[2]
        await until_status(platform, 200)
        await running.cli("tenant", "suspend", "acme")
        await until_status(platform, 503)
        await running.cli("tenant", "resume", "acme")
        await until_status(platform, 200)
        await running.cli("account", "disable", id, "-t", "acme")
        await until_status(platform, 403)
        [secret] = (await running.cli("account", "show", id, "-t", "acme"))["secrets"]
        await running.cli("account", "secret", "retire", id, secret["id"], "-t", "acme")
        await until_status(platform, 401)
