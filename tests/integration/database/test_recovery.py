"""A Postgres that dies: nothing half-written, told at once, and back without help."""

import asyncio
import os
import signal
import time

import psycopg
import pytest

from penstock.base import errors
from penstock.database import migrations, pool
from penstock.servers import testing
from tests.integration.database import conftest

DISH = "insert into kitchen.dish (tenant, name) values ('acme', %s)"


async def until(condition, *, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def kill_all(rooms):
    """End every connection of this database but our own, as an operator or a fail-over would."""
    async with await psycopg.AsyncConnection.connect(rooms.url(), autocommit=True) as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )


async def dishes(database):
    async with database.transaction("kitchen", ["acme"]) as transaction:
        return [row[0] for row in await transaction.fetch_all("select name from kitchen.dish order by name")]


async def test_a_connection_lost_in_the_middle_is_unavailable_and_writes_nothing(database, rooms):
    async def write():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute(DISH, ("half",))
            await kill_all(rooms)
            await transaction.execute(DISH, ("other half",))

    with pytest.raises(errors.Unavailable) as raised:
        await write()
    assert raised.value.code == "database_away"
    assert await dishes(database) == []


async def test_a_connection_lost_before_the_commit_is_known_as_such(database, rooms):
    async def write():
        async with database.transaction("kitchen", ["acme"]) as transaction:
            await transaction.execute(DISH, ("half",))
            await kill_all(rooms)

    with pytest.raises(errors.Unavailable) as raised:
        await write()
    assert raised.value.code in ("commit_unknown", "database_away")
    assert await dishes(database) == []


async def test_idle_connections_that_died_are_never_lent(database, rooms):
    await asyncio.gather(*(dishes(database) for _ in range(4)))
    await kill_all(rooms)

    async def forgotten():
        return not database._idle

    await until(forgotten)
    assert await dishes(database) == []


async def test_a_killed_server_is_told_at_once_and_found_again(server_folder):
    async with testing.running_postgres(server_folder / "data", durable=True) as first:
        await migrations.migrate(first.url(), [conftest.KITCHEN], login=conftest.LOGIN)
        database = pool.Database(conftest.login_url(first), application="test", deadline_s=1.0)
        async with database.transaction("kitchen", ["acme"]) as transaction:
            transaction.send(DISH, ("kept",))
        pid = int(next((server_folder / "data").glob("**/postmaster.pid")).read_text().split()[0])

        async def write():
            async with database.transaction("kitchen", ["acme"]) as transaction:
                await transaction.execute(DISH, ("lost",))
                os.kill(pid, signal.SIGKILL)
                await transaction.fetch_one("select pg_sleep(10)")

        with pytest.raises(errors.Unavailable):
            await write()
        begun = time.monotonic()
        for _ in range(50):
            with pytest.raises(errors.Unavailable):
                await dishes(database)
        assert time.monotonic() - begun < 10.0, "callers are told at once while the server is away"
    async with testing.running_postgres(server_folder / "data", durable=True) as again:
        assert again.host == first.host, "the server came back where it was"

        async def back():
            try:
                return await dishes(database) == ["kept"]
            except errors.Unavailable:
                return False

        await until(back)
    await database.close()
