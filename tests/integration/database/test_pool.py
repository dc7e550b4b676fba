"""Transactions on a real Postgres: what they return, how they end, what they cost."""

import asyncio
import datetime

import pytest

from penstock.base import errors
from penstock.database import connect, pool
from tests.integration.database import conftest

DISH = "insert into kitchen.dish (tenant, name, size) values (%s, %s, %s)"


async def count(database, tenants=("acme",)):
    async with database.transaction("kitchen", tenants) as transaction:
        return (await transaction.fetch_one("select count(*) from kitchen.dish"))[0]


async def test_values_of_every_kind_come_back_as_they_went(database):
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=datetime.UTC)
    values = ("häß ☃", b"a\0b\xff", 7, 2**40, True, moment, ["a", None, 'b"\\'], 1.5, None)
    sql = (
        "select %s::text, %s::bytea, %s::int, %s::bigint, %s::bool, %s::timestamptz, %s::text[], %s::float8, %s::text,"
        " '{\"a\": [1]}'::jsonb, '50%%'"
    )
    async with database.transaction("kitchen", ["acme"]) as transaction:
        rows = [await transaction.fetch_one(sql, values) for _ in range(3)]  # sent, prepared, prepared before
    assert rows == [(*values, {"a": [1]}, "50%")] * 3


async def test_a_block_commits_at_its_end_and_then_tells(database):
    told = []
    async with database.transaction("kitchen", ["acme"]) as transaction:
        assert await transaction.execute(DISH, ("acme", "soup", 1)) == 1
        transaction.on_commit(lambda: told.append("committed"))
        assert told == []
    assert told == ["committed"]
    assert await count(database) == 1


async def test_a_block_that_raises_leaves_nothing_and_tells_nobody(database):
    told = []

    async def fail():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute(DISH, ("acme", "soup", 1))
            transaction.on_commit(lambda: told.append("committed"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await count(database), told) == (0, [])


async def test_a_listener_that_fails_does_not_undo_the_commit(database):
    def fail():
        raise ZeroDivisionError

    async with database.transaction("kitchen", ["acme"]) as transaction:
        transaction.send(DISH, ("acme", "soup", 1))
        transaction.on_commit(fail)
    assert await count(database) == 1


async def test_a_conflict_names_its_constraint(database):
    async with database.transaction("kitchen", ["acme"]) as transaction:
        transaction.send(DISH, ("acme", "soup", 1))
    for values, constraint in ((("acme", "soup", 1), "dish_pkey"), (("acme", "mud", 1), "dish_name_check")):
        with pytest.raises(errors.Rejected) as raised:
            async with database.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(DISH, values)
        assert (raised.value.code, raised.value.status, raised.value.constraint) == ("conflict", 409, constraint)


async def test_an_error_of_a_queued_statement_shows_at_the_next_round_trip(database):
    with pytest.raises(errors.Rejected) as raised:
        async with database.transaction("kitchen", ["acme"]) as transaction:
            transaction.send(DISH, ("acme", "mud", 1))
    assert raised.value.constraint == "dish_name_check"


async def test_an_error_that_was_caught_still_ends_the_transaction(database):

    async def carry_on():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute(DISH, ("acme", "soup", 1))
            for name in ("mud", "stew"):
                with pytest.raises(errors.Rejected):
                    await transaction.execute(DISH, ("acme", name, 1))

    with pytest.raises(errors.Rejected):
        await carry_on()
    assert await count(database) == 0


async def test_a_statement_that_failed_while_being_prepared_works_when_it_can(database):
    sql = "select size / %s from kitchen.dish where name = %s"

    async def fail():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            transaction.send("select 1/0")
            await transaction.fetch_all(sql, (1, "soup"))

    for _ in range(4):
        with pytest.raises(errors.Broken):
            await fail()
    for _ in range(4):
        async with database.transaction("kitchen", ["acme"]) as transaction:
            assert await transaction.fetch_all(sql, (1, "soup")) == []


async def test_text_that_postgres_cannot_hold_is_rejected_and_the_connection_lives_on(database):
    for text in ("nul \0", "half \ud800"):
        with pytest.raises(errors.Rejected) as raised:
            async with database.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(DISH, ("acme", text, 1))
        assert raised.value.code == "unstorable_text"
    assert await count(database) == 0


async def test_values_without_a_type_on_the_other_side_are_our_bug(database):
    async def send():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.fetch_one("select %s", (object(),))

    async def receive():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.fetch_one("select 'infinity'::timestamptz")

    for work in (send, receive):
        with pytest.raises(errors.Broken) as raised:
            await work()
        assert raised.value.code == "bad_value"
    await database.ping()
    assert await count(database) == 0


async def test_writing_costs_one_round_trip_and_reading_first_two(rooms):
    line = await connect.connect(conftest.login_url(rooms), application="test", limits=connect.Limits())
    binding = pool.Binding("penstock_kitchen", ["acme"])
    before = line.round_trips
    writing = pool.Transaction(line, "kitchen", binding, 5.0)
    writing.send(DISH, ("acme", "soup", 1))
    writing.send(DISH, ("acme", "stew", 1))
    await writing.commit()
    assert line.round_trips - before == 1
    reading = pool.Transaction(line, "kitchen", binding, 5.0)
    assert len(await reading.fetch_all("select name from kitchen.dish")) == 2
    await reading.commit()
    assert line.round_trips - before == 3
    await pool.Transaction(line, "kitchen", binding, 5.0).commit()
    assert line.round_trips - before == 3, "a transaction without statements costs nothing"
    line.close()


async def test_whoever_waits_longest_is_served_first_and_nobody_waits_for_ever(rooms):
    database = pool.Database(conftest.login_url(rooms), application="test", size=1, deadline_s=1.0)
    order, release, ready = [], asyncio.Event(), asyncio.Event()

    async def hold():
        async with database.transaction("kitchen") as transaction:
            await transaction.fetch_one("select 1")
            ready.set()
            await release.wait()

    async def queue(name):
        async with database.transaction("kitchen"):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(hold())
        await ready.wait()
        with pytest.raises(errors.Unavailable) as raised:
            await queue("impatient")
        assert raised.value.code == "database_busy"
        for name in ("first", "second", "third"):
            group.create_task(queue(name))
        await asyncio.sleep(0)
        release.set()
    assert order == ["first", "second", "third"]
    await database.close()


async def test_a_cancelled_waiter_and_a_cancelled_statement_cost_no_connection(rooms):
    database = pool.Database(conftest.login_url(rooms), application="test", size=1, deadline_s=2.0)
    running = asyncio.Event()

    async def slow():
        async with database.transaction("kitchen") as transaction:
            running.set()
            await transaction.fetch_one("select pg_sleep(30)")

    first, second = asyncio.create_task(slow()), asyncio.create_task(slow())
    await running.wait()
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await count(database) == 0
    await database.close()


async def test_sixty_four_tasks_share_four_connections(database):
    async def one(number):
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute(DISH, ("acme", f"dish {number}", number))

    async with asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(one(number))
    assert await count(database) == 64
    async with database.transaction("kitchen") as transaction:
        sessions = await transaction.fetch_one(
            "select count(*) from pg_stat_activity where application_name = 'test' and datname = current_database()"
        )
    assert sessions[0] <= 4


async def test_a_statement_that_takes_too_long_is_unavailable(rooms):
    limits = connect.Limits(statement_s=0.5)
    database = pool.Database(conftest.login_url(rooms), application="test", limits=limits)
    with pytest.raises(errors.Unavailable) as raised:
        async with database.transaction("kitchen") as transaction:
            await transaction.fetch_one("select pg_sleep(30)")
    assert raised.value.code == "database_slow"
    assert await count(database) == 0
    await database.close()


async def test_a_server_that_does_not_answer_is_noticed_by_the_client(rooms):
    limits = connect.Limits(statement_s=60.0, answer_s=0.1)
    database = pool.Database(conftest.login_url(rooms), application="test", limits=limits)
    with pytest.raises(errors.Unavailable) as raised:
        async with database.transaction("kitchen") as transaction:
            await transaction.fetch_one("select pg_sleep(1)")
    assert raised.value.code == "database_slow"
    await database.close()


async def test_a_long_answer_and_a_long_question_get_through(database):
    body = bytes(range(256)) * 40_000
    async with database.transaction("kitchen") as transaction:
        row = await transaction.fetch_one("select %s::bytea, length(%s::bytea)", (body, body))
    assert row == (body, len(body))
