"""Tenants in a real Postgres: the table's own rules, two processes, and what happens to the rooms of one suspended."""

import asyncio

import pytest

from penstock.app import schema
from penstock.base import errors, ids, settings
from penstock.database import migrations, pool, roles
from penstock.tenancy import service, store

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))


@pytest.fixture
async def database(fresh_postgres):
    rooms = [room for room in schema.rooms() if room.room == "tenancy"]
    await migrations.migrate(fresh_postgres.url(), rooms, login=LOGIN)
    opened = pool.Database(fresh_postgres.url(user=LOGIN.name, password="a word"), application="test", size=4)
    yield opened
    await opened.close()


@pytest.fixture
def rows(database):
    return store.TenantStore(database)


@pytest.fixture
def tenancy(rows):
    return service.Tenancy(rows)


async def test_what_was_made_is_found_by_another_process(rows, tenancy):
    made = await tenancy.create("acme", "Acme Ltd")
    another = service.Tenancy(rows)
    assert await another.get("acme") == made
    assert (made.id, made.title, made.state) == ("acme", "Acme Ltd", "active")
    assert made.created_at.utcoffset() is not None
    await another.require_active(ids.TenantId("acme"))


async def test_tenants_are_listed_by_id(tenancy):
    for name in ("zeta", "acme", "m-1"):
        await tenancy.create(name)
    assert [tenant.id for tenant in await tenancy.list()] == ["acme", "m-1", "zeta"]


async def test_of_two_who_make_the_same_tenant_one_is_told_that_it_exists(rows):
    results = await asyncio.gather(
        *(service.Tenancy(rows).create("acme", f"by {n}") for n in range(8)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, errors.Rejected)]
    assert [(error.code, error.status) for error in refused] == [("tenant_exists", 409)] * 7
    assert len(await rows.all()) == 1


async def test_a_suspension_reaches_a_process_that_has_not_asked_yet(rows, tenancy):
    await tenancy.create("acme")
    await tenancy.create("globex")
    assert (await tenancy.suspend("acme")).state == "suspended"
    another = service.Tenancy(rows)
    with pytest.raises(errors.Rejected) as refused:
        await another.require_active(ids.TenantId("acme"))
    assert (refused.value.code, refused.value.status) == ("tenant_suspended", 403)
    await another.require_active(ids.TenantId("globex"))
    await tenancy.resume("acme")
    await service.Tenancy(rows).require_active(ids.TenantId("acme"))


async def test_suspending_twice_is_the_same_as_once(tenancy):
    await tenancy.create("acme")
    first, second = await tenancy.suspend("acme"), await tenancy.suspend("acme")
    assert first == second
    assert (await tenancy.resume("acme")).created_at == first.created_at


async def test_a_title_is_kept_letter_by_letter(tenancy):
    title = "Grüße, 'Ltd' \"; drop table tenancy.tenant; -- 🏔 %s {} \\"
    await tenancy.create("acme", title)
    assert (await tenancy.get("acme")).title == title


@pytest.mark.parametrize(
    ("tenant", "title"),
    [("Acme", "x"), ("a_b", "x"), ("a." * 10, "x"), ("a" * 41, "x"), ("acme", ""), ("acme", "x" * 201)],
)
async def test_the_table_refuses_what_the_service_would(rows, tenant, title):
    with pytest.raises(errors.Rejected) as refused:
        await rows.insert(tenant, title)
    assert refused.value.code == "conflict"
    assert await rows.all() == []


async def test_the_table_knows_two_states(rows, tenancy):
    await tenancy.create("acme")
    with pytest.raises(errors.Rejected):
        await rows.set_state(ids.TenantId("acme"), "deleted")
    assert (await tenancy.get("acme")).state == "active"


async def test_another_room_may_not_read_the_directory(database, tenancy):
    """`tenant` has no row-level security: that only this room's role may read it is the wall."""
    await tenancy.create("acme")
    with pytest.raises(errors.PenstockError) as refused:
        async with database.transaction("channels", ["acme"]) as transaction:
            await transaction.fetch_all("select id from tenancy.tenant")
    assert not isinstance(refused.value, errors.Unavailable)


async def test_a_database_that_is_away_says_so_and_is_asked_again(rows, tenancy, database):
    await tenancy.create("acme")
    away = pool.Database("postgresql://nobody@127.0.0.1:1/none", application="test", size=1, deadline_s=1.0)
    blind = service.Tenancy(store.TenantStore(away))
    try:
        with pytest.raises(errors.Unavailable):
            await blind.require_active(ids.TenantId("acme"))
        blind._tenants = rows  # it is back: an answer that never came was not remembered
        await blind.require_active(ids.TenantId("acme"))
    finally:
        await away.close()
