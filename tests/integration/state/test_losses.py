"""What a stream loses after it had acknowledged it is noticed and sent again, whatever took it, and in order."""

import asyncio
import contextlib
import dataclasses
import sys
from pathlib import Path

import pytest

from penstock.spine import consumer, ports
from penstock.state import keeper, limits, outbox, publisher
from penstock.state import losses as every
from tests.integration.state.conftest import until
from tests.integration.state.losing import losing_store

KEYS = 3


@pytest.fixture
async def store(shop, server_folder):
    async with losing_store(server_folder / "data", shop.streams()) as store:
        yield store


@pytest.fixture
async def spine(store):
    """In place of the shared server's."""
    opened = await store.spine()
    await store.provide(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def carrying(database, spine, store):
    """A publisher that runs; it looks often, so that tests need not wait for it."""
    limit = limits.PublisherLimits(look_s=0.1, policies=store.policies)
    made = publisher.Publisher(database, spine, "shop", limit=limit)
    await made.start()
    yield made
    await made.stop()


async def say(shop, database, numbers):
    """Append and see them published."""
    before = (await shop.counts(database))[1]
    await shop.append(database, numbers, keys=KEYS)
    await shop.until_published(database, before + len(numbers))


async def stored(shop, spine):
    """The numbers in the stream, in its order."""
    state = await spine.stream_state(shop.stream)
    found = [await spine.message(shop.stream, place) for place in range(state.first, state.last + 1)]
    return [int(message.headers.get("number", -1)) for message in found if message]


def in_order(numbers, expected):
    """Everything is there, and within a key nothing arrived for the first time behind something newer."""
    firsts = list(dict.fromkeys(number for number in numbers if number >= 0))
    assert sorted(firsts) == list(expected)
    for key in range(KEYS):
        mine = [number for number in firsts if number % KEYS == key]
        assert mine == sorted(mine)


async def losses(database):
    async with database.transaction("shop") as transaction:
        return await transaction.fetch_all("select why, refilled, finished_at from shop.outbox_loss order by number")


async def refilled(shop, database, spine, total):
    """Once a loss was noticed and everything is there again."""

    async def done():
        return [loss for loss in await losses(database) if loss[2]] and (await shop.counts(database))[:2] == (0, total)

    await until(done)
    return [loss[:2] for loss in await losses(database)]


async def test_a_store_that_is_deleted_under_the_running_system_is_filled_again(shop, database, store, spine, carrying):
    await say(shop, database, range(50))
    adding = asyncio.create_task(keep_adding(shop, database, range(50, 150)))
    await store.lose()
    await store.provide(spine)
    await adding
    ((why, again),) = await refilled(shop, database, spine, 150)
    assert (why, again >= 50) == ("recreated", True)
    in_order(await stored(shop, spine), range(150))


async def keep_adding(shop, database, numbers):
    for number in numbers:
        await shop.append(database, [number], keys=KEYS)


async def test_a_stream_that_somebody_deletes_is_filled_again_once_it_is_there(shop, database, store, spine, carrying):
    await say(shop, database, range(30))
    async with store.operator() as operator:
        await operator.delete_stream(shop.stream)
    await shop.append(database, range(30, 40), keys=KEYS)
    await until(shuts(carrying, shop.stream))
    await store.provide(spine)
    assert await refilled(shop, database, spine, 40) == [("recreated", 30)]
    in_order(await stored(shop, spine), range(40))


def shuts(carrying, stream):
    async def shut():
        return stream in carrying.shut

    return shut


async def test_a_stream_that_is_deleted_and_made_again_at_once_is_noticed_although_nothing_is_sent(
    shop, database, store, spine, carrying
):
    await say(shop, database, range(30))
    async with store.operator() as operator:
        await operator.delete_stream(shop.stream)
        await store.provide(spine)
    assert await refilled(shop, database, spine, 30) == [("recreated", 30)]
    assert await stored(shop, spine) == list(range(30))


async def test_an_older_copy_of_the_store_gets_what_it_lacks(shop, database, store, spine, carrying):
    await say(shop, database, range(20))
    await store.copy()
    await say(shop, database, range(20, 50))
    await store.restore()
    assert await refilled(shop, database, spine, 50) == [("shortened", 50)]
    in_order(await stored(shop, spine), range(50))


async def test_an_older_copy_that_has_grown_past_the_lost_tail_is_noticed_all_the_same(
    shop, database, store, spine, carrying
):
    await say(shop, database, range(20))
    await store.copy()
    await say(shop, database, range(20, 50))
    await carrying.stop()
    await store.restore()
    for number in range(40):
        subject, headers = f"tenant.acme.{shop.stream}.x", {"Nats-Msg-Id": f"acme:stranger:{number}"}
        await spine.publish(ports.Outgoing(shop.stream, subject, "k", headers, b"stranger"))
    await carrying.start()
    assert await refilled(shop, database, spine, 50) == [("replaced", 50)]
    in_order(await stored(shop, spine), range(50))


async def test_what_an_operator_purges_or_deletes_is_gone_on_purpose(shop, database, store, spine, carrying):
    await say(shop, database, range(20))
    async with store.operator() as operator:
        await operator.purge_stream(shop.stream)
        await say(shop, database, range(20, 30))
        await operator.delete_msg(shop.stream, 30)
    await say(shop, database, range(30, 40))
    async with store.held.away():
        await shop.append(database, range(40, 50), keys=KEYS)
    await shop.until_published(database, 50)
    assert await losses(database) == []
    assert sorted(await stored(shop, spine)) == [*range(20, 29), *range(30, 50)]


POINTS = ("before_durables", "before_noted", "after_noted", "after_batch", "before_finish", "after_finish")


@pytest.mark.parametrize("point", POINTS)
async def test_a_publisher_that_is_killed_while_it_refills_leaves_the_rest_to_the_next_one(
    point, shop, database, store, spine
):
    app = consumer.ConsumerPolicy("app_acme_echo", shop.stream, f"tenant.*.{shop.stream}.>")
    await spine.create_consumer(app)
    keeping = keeper.Keeper(database, spine, policies=store.policies, look_s=0.02)
    await keeping.start()
    process = await dying(point, shop, store)
    try:
        await say(shop, database, range(50))
        await until(looks(keeping, keeping.looks + 2))
        await keeping.stop()
        await store.lose()
        await shop.append(database, range(50, 70), keys=KEYS)
        await store.provide(spine)
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -9
    assert f"hit {point}" in output.decode(), "the crash point was reached"
    async with carried_on(database, spine, store):
        again = await refilled(shop, database, spine, 70)
    assert again == [("recreated", 50)]
    assert await spine.describe_consumer(shop.stream, app.name) is not None
    in_order(await stored(shop, spine), range(70))


async def dying(point, shop, store):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("dying.py")),
        point,
        shop.url,
        store.url,
        stdout=asyncio.subprocess.PIPE,
    )


def looks(keeping, number):
    async def looked():
        return keeping.looks >= number

    return looked


@contextlib.asynccontextmanager
async def carried_on(database, spine, store, room="shop"):
    limit = limits.PublisherLimits(look_s=0.1, policies=store.policies)
    made = publisher.Publisher(database, spine, room, limit=limit)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_of_two_that_stand_by_one_refills_and_once(shop, database, store, spine, carrying):
    await say(shop, database, range(30))
    async with carried_on(database, spine, store) as other:
        await store.lose()
        await store.provide(spine)
        assert await refilled(shop, database, spine, 30) == [("recreated", 30)]
        assert (carrying.leads, other.leads) == (True, False)
        await carrying.stop()
        await until(leads(other))
        await shop.append(database, range(30, 40), keys=KEYS)
        await shop.until_published(database, 40)
    assert len(await losses(database)) == 1
    assert await stored(shop, spine) == list(range(40))


def leads(each):
    async def leading():
        return each.leads

    return leading


async def test_each_room_refills_what_it_had_sent(shop, database, store, spine, carrying):
    await say(shop, database, range(30))
    async with carried_on(database, spine, store, "state"):
        async with database.transaction("state", ["acme"]) as transaction:
            await outbox.append(transaction, [shop.outgoing(number) for number in range(30, 40)])
        await until(holds(shop, spine, 40))
        await store.lose()
        await store.provide(spine)
        await until(holds(shop, spine, 40))
        noticed = await every.Losses(database, ["shop", "state"]).list()
    numbers = await stored(shop, spine)
    in_order([number for number in numbers if number < 30], range(30))
    in_order([number for number in numbers if number >= 30], range(30, 40))
    assert sorted((loss.room, loss.refilled) for loss in noticed) == [("shop", 30), ("state", 10)]
    assert {(loss.stream, loss.why, loss.since) for loss in noticed} == {(shop.stream, "recreated", None)}
    assert len(await every.Losses(database, ["shop", "state"]).list(limit=1)) == 1


def holds(shop, spine, number):
    async def held():
        state = await spine.stream_state(shop.stream)
        return state is not None and state.messages == number

    return held


async def test_a_stream_that_is_missing_starves_no_other(shop, database, store, spine, carrying):
    """Thousands of rows wait for a stream that is not there; those of another one leave at once."""
    absent = dataclasses.replace(shop, stream=f"{shop.stream}_ABSENT")
    await absent.append(database, range(5000), keys=50)
    await shop.append(database, range(20), keys=KEYS)
    await shop.until_published(database, 20, within_s=10)
    store.policies = [*store.policies, *absent.streams()]
    await store.provide(spine)
    await shop.until_published(database, 5020, within_s=30)


async def test_a_stream_that_is_full_starves_no_other(shop, database, store, spine, carrying):
    tiny = dataclasses.replace(shop, stream=f"{shop.stream}_TINY")
    policies = [dataclasses.replace(policy, max_bytes=4000, discard="new") for policy in tiny.streams()]
    store.policies = [*store.policies, *policies]
    await store.provide(spine)
    await tiny.append(database, range(3000), keys=50)
    await until(lambda: some_published(tiny, spine))
    await shop.append(database, range(2000), keys=KEYS)

    async def arrived():
        return (await spine.stream_state(shop.stream)).last == 2000

    await until(arrived)
    assert (await spine.stream_state(tiny.stream)).last < 100


async def some_published(shop, spine):
    return (await spine.stream_state(shop.stream)).last > 10
