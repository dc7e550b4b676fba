"""Group commit on a real Postgres: shared commits, the wall around each group, locks, and servers that die or stall."""

import asyncio
import dataclasses
import datetime
import json
import os
import signal
import time

import psycopg
import pytest

from penstock.base import errors
from penstock.database import column, group, migrations, pool, waiting
from penstock.servers import testing
from tests import standstill
from tests.integration.database import conftest

INSERT = """
insert into kitchen.dish (tenant, name, size) select * from unnest(%s::text[], %s::text[], %s::bigint[])
on conflict do nothing returning name"""


@dataclasses.dataclass
class Dish:
    """`owner` is whose the row is, `tenant` who the group is told that it is."""

    name: str
    size: int = 1
    tenant: str = "acme"
    owner: str = ""
    size_bytes: int = 10

    @property
    def key(self):
        return (self.tenant, self.name)

    @property
    def lane(self):
        return self.name


def cook(bound, dishes, places):
    columns = [
        column.Texts.of([column.text(dish.owner or dish.tenant) for dish in dishes]),
        column.Texts.of([column.text(dish.name) for dish in dishes]),
        column.Bigints.of([column.bigint(dish.size) for dish in dishes]),
    ]
    answer = bound.send(INSERT, columns)
    return lambda: [dish.name in {row[0] for row in answer.rows()} for dish in dishes]


def kitchen(database, **limits):
    return group.Group(database, "kitchen", cook, kind="dishes", limits=waiting.GroupLimits(**limits))


async def rows(database, tenants=("acme", "globex")):
    async with database.transaction("kitchen", tenants) as transaction:
        return await transaction.fetch_all("select tenant, name from kitchen.dish order by name")


async def outcomes(*futures):
    async with asyncio.timeout(20):
        return await asyncio.gather(*futures, return_exceptions=True)


async def commits(database):
    """Transactions that wrote rows of a dish so far: each has a number of its own."""
    async with database.transaction("kitchen", ("acme", "globex")) as transaction:
        return (await transaction.fetch_one("select count(distinct xmin::text) from kitchen.dish"))[0]


async def test_a_hundred_rows_at_once_share_a_commit(database):
    dishes = kitchen(database)
    assert await outcomes(*(dishes.join([Dish(str(number))]) for number in range(100))) == [[True]] * 100
    assert (len(await rows(database)), await commits(database)) == (100, 1)


async def test_a_row_that_postgres_refuses_fails_alone(database):
    dishes = kitchen(database)
    found = await outcomes(*(dishes.join([Dish("mud" if number == 30 else str(number))]) for number in range(64)))
    assert (found[30].code, found[30].constraint) == ("conflict", "dish_name_check")
    assert found[:30] + found[31:] == [[True]] * 63
    assert len(await rows(database)) == 63


async def test_rows_of_a_caller_are_written_all_or_none(database):
    dishes = kitchen(database)
    found = await outcomes(dishes.join([Dish("a"), Dish("mud"), Dish("b")]), dishes.join([Dish("c"), Dish("d")]))
    assert (found[0].code, found[1]) == ("conflict", [True, True])
    assert [name for _, name in await rows(database)] == ["c", "d"]


async def test_a_row_of_a_tenant_that_is_not_in_the_group_is_refused_and_its_neighbours_are_not(database):
    dishes = kitchen(database)
    found = await outcomes(dishes.join([Dish("mine")]), dishes.join([Dish("theirs", owner="globex")]))
    assert found[0] == [True]
    assert found[1].code == "permission_denied"
    assert await rows(database) == [("acme", "mine")]


async def test_rows_of_many_tenants_share_a_commit_and_each_sees_its_own(database):
    dishes = kitchen(database)
    await outcomes(*(dishes.join([Dish(f"{n:02}", tenant=("acme", "globex")[n % 2])]) for n in range(10)))
    assert await commits(database) == 1
    assert [name for _, name in await rows(database, ["globex"])] == [f"{n:02}" for n in range(1, 10, 2)]


async def test_two_processes_with_the_same_rows_in_opposite_orders_never_deadlock(rooms):
    databases = [pool.Database(conftest.login_url(rooms), application="test", size=4) for _ in range(2)]
    processes = [kitchen(one, rows=20, lock_s=5.0) for one in databases]
    names = [f"{number:03}" for number in range(200)]
    joined = [
        process.join([Dish(name)])
        for process, order in zip(processes, (names, names[::-1]), strict=True)
        for name in order
    ]
    found = await outcomes(*joined)
    assert sum(new for (new,) in found) == 200, "each row is new to one of them"
    for one in databases:
        await one.close()


async def test_a_row_that_somebody_else_holds_stops_nobody_else(database):
    dishes = kitchen(database, lock_s=0.05)
    async with database.transaction("kitchen", ["acme"]) as holding:
        await holding.execute("insert into kitchen.dish (tenant, name) values ('acme', 'held')")
        held, *others = [dishes.join([Dish(name)]) for name in ("held", *map(str, range(20)))]
        assert await outcomes(*others) == [[True]] * 20
        assert [one.code for one in await outcomes(held)] == ["database_contended"]
    assert await dishes.join([Dish("held")]) == [False]


async def test_a_connection_lost_in_the_middle_is_told_to_all_and_the_next_group_works(database, rooms):
    dishes = kitchen(database)
    pids = []

    def slow(bound, of, places):
        bound.send("select pg_sleep(10)")
        pids.append(bound._line.backend_pid)
        return cook(bound, of, places)

    sleepy = group.Group(database, "kitchen", slow, kind="slow dishes")
    joined = [sleepy.join([Dish(str(number))]) for number in range(3)]
    while not pids:
        await asyncio.sleep(0)
    async with await psycopg.AsyncConnection.connect(rooms.url(), autocommit=True) as admin:
        await admin.execute("select pg_terminate_backend(%s)", (pids[0],))
    assert [one.code for one in await outcomes(*joined)] == ["commit_unknown"] * 3
    assert await dishes.join([Dish("next")]) == [True]
    assert [name for _, name in await rows(database)] == ["next"]


async def test_a_stalled_server_fills_no_memory_and_answers_everybody(server_folder):
    async with testing.running_postgres(server_folder / "data", durable=True) as server:
        await migrations.migrate(server.url(), [conftest.KITCHEN], login=conftest.LOGIN)
        database = pool.Database(conftest.login_url(server), application="test", size=4)
        dishes = kitchen(database, waiting_rows=50, wait_s=0.2)
        await dishes.join([Dish("before")])
        postmaster = int(next((server_folder / "data").glob("**/postmaster.pid")).read_text().split()[0])
        backends = [line.backend_pid for line in database._idle]
        standstill.bring_about(*backends)
        try:
            held = dishes.join([Dish("held")])
            await asyncio.sleep(0)
            standstill.bring_about(postmaster)
            held_too = dishes.join([Dish("held too")])
            await asyncio.sleep(0)
            waits = [dishes.join([Dish(f"w{number}")]) for number in range(50)]
            for _ in range(500):
                with pytest.raises(errors.Unavailable) as raised:
                    dishes.join([Dish("too many")])
                assert raised.value.code == "overloaded"
            assert [one.code for one in await outcomes(*waits)] == ["overloaded"] * 50
        finally:
            for pid in (postmaster, *backends):
                os.kill(pid, signal.SIGCONT)
        assert await outcomes(held, held_too, dishes.join([Dish("after")])) == [[True]] * 3
        assert [name for _, name in await rows(database)] == ["after", "before", "held", "held too"]
        await database.close()


async def test_columns_bring_every_value_as_it_is(database):
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6007, tzinfo=datetime.UTC)
    early = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=5)))
    texts, blobs = ["häß ☃", "", 'q"\\{,}', "NULL"], [b"a\0b\xff", b"", bytes(range(256)) * 300, b"\\x"]
    documents = [{"a": [1, "☃"]}, {}, {"q": '"\\'}, {"long": "x" * 5000}]
    columns = [
        column.Texts.of([column.text(value) for value in texts]),
        column.Blobs.of([column.blob(value) for value in blobs]),
        column.Documents.of([column.document(json.dumps(value)) for value in documents]),
        column.Moments.of([column.moment(value) for value in (moment, early, moment, early)]),
        column.Smallints.of([column.smallint(value) for value in (0, -1, 63, 32767)]),
        column.Bigints.of([column.bigint(value) for value in (0, -1, 2**62, -(2**63))]),
    ]
    kinds = ", ".join(f"%s::{type(one).sql}[]" for one in columns)
    async with database.transaction("kitchen") as transaction:
        found = [await transaction.fetch_all(f"select * from unnest({kinds})", columns) for _ in range(3)]
    moments, smalls, larges = (moment, early, moment, early), (0, -1, 63, 32767), (0, -1, 2**62, -(2**63))
    assert found == [list(zip(texts, blobs, documents, moments, smalls, larges, strict=True))] * 3


@pytest.mark.parametrize("make", [lambda: column.text("a\0b"), lambda: column.text("\ud800")])
def test_text_that_postgres_cannot_hold_is_refused_before_it_is_sent(make):
    with pytest.raises(errors.Rejected) as raised:
        make()
    assert raised.value.code == "unstorable_text"


def test_a_document_with_a_nul_in_it_is_refused_and_one_that_only_looks_like_it_is_not():
    for value in ({"a": "x\0y"}, {"\0": 1}, {"a": "\\\0"}):
        with pytest.raises(errors.Rejected):
            column.document(json.dumps(value))
    with pytest.raises(errors.Rejected):
        column.document('{"a": "\ud800"}')
    assert column.document(json.dumps({"a": "\\u0000"}))
    begun = time.monotonic()
    column.document(json.dumps({"a": "\\" * 1_000_000}))
    assert time.monotonic() - begun < 5
