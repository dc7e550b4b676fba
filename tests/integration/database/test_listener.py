"""What one process changes, another hears: once it is committed, as a login without rights, and again after a break."""

import asyncio
import contextlib
import functools

import pytest

from penstock.base import errors
from penstock.database import changes, listener
from tests.integration.database.conftest import login_url
from tests.integration.database.test_recovery import kill_all, until


class Ear:
    """What was heard, in order; `lost` counts how often everything had to be forgotten."""

    def __init__(self, url: str) -> None:
        self.listener = listener.Listener(url, application="test")
        self.heard: list[tuple[str, str]] = []
        self.lost = 0
        for topic in sorted(changes.TOPICS):
            self.listener.on(topic, functools.partial(self.hear, topic), self.forget_all)

    def hear(self, topic: str, id: str) -> None:
        self.heard.append((topic, id))

    def forget_all(self) -> None:
        self.lost += 1

    async def until_heard(self, topic: str, id: str) -> None:
        async def condition() -> bool:
            return (topic, id) in self.heard

        await until(condition)


@pytest.fixture
async def ear(rooms):
    found = Ear(login_url(rooms))
    await found.listener.start()
    async with asyncio.timeout(20):
        await found.listener.hears()
    yield found
    await found.listener.stop()


async def tell(database, topic, id):
    async with database.transaction("kitchen", ["acme"]) as transaction:
        changes.tell(transaction, topic, id)


def test_what_is_listened_to_is_what_is_told():
    assert changes.LISTEN.split() == ["listen", changes.CHANNEL]


async def test_what_is_committed_is_heard_and_what_is_rolled_back_is_not(database, ear):
    with contextlib.suppress(errors.Broken):
        async with database.transaction("kitchen", ["acme"]) as transaction:
            changes.tell(transaction, changes.ACCOUNT, "acc-never")
            raise errors.Broken("no", "no")
    await tell(database, changes.ACCOUNT, "acc-1")
    await tell(database, changes.TENANT, "acme")
    await ear.until_heard(changes.TENANT, "acme")
    assert ear.heard == [(changes.ACCOUNT, "acc-1"), (changes.TENANT, "acme")]


async def test_a_change_is_there_when_it_is_heard(database, ear):
    """Whoever looks because of the news finds it: never what was true before."""
    seen: list[int] = []

    async def look(expected: int) -> None:
        async with database.transaction("kitchen", ["acme"]) as transaction:
            row = await transaction.fetch_one("select size from kitchen.dish where name = 'soup'")
        assert row is not None
        seen.append(row[0] - expected)

    async with database.transaction("kitchen", ["acme"]) as transaction:
        await transaction.execute("insert into kitchen.dish values ('acme', 'soup', 0)")
    for size in range(1, 21):
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute("update kitchen.dish set size = %s where name = 'soup'", (size,))
            changes.tell(transaction, changes.ACCOUNT, f"acc-{size}")
        await ear.until_heard(changes.ACCOUNT, f"acc-{size}")
        await look(size)
    assert seen == [0] * 20


async def test_after_a_break_everything_is_forgotten_and_hearing_goes_on(rooms, database, ear):
    before = ear.lost
    assert before > 0, "what was remembered before it listened is forgotten too"
    await kill_all(rooms)

    async def back() -> bool:
        return ear.lost > before

    await until(back)
    await tell(database, changes.ACCOUNT, "acc-2")
    await ear.until_heard(changes.ACCOUNT, "acc-2")


async def test_news_of_a_later_build_are_no_news_here(database, ear):
    for odd in ("weather", "account", "", "account "):
        async with database.transaction("kitchen", ["acme"]) as transaction:
            transaction.send("select pg_notify(%s, %s)", (changes.CHANNEL, odd))
    await tell(database, "weather", "rain")
    await tell(database, changes.ACCOUNT, "acc-3")
    await ear.until_heard(changes.ACCOUNT, "acc-3")
    assert ear.heard == [(changes.ACCOUNT, "acc-3")]


async def test_a_database_that_is_away_is_waited_for_and_nobody_waits_for_it_at_the_end():
    ear = Ear("postgresql://nobody@127.0.0.1:1/none")
    await ear.listener.start()
    hearing = asyncio.create_task(ear.listener.hears())
    await asyncio.wait([hearing], timeout=0.3)
    assert not hearing.done()
    hearing.cancel()
    async with asyncio.timeout(20):
        await ear.listener.stop()
    assert ear.lost == 0
