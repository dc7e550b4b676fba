"""What one process changes, every other one that listens acts on at once, whatever it remembered.

Each process here is the rooms as the product joins them, over connections of its own. They remember for the longest
time that may be set; one of them is deaf, which proves that remembering is what the others would have done.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from penstock.app import configuration, house, schema
from penstock.base import errors, ids
from penstock.channels import ports
from penstock.database import migrations
from penstock.servers.endpoints import PostgresEndpoint

ACME = ids.TenantId("acme")
SETTINGS = {"PENSTOCK_SEALING_KEY": "ab" * 32, "PENSTOCK_CHANNELS__ACCOUNT_CACHE_S": "30"}
WELL_BEFORE_S = 20.0
"""Less than what caches remember for, and more than any slow machine needs to hear of a change."""


@contextlib.asynccontextmanager
async def process(url: str, *, listening: bool = True) -> AsyncGenerator[house.House]:
    async with house.opened(configuration.load(SETTINGS), url) as joined:
        if listening:
            await joined.listener.start()
            async with asyncio.timeout(WELL_BEFORE_S):
                await joined.listener.hears()
        yield joined


@pytest.fixture
async def stage(fresh_postgres: PostgresEndpoint) -> AsyncGenerator[list[house.House]]:
    """An operator's process, two that listen, and a deaf one."""
    url = fresh_postgres.url()
    await migrations.migrate(url, schema.rooms())
    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(process(url, listening=listening))
            for listening in (False, True, True, False)
        ]
        await opened[0].tenancy.create(ACME)
        yield opened


async def remembered(stage: list[house.House]) -> ports.Account:
    made = await stage[0].channels.accounts.create(ACME, "terminal", "me")
    await stage[0].channels.accounts.add_secret(ACME, made.account.id)
    for process in stage[1:]:
        await process.tenancy.require_active(ACME)
        await process.channels.known.find("terminal", made.account.id)
    return made.account


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WELL_BEFORE_S
    while not await condition():
        assert time.monotonic() < deadline, "another process still acts on what was true before"
        await asyncio.sleep(0.01)


async def test_a_retired_secret_is_refused_elsewhere(stage: list[house.House]):
    operator, *listening, deaf = stage
    account = await remembered(stage)
    [newest, *_] = (await operator.channels.accounts.show(ACME, account.id)).secrets
    await operator.channels.accounts.retire_secret(ACME, account.id, newest.id)

    async def live(process: house.House) -> int:
        return len((await process.channels.known.find("terminal", account.id))[1].secrets)

    assert await live(deaf) == 2
    for process in listening:

        async def gone(process: house.House = process) -> bool:
            return await live(process) == 1

        await soon(gone)


async def test_a_disabled_account_is_refused_elsewhere_and_its_streams_look_at_once(stage: list[house.House]):
    operator, first, second, deaf = stage
    account = await remembered(stage)
    opened = await first.channels.known.find("terminal", account.id)
    with first.channels.replies.follow(opened) as follower:
        following = asyncio.create_task(_until_refused(follower.after))
        await operator.channels.accounts.disable(ACME, account.id)
        async with asyncio.timeout(WELL_BEFORE_S):
            assert await following == "account_disabled"
    assert not (await deaf.channels.known.find("terminal", account.id))[0].disabled

    async def disabled() -> bool:
        return (await second.channels.known.find("terminal", account.id))[0].disabled

    await soon(disabled)


async def _until_refused(after: Callable[[int], Awaitable[object]]) -> str:
    while True:
        try:
            await after(0)
        except errors.Rejected as error:
            return error.code


async def test_a_suspended_tenant_is_refused_elsewhere_and_welcome_again(stage: list[house.House]):
    operator, *listening, deaf = stage
    await remembered(stage)

    async def may_act(process: house.House) -> bool:
        try:
            await process.tenancy.require_active(ACME)
        except errors.Rejected:
            return False
        return True

    await operator.tenancy.suspend(ACME)
    assert await may_act(deaf)
    for process in listening:

        async def refused(process: house.House = process) -> bool:
            return not await may_act(process)

        await soon(refused)
    await operator.tenancy.resume(ACME)
    for process in listening:

        async def welcome(process: house.House = process) -> bool:
            return await may_act(process)

        await soon(welcome)


async def test_a_tenant_and_an_account_that_were_missing_are_found_once_they_are_made(stage: list[house.House]):
    """What is not there is remembered too, so that made-up names cost little."""
    operator, first, *_ = stage
    with pytest.raises(errors.Rejected):
        await first.tenancy.require_active(ids.TenantId("globex"))
    await operator.tenancy.create("globex")

    async def found() -> bool:
        with contextlib.suppress(errors.Rejected):
            await first.tenancy.require_active(ids.TenantId("globex"))
            return True
        return False

    await soon(found)


async def test_a_change_of_configuration_is_seen_elsewhere(stage: list[house.House]):
    operator, first, *_ = stage
    made = await operator.channels.accounts.create(ACME, "webhook", "shop", config={"url": "https://one.test/"})
    await first.channels.known.find("webhook", made.account.id)
    await operator.channels.accounts.change(ACME, made.account.id, config={"url": "https://two.test/"})

    async def changed() -> bool:
        return (await first.channels.known.find("webhook", made.account.id))[0].config["url"] == "https://two.test/"

    await soon(changed)
