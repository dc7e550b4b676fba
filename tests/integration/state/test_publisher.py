"""The publisher on a real Postgres: order, failure, recovery, and who may publish."""

import asyncio
import random

import psycopg
import pytest

from penstock.base import errors
from penstock.database import migrations, pool
from penstock.servers import testing as servers
from penstock.spine import provision
from penstock.state import failures, limits, outbox, publisher
from tests.integration.state import conftest
from tests.integration.state.conftest import until


async def test_what_is_committed_is_published_at_once_and_in_order(shop, database, counter, publishing):
    await publishing.start()
    await until(_leads(publishing))
    await shop.append(database, range(50), keys=5)
    await shop.until_published(database, 50)
    for key in range(5):
        assert counter.numbers(f"acme/k{key}") == list(range(key, 50, 5))
    assert counter.most_of_a_key == 1
    async with database.transaction("shop", ["acme"]) as transaction:
        places = await transaction.fetch_all("select stream_seq from shop.outbox")
    assert sorted(place[0] for place in places) == list(range(1, 51))


async def test_the_commit_wakes_the_publisher_long_before_it_would_poll(shop, database, counter):
    lazy = publisher.Publisher(database, counter, "shop", limit=limits.PublisherLimits(poll_s=30.0))
    await lazy.start()
    await until(_leads(lazy))
    for number in range(3):
        await shop.append(database, [number])

        async def arrived(number=number):
            return len(counter.taken) > number

        await until(arrived)
    await lazy.stop()


async def test_rows_of_another_process_are_found_by_polling(shop, database, counter, publishing):
    await publishing.start()
    await until(_leads(publishing))
    listeners, outbox._listeners["shop"] = outbox._listeners["shop"], set()
    try:
        await shop.append(database, [1])
        await shop.until_published(database, 1)
    finally:
        outbox._listeners["shop"] = listeners


async def test_without_a_connection_nothing_is_sent_and_others_get_their_turn(shop, database, counter, publishing):
    counter.connected_as = 0
    await publishing.start()
    await until(_leads(publishing))
    await shop.append(database, range(5))
    await until(_shuts(publishing, shop.stream))
    assert counter.taken == []
    counter.connected_as = 2
    await shop.until_published(database, 5)
    counter.connected_as = 3
    await shop.append(database, range(5, 10))
    await shop.until_published(database, 10)
    assert counter.numbers("acme/k0") == list(range(10))


async def test_rows_of_every_tenant_are_published(shop, database, counter, publishing):
    await publishing.start()
    for tenant in ("acme", "globex"):
        await shop.append(database, range(3), tenant=tenant)

    async def all_there():
        return len(counter.taken) == 6

    await until(all_there)
    assert [counter.numbers(f"{tenant}/k0") for tenant in ("acme", "globex")] == [[0, 1, 2]] * 2


async def test_a_failed_message_is_never_overtaken_within_its_key(shop, database, counter, publishing):
    chance = random.Random(1)

    async def fate(_):
        await asyncio.sleep(chance.choice([0, 0, 0.002]))
        draw = chance.random()
        if draw < 0.15:
            raise errors.Unavailable("away", "no answer")
        if draw < 0.2:
            raise errors.Rejected("no_stream", "there is no such stream")

    counter.fate = fate
    await publishing.start()
    for begin in range(0, 300, 20):
        await shop.append(database, range(begin, begin + 20), keys=6)
    await shop.until_published(database, 300, within_s=40)
    assert [counter.numbers(f"acme/k{key}") for key in range(6)] == [list(range(key, 300, 6)) for key in range(6)]
    assert counter.most_of_a_key == 1


async def test_commits_go_on_while_the_spine_is_away_and_everything_flows_afterwards(
    shop, database, counter, publishing
):
    away = True

    async def fate(_):
        if away:
            raise errors.Unavailable("nats_unreachable", "no answer")

    counter.fate = fate
    await publishing.start()
    for begin in range(0, 3000, 100):
        await shop.append(database, range(begin, begin + 100), keys=50)
    assert (await shop.counts(database))[:2] == (3000, 0)
    away = False
    await shop.until_published(database, 3000)
    assert counter.numbers("acme/k7") == list(range(7, 3000, 50))


async def test_a_row_that_can_never_be_published_is_given_up_and_can_be_revived(shop, database, counter, publishing):
    refuse = {2}

    async def fate(message):
        if int(message.headers["number"]) in refuse:
            raise errors.Rejected("too_large", "larger than the server's limit")

    counter.fate = fate
    await publishing.start()
    await shop.append(database, range(5))
    await shop.until_published(database, 4)
    assert counter.numbers("acme/k0") == [0, 1, 3, 4]
    assert await shop.counts(database) == (0, 4, 1)
    refuse.clear()
    given_up = failures.Failures(database, ["shop", "state"])
    assert [(row.room, row.message_id[-2:], row.failure) for row in await given_up.list("acme")] == [
        ("shop", ":2", "too_large")
    ]
    assert await given_up.list("globex") == []
    assert await given_up.revive("globex") == 0
    assert await given_up.revive("acme") == 1
    await shop.until_published(database, 5)
    assert await given_up.list("acme") == []


async def test_a_refused_row_holds_up_its_own_key_only_and_not_for_ever(shop, database, counter):
    async def fate(message):
        if message.key == "acme/k0" and int(message.headers["number"]) == 0:
            raise errors.Rejected("wrong_stream", "the stream says no")

    counter.fate = fate
    limit = limits.PublisherLimits(attempts=4, window=4, capacity=20)
    strict = publisher.Publisher(database, counter, "shop", limit=limit)
    await strict.start()
    await shop.append(database, range(0, 600, 2), keys=2)  # all of key 0, far more than fits into memory
    await shop.append(database, range(1, 100, 2), keys=2)

    async def others_are_through():
        return len(counter.numbers("acme/k1")) == 50

    await until(others_are_through)
    await shop.until_published(database, 299 + 50)
    assert counter.numbers("acme/k0") == list(range(2, 600, 2))
    assert await shop.counts(database) == (0, 349, 1)
    await strict.stop()


async def test_an_exception_nobody_thought_of_is_a_refusal_and_not_the_end(shop, database, counter):
    failed = []

    async def fate(message):
        if not failed:
            failed.append(message)
            raise ZeroDivisionError

    counter.fate = fate
    strict = publisher.Publisher(database, counter, "shop")
    await strict.start()
    await shop.append(database, range(3))
    await shop.until_published(database, 3)
    assert counter.numbers("acme/k0") == [0, 1, 2]
    await strict.stop()


async def test_stopping_waits_for_what_is_on_its_way_and_records_it(shop, database, counter, publishing):
    on_way, answer = asyncio.Event(), asyncio.Event()

    async def fate(_):
        on_way.set()
        await answer.wait()

    counter.fate = fate
    await publishing.start()
    await shop.append(database, range(2))
    await on_way.wait()
    stopping = asyncio.create_task(publishing.stop())
    await asyncio.sleep(0)
    answer.set()
    await stopping
    assert await shop.counts(database) == (1, 1, 0)
    assert len(counter.taken) == 1


async def test_only_one_publishes_and_the_standby_takes_over_when_its_connection_dies(shop, database, counter):
    one, other = shop.open("one"), shop.open("other")
    publishers = [publisher.Publisher(one, counter, "shop"), publisher.Publisher(other, counter, "shop")]
    for each in publishers:
        await each.start()

    async def somebody_leads():
        return any(each.leads for each in publishers)

    await until(somebody_leads)
    await shop.append(database, range(20), keys=4)
    await shop.until_published(database, 20)
    assert sum(each.leads for each in publishers) == 1
    leader = next(each for each in publishers if each.leads)
    standby = next(each for each in publishers if not each.leads)
    await _terminate(shop, leader.backend_pid)
    await until(_leads(standby))
    await shop.append(database, range(20, 40), keys=4)
    await shop.until_published(database, 40)
    for key in range(4):
        assert counter.numbers(f"acme/k{key}") == list(range(key, 40, 4))
    for each in publishers:
        await each.stop()
    for opened in (one, other):
        await opened.close()


async def test_a_publisher_that_lost_its_lease_records_nothing_and_starts_nothing(shop, database, counter):
    stuck = asyncio.Event()

    async def fate(_):
        stuck.set()
        await asyncio.Event().wait()

    counter.fate = fate
    first = publisher.Publisher(database, counter, "shop")
    await first.start()
    await shop.append(database, range(3))
    await stuck.wait()
    counter.fate = counter.let_pass
    await _terminate(shop, first.backend_pid)
    await shop.until_published(database, 3)
    assert counter.numbers("acme/k0") == [0, 1, 2]
    assert counter.running == {"acme/k0": 0}, "what was on its way under the old lease was let go"
    await first.stop()


async def test_a_postgres_that_stops_and_starts_is_outlived(server_folder, counter, shop):
    async with servers.running_postgres(server_folder / "data", durable=True) as first:
        await migrations.migrate(first.url(), conftest.SCHEMAS, login=conftest.LOGIN)
        url = first.url(user=conftest.LOGIN.name, password=conftest.LOGIN.password.reveal())
        database = pool.Database(url, application="test")
        outliving = publisher.Publisher(database, counter, "shop")
        await outliving.start()
        await shop.append(database, range(5))
        await shop.until_published(database, 5)

    async def lost():
        return not outliving.leads

    await until(lost)
    async with servers.running_postgres(server_folder / "data", durable=True):
        await until(_leads(outliving))
        await shop.append(database, range(5, 8))
        await shop.until_published(database, 8)
        await outliving.stop()
        await database.close()
    assert counter.numbers("acme/k0") == list(range(8))


async def test_a_real_stream_gets_everything_once_and_says_where(shop, database, spine):
    real = publisher.Publisher(database, spine, "shop")
    await real.start()
    await shop.append(database, range(500), keys=20)
    await shop.until_published(database, 500)
    async with database.transaction("shop", ["acme"]) as transaction:
        places = await transaction.fetch_all("select stream_seq from shop.outbox order by stream_seq")
    assert [place[0] for place in places] == list(range(1, 501))
    await real.stop()


@pytest.mark.parametrize("size", [2 << 20])
async def test_a_message_too_large_for_the_server_does_not_block_its_key(shop, database, spine, size):
    real = publisher.Publisher(database, spine, "shop")
    await real.start()
    async with database.transaction("shop", ["acme"]) as transaction:
        await outbox.append(transaction, [shop.outgoing(1, body=b"x" * size), shop.outgoing(2)])
    await shop.until_published(database, 1)
    assert await shop.counts(database) == (0, 1, 1)
    await real.stop()


async def test_rows_wait_for_a_stream_that_is_made_late(shop, database, spine):
    late = conftest.Shop(shop.url, shop.admin_url, f"{shop.stream}_LATE")
    real = publisher.Publisher(database, spine, "shop")
    await real.start()
    await late.append(database, range(3))
    await shop.append(database, [7], keys=10)
    await shop.until_published(database, 1)
    await provision.streams(spine, late.streams())
    await shop.until_published(database, 4)
    await real.stop()


def _leads(each):
    async def leads():
        return each.leads

    return leads


def _shuts(each, stream):
    async def shut():
        return stream in each.shut

    return shut


async def _terminate(shop, pid):
    async with await psycopg.AsyncConnection.connect(shop.admin_url, autocommit=True) as admin:
        await admin.execute("select pg_terminate_backend(%s)", (pid,))
