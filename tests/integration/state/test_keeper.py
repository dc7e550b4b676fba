"""The keeper on real servers: what it writes of every durable, and how it makes durables again that were lost."""

import contextlib
import dataclasses
import datetime
from types import SimpleNamespace

import psycopg
import pytest

from penstock.base import errors
from penstock.spine import consumer, stream
from penstock.state import keeper, ledger, limits, publisher, relay
from tests.integration.state.conftest import until
from tests.integration.state.losing import losing_store

NOW = datetime.datetime.now
DURABLE = "app_acme_echo"


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
async def keeping(database, spine, store):
    made = keeper.Keeper(database, spine, policies=store.policies, look_s=0.02)
    await made.start()
    yield made
    await made.stop()


def durable(shop, name=DURABLE, **kinds):
    return consumer.ConsumerPolicy(name, shop.stream, f"tenant.*.{shop.stream}.>", **kinds)


async def looked(keeping, times=2):
    """The keeper has looked at everything since this was called."""
    before = keeping.looks

    async def done():
        return keeping.looks >= before + times

    await until(done)


async def noted(shop, name, last):
    """The publisher, which looks when it likes, has written down how far a stream is that others fill."""
    async with await psycopg.AsyncConnection.connect(shop.admin_url, autocommit=True) as admin:

        async def found():
            asked = await admin.execute("select last_seq from shop.outbox_stream where stream = %s", (name,))
            return await asked.fetchone() == (last,)

        await until(found)


async def publish(shop, spine, numbers):
    for number in numbers:
        await spine.publish(shop.outgoing(number))


async def exists(spine, policy):
    """Wait until somebody has made this durable."""

    async def there():
        return await spine.describe_consumer(policy.stream, policy.name) is not None

    await until(there)


async def settle(spine, policy, count):
    """Take and acknowledge that many messages, as soon as the durable is there."""
    taken = []
    await exists(spine, policy)
    receiving = await spine.consume(policy, taken.append, window=count)

    async def arrived():
        return len(taken) >= count

    await until(arrived)
    for delivery in taken[:count]:
        await delivery.ack()
    await receiving.close()
    return [int(delivery.headers["number"]) for delivery in taken[:count]]


async def written(database):
    """What is kept of the durables of present lives."""
    async with database.transaction("state") as transaction:
        rows = await transaction.fetch_all(
            "select name, floor_seq, floor_at from state.durable join state.stream_life using (stream, life) "
            "where ended_at is null"
        )
    return {name: (sequence, at) for name, sequence, at in rows}


async def test_a_floor_is_a_time_before_which_everything_is_settled(shop, database, spine, keeping):
    policy = durable(shop)
    await spine.create_consumer(policy)
    await publish(shop, spine, range(3))
    between = NOW(datetime.UTC)
    await looked(keeping)
    await publish(shop, spine, range(3, 6))
    await settle(spine, policy, 3)
    await looked(keeping)
    sequence, at = (await written(database))[DURABLE]
    fourth = (await spine.message(shop.stream, 4)).at
    assert sequence == 3
    assert between <= at <= fourth, "all before was settled, and what was stored then was not"
    begun = NOW(datetime.UTC)
    await settle(spine, policy, 3)
    await looked(keeping)
    assert (await written(database))[DURABLE][1] >= begun, "idle: everything so far"


async def test_a_keeper_that_begins_late_knows_since_when_messages_wait(shop, database, spine, store):
    policy = durable(shop)
    await spine.create_consumer(policy)
    await publish(shop, spine, range(4))
    await settle(spine, policy, 2)
    third = (await spine.message(shop.stream, 3)).at
    async with keeping_for_a_while(database, spine, store) as late:
        await looked(late)
    assert (await written(database))[DURABLE] == (2, third)
    async with keeping_for_a_while(database, spine, store) as again:
        await publish(shop, spine, [4])
        await looked(again)
        assert (await written(database))[DURABLE] == (2, third), "the next keeper knows it too"


async def test_a_process_whose_clock_is_ahead_claims_nothing_that_is_not_settled(
    shop, database, spine, store, monkeypatch
):
    """What is sent again is chosen by the database's clock: a floor in its future would leave rows out."""

    class Ahead(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + datetime.timedelta(hours=1)

    monkeypatch.setattr(keeper, "datetime", SimpleNamespace(datetime=Ahead, UTC=datetime.UTC))
    await spine.create_consumer(durable(shop))
    async with keeping_for_a_while(database, spine, store) as ahead:
        await looked(ahead)
    assert (await written(database))[DURABLE][1] <= NOW(datetime.UTC)


async def test_a_floor_noted_under_a_wrong_clock_is_forgotten(shop, database, spine, store):
    await spine.create_consumer(durable(shop))
    await publish(shop, spine, range(3))
    first = (await spine.message(shop.stream, 1)).at
    async with keeping_for_a_while(database, spine, store) as before:
        await looked(before)
    async with database.transaction("state") as transaction:
        await transaction.execute("update state.durable set floor_at = now() + interval '1 hour'")
    async with keeping_for_a_while(database, spine, store) as again:
        await looked(again)
    assert (await written(database))[DURABLE] == (0, first)


@contextlib.asynccontextmanager
async def keeping_for_a_while(database, spine, store):
    made = keeper.Keeper(database, spine, policies=store.policies, look_s=0.02)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_durables_of_a_lost_stream_are_made_again_and_read_it_from_its_beginning(
    shop, database, store, spine, keeping
):
    await spine.create_consumer(durable(shop, deliver_new=True, ack_wait_s=17.0))
    await spine.create_consumer(durable(shop, "strangers-own"))
    await publish(shop, spine, range(3))
    await looked(keeping)
    await store.lose()
    await store.provide(spine)
    await publish(shop, spine, range(10, 13))
    await exists(spine, durable(shop))
    policy = await spine.describe_consumer(shop.stream, DURABLE)
    assert policy == durable(shop, ack_wait_s=17.0, max_deliver=policy.max_deliver)
    assert await settle(spine, policy, 3) == [10, 11, 12]
    assert await spine.describe_consumer(shop.stream, "strangers-own") is None, "what it was, only its owner knows"


async def test_what_was_known_before_a_loss_is_still_there_for_publishers(shop, database, store, spine, keeping):
    await spine.create_consumer(durable(shop))
    await publish(shop, spine, range(3))
    await looked(keeping)
    before = (await written(database))[DURABLE]
    await store.lose()
    await store.provide(spine)
    await looked(keeping)
    table = await relay.connect(database, "shop")
    book = ledger.Ledger(table)
    assert await book.oldest_floor(shop.stream, NOW(datetime.UTC)) <= before[1]
    assert [policy.name for policy in await book.durables(shop.stream, NOW(datetime.UTC))] == [DURABLE]
    table.close()


async def test_a_durable_that_is_deleted_on_purpose_is_forgotten(shop, database, store, spine, keeping):
    await spine.create_consumer(durable(shop))
    await spine.create_consumer(durable(shop, "app_acme_other"))
    await publish(shop, spine, range(3))
    await looked(keeping)
    async with store.operator() as operator:
        await operator.delete_consumer(shop.stream, DURABLE)
    await looked(keeping)
    assert set(await written(database)) == {"app_acme_other"}
    await store.lose()
    await store.provide(spine)
    await exists(spine, durable(shop, "app_acme_other"))
    await looked(keeping)
    assert await spine.describe_consumer(shop.stream, DURABLE) is None


async def test_only_one_keeps_and_the_other_takes_over(shop, database, store, spine, keeping):
    await spine.create_consumer(durable(shop))
    await looked(keeping)
    other = keeper.Keeper(database, spine, policies=store.policies, look_s=0.02)
    await other.start()
    await looked(keeping)
    assert other.looks == 0
    await keeping.stop()
    await looked(other)
    await other.stop()


async def test_neither_rooms_nor_the_relay_may_write_floors(database, shop):
    async def write(sql):
        session = await database.session("relay")
        try:
            await session.execute(sql)
        finally:
            session.close()

    for sql in (
        "delete from state.durable",
        "update state.stream_life set last_seq = 0",
        "delete from state.floor_mark",
    ):
        with pytest.raises(errors.Broken) as raised:
            await write(sql)
        assert raised.value.code == "permission_denied"
    for sql in ("select * from state.durable", "update shop.outbox_stream set last_seq = 0"):
        with pytest.raises(errors.Broken) as raised:
            async with database.transaction("shop", ["acme"]) as transaction:
                await transaction.execute(sql)
        assert raised.value.code == "permission_denied"


async def test_a_refill_begins_ten_minutes_before_the_oldest_floor(shop, database, store, spine, keeping):
    """Rows published long ago, which every durable has settled, are not sent again."""
    policy = durable(shop)
    await spine.create_consumer(policy)
    limit = limits.PublisherLimits(look_s=0.05, policies=store.policies)
    carrying = publisher.Publisher(database, spine, "shop", limit=limit)
    await carrying.start()
    await shop.append(database, range(20))
    await shop.until_published(database, 20)
    await settle(spine, policy, 20)
    await shop.age(range(10), minutes=30)
    await shop.age(range(10, 20), minutes=5)
    await looked(keeping, 4)
    await store.lose()
    await store.provide(spine)
    assert await settle(spine, policy, 10) == list(range(10, 20))
    assert (await spine.stream_state(shop.stream)).last == 10
    await carrying.stop()


async def test_what_a_handler_said_is_made_again_by_sending_it_what_it_heard(shop, database, store, spine):
    """Only the stream of replies is lost: the one that its fillers read is intact, and gets its messages once more."""
    replies = stream.StreamPolicy(
        f"{shop.stream}_REPLIES",
        (f"tenant.*.{shop.stream}_REPLIES.>",),
        "replies",
        max_bytes=64 << 20,
        filled_by=(shop.stream,),
    )
    store.policies = [*store.policies, replies]
    await store.provide(spine)
    app = durable(shop)
    sender = dataclasses.replace(app, name="outbound", stream=replies.name, filter=f"tenant.*.{replies.name}.>")
    for policy in (app, sender):
        await spine.create_consumer(policy)
    limit = limits.PublisherLimits(look_s=0.05, policies=store.policies)
    carrying = publisher.Publisher(database, spine, "shop", limit=limit)
    async with keeping_for_a_while(database, spine, store) as keeping:
        await carrying.start()
        await shop.append(database, range(20))
        await shop.until_published(database, 20)
        said = await settle(spine, app, 20)
        for number in said:
            outgoing = shop.outgoing(number)
            subject = f"tenant.acme.{replies.name}.{number}"
            await spine.publish(dataclasses.replace(outgoing, stream=replies.name, subject=subject))
        assert await settle(spine, sender, 5) == list(range(5))
        await looked(keeping)
        await noted(shop, replies.name, 20)
        async with store.operator() as operator:
            await operator.delete_stream(replies.name)
        await store.provide(spine)
        assert await settle(spine, app, 20) == list(range(20)), "within the duplicate window, and yet not dropped"
        assert (await spine.stream_state(shop.stream)).last == 40
        await looked(keeping)
        assert await spine.describe_consumer(replies.name, "outbound") is not None
    await carrying.stop()
