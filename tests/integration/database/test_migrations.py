"""Migrations on a real Postgres: once, in order, by one process at a time, never backwards."""

import asyncio

import psycopg
import pytest

from penstock.base import errors, settings
from penstock.database import migrations, pool, roles
from tests.integration.database import conftest

NEXT = migrations.Migration("0002_more", "alter table dish add column taste text")


def kitchen(*more):
    return migrations.RoomSchema("kitchen", (*conftest.KITCHEN.migrations, *more))


async def test_what_was_applied_is_not_applied_again(fresh_postgres):
    url = fresh_postgres.url()
    assert await migrations.migrate(url, [kitchen()]) == ["kitchen/0001_dish"]
    assert await migrations.migrate(url, [kitchen(NEXT)]) == ["kitchen/0002_more"]
    assert await migrations.migrate(url, [kitchen(NEXT)]) == []
    await migrations.check(url, [kitchen(NEXT)])


async def test_two_processes_at_once_apply_each_file_once(fresh_postgres):
    slow = migrations.Migration("0002_slow", "select pg_sleep(0.2); create table once (tenant text)")
    both = await asyncio.gather(*(migrations.migrate(fresh_postgres.url(), [kitchen(slow)]) for _ in range(4)))
    assert sorted(map(len, both)) == [0, 0, 0, 2]


async def test_an_older_build_refuses_a_newer_schema_and_changes_nothing(fresh_postgres):
    url = fresh_postgres.url()
    await migrations.migrate(url, [kitchen(NEXT)])
    for work in (migrations.migrate(url, [conftest.CELLAR, kitchen()]), migrations.check(url, [kitchen()])):
        with pytest.raises(errors.Rejected) as raised:
            await work
        assert raised.value.code == "newer_schema"
        assert "kitchen/0002_more" in raised.value.detail
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("select to_regnamespace('cellar') is null")).fetchone()
    assert row == (True,)


async def test_a_changed_file_is_refused(fresh_postgres):
    await migrations.migrate(fresh_postgres.url(), [kitchen(NEXT)])
    with pytest.raises(errors.Rejected) as raised:
        await migrations.migrate(fresh_postgres.url(), [kitchen(migrations.Migration("0002_more", "select 1"))])
    assert raised.value.code == "migration_changed"


async def test_a_table_that_a_backup_reads_is_waited_for_in_moments_so_that_readers_pass(fresh_postgres, monkeypatch):
    """A change that waits for a table queues every reader behind itself: so it gives up, and tries again."""
    monkeypatch.setattr(migrations, "_TABLE_WAIT", "100ms")
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.01)
    url = fresh_postgres.url()
    await migrations.migrate(url, [kitchen()])
    async with await psycopg.AsyncConnection.connect(url) as backup, await _reader(url) as reader:
        await backup.execute("lock table kitchen.dish in access share mode")
        migrating = asyncio.create_task(migrations.migrate(url, [kitchen(NEXT)]))
        for _ in range(20):
            await reader.execute("select * from kitchen.dish")
        with pytest.raises(errors.Unavailable) as raised:
            await migrating
        assert raised.value.code == "tables_in_use"
        assert "pg_dump" in raised.value.hint
        await reader.execute("select * from kitchen.dish")
    assert await migrations.migrate(url, [kitchen(NEXT)]) == ["kitchen/0002_more"]


async def _reader(url):
    """A connection that waits for no table for long."""
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await connection.execute("set lock_timeout = '20s'")
    return connection


async def test_a_table_that_is_free_before_the_last_attempt_is_changed(fresh_postgres, monkeypatch):
    url = fresh_postgres.url()
    await migrations.migrate(url, [kitchen()])
    monkeypatch.setattr(migrations, "_TABLE_WAIT", "100ms")
    async with await psycopg.AsyncConnection.connect(url) as backup:
        await backup.execute("lock table kitchen.dish in access share mode")
        refused = []

        async def meanwhile(seconds):
            refused.append(seconds)
            await backup.rollback()

        monkeypatch.setattr(migrations.asyncio, "sleep", meanwhile)
        assert await migrations.migrate(url, [kitchen(NEXT)]) == ["kitchen/0002_more"]
    assert refused == [migrations._PAUSE_S]


async def test_a_file_that_fails_leaves_nothing_of_itself_and_is_named(fresh_postgres):
    bad = migrations.Migration("0002_bad", "create table half (a int); select * from nowhere")
    with pytest.raises(errors.Broken) as raised:
        await migrations.migrate(fresh_postgres.url(), [kitchen(bad)])
    assert raised.value.code == "migration_failed"
    assert "kitchen/0002_bad" in raised.value.detail
    assert await migrations.migrate(fresh_postgres.url(), [kitchen(NEXT)]) == ["kitchen/0002_more"]


async def test_missing_migrations_are_told_without_making_them(fresh_postgres):
    for known in ([], [kitchen()]):
        await migrations.migrate(fresh_postgres.url(), known)
        with pytest.raises(errors.Unavailable) as raised:
            await migrations.check(fresh_postgres.url(), [kitchen(NEXT)])
        assert raised.value.code == "schema_behind"


async def test_an_untouched_database_is_behind(fresh_postgres):
    with pytest.raises(errors.Unavailable) as raised:
        await migrations.check(fresh_postgres.url(), [kitchen()])
    assert raised.value.code == "schema_behind"


async def test_the_password_of_a_login_is_replaced(rooms):
    changed = roles.Login(conftest.LOGIN.name, settings.Secret("another 'word'"))
    try:
        await migrations.migrate(rooms.url(), [conftest.KITCHEN], login=changed)
        database = pool.Database(rooms.url(user=changed.name, password="another 'word'"), application="test")
        await database.open()
        await database.close()
        refused = pool.Database(conftest.login_url(rooms), application="test")
        with pytest.raises(errors.Rejected) as raised:
            await refused.open()
        assert raised.value.code == "database_login"
    finally:
        await migrations.migrate(rooms.url(), [conftest.KITCHEN], login=conftest.LOGIN)


async def test_an_existing_login_is_admitted_without_its_password_being_known(fresh_postgres):
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url(), autocommit=True) as connection:
        await connection.execute("drop role if exists penstock_byhand")
        await connection.execute("create role penstock_byhand login noinherit password 'theirs'")
    await migrations.migrate(fresh_postgres.url(), [kitchen()], login=roles.Login("penstock_byhand"))
    database = pool.Database(fresh_postgres.url(user="penstock_byhand", password="theirs"), application="test")
    async with database.transaction("kitchen", ["acme"]) as transaction:
        assert await transaction.fetch_all("select * from kitchen.dish") == []
    await database.close()


async def test_a_server_that_is_not_there_and_an_address_that_is_none(fresh_postgres):
    with pytest.raises(errors.Unavailable):
        await migrations.migrate("postgresql:///x?host=/nonexistent", [])
    with pytest.raises(errors.Rejected) as raised:
        await migrations.migrate("not an address", [])
    assert raised.value.code == "bad_database_url"
