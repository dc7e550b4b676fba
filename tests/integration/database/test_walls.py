"""The walls between rooms and between tenants, as Postgres keeps them."""

import psycopg
import pytest

from penstock.base import errors
from penstock.database import testing
from tests.integration.database import conftest

DISH = "insert into kitchen.dish (tenant, name) values (%s, %s)"


@pytest.fixture
async def two_tenants(database):
    for tenant in ("acme", "globex"):
        async with database.transaction("kitchen", [tenant]) as transaction:
            transaction.send(DISH, (tenant, f"soup of {tenant}"))
    return database


async def names(database, tenants):
    async with database.transaction("kitchen", tenants) as transaction:
        return [row[0] for row in await transaction.fetch_all("select name from kitchen.dish order by name")]


async def test_a_room_cannot_touch_anothers_table(database):
    for sql in ("select * from cellar.wine", "insert into cellar.wine values ('acme', 'x')", "drop table cellar.wine"):
        with pytest.raises(errors.Broken) as raised:
            async with database.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(sql)
        assert raised.value.code == "permission_denied"


async def test_a_room_cannot_change_its_own_schema(database):
    for sql in ("alter table kitchen.dish disable row level security", "create table kitchen.other (a int)"):
        with pytest.raises(errors.Broken) as raised:
            async with database.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(sql)
        assert raised.value.code == "permission_denied"


async def test_the_login_by_itself_may_do_nothing(rooms):
    async with await psycopg.AsyncConnection.connect(conftest.login_url(rooms)) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("select * from kitchen.dish")


async def test_a_tenant_sees_its_own_rows_and_two_see_both(two_tenants):
    assert await names(two_tenants, ["acme"]) == ["soup of acme"]
    assert await names(two_tenants, ["acme", "globex"]) == ["soup of acme", "soup of globex"]


async def test_no_tenant_sees_nothing(two_tenants, rooms):
    assert await names(two_tenants, []) == []
    async with await psycopg.AsyncConnection.connect(conftest.login_url(rooms), autocommit=True) as connection:
        await connection.execute("set role penstock_kitchen")
        never_set = await (await connection.execute("select count(*) from kitchen.dish")).fetchone()
        async with connection.transaction():
            await connection.execute("select set_config('penstock.tenants', '{acme}', true)")
        set_before = await (await connection.execute("select count(*) from kitchen.dish")).fetchone()
    assert (never_set, set_before) == ((0,), (0,))


async def test_the_binding_ends_with_its_transaction(two_tenants):
    assert await names(two_tenants, ["acme"]) == ["soup of acme"]
    for _ in range(8):
        assert await names(two_tenants, []) == []


async def test_a_tenant_can_neither_add_nor_move_nor_delete_anothers_rows(two_tenants):
    for sql in (
        "insert into kitchen.dish (tenant, name) values ('globex', 'poison')",
        "update kitchen.dish set tenant = 'globex'",
    ):
        with pytest.raises(errors.Broken) as raised:
            async with two_tenants.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(sql)
        assert raised.value.code == "permission_denied"
    async with two_tenants.transaction("kitchen", ["acme"]) as transaction:
        assert await transaction.execute("delete from kitchen.dish where tenant = 'globex'") == 0
        assert await transaction.execute("update kitchen.dish set size = 1 where tenant = 'globex'") == 0
    assert await names(two_tenants, ["globex"]) == ["soup of globex"]


async def test_hostile_names_of_tenants_bind_to_themselves_only(two_tenants):
    for hostile in ('acme","globex', "{acme}", "a'b", 'x\\",globex,"', "globex,acme", "NULL"):
        assert await names(two_tenants, [hostile]) == []


async def test_the_check_passes_here_and_names_every_hole(rooms):
    await testing.check_tables(rooms.url())
    async with await psycopg.AsyncConnection.connect(rooms.url(), autocommit=True) as connection:
        await connection.execute("create table kitchen.naked (tenant text)")
        await connection.execute("create table kitchen.ownerless (name text)")
        await connection.execute("create table kitchen.lax (tenant text)")
        await connection.execute("select penstock.protect('kitchen.lax')")
        await connection.execute("create policy also on kitchen.lax using (true)")
        await connection.execute("alter table kitchen.dish no force row level security")
    with pytest.raises(AssertionError) as raised:
        await testing.check_tables(rooms.url())
    for table in (
        "naked: row-level",
        "naked: has no policy",
        "ownerless: has no tenant",
        "lax: a policy",
        "dish: row-l",
    ):
        assert f"kitchen.{table}" in str(raised.value)
