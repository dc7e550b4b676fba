"""Every column that the migrated database really has is declared in a room's `personal.toml`, however it came to be."""

import tomllib
from pathlib import Path

import psycopg

import penstock
from penstock.app import schema
from penstock.database import migrations

HOUSE = Path(penstock.__file__).parent


def declared():
    """Columns by room and table; every room with an outbox has those of `state/tables` too."""
    shared = tomllib.loads((HOUSE / "state" / "tables" / "personal.toml").read_text())
    found = {}
    for room in schema.rooms():
        own = tomllib.loads((HOUSE / room.room / "personal.toml").read_text())
        for table, columns in {**own, **(shared if room.room in schema.OUTBOXES else {})}.items():
            found[f"{room.room}.{table}"] = {*columns["plain"], *columns.keys() - {"plain"}}
    return found


async def test_the_declared_columns_are_those_of_the_database(fresh_postgres):
    await migrations.migrate(fresh_postgres.url(), schema.rooms())
    found = {}
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url()) as admin:
        rows = await admin.execute(
            "select n.nspname || '.' || c.relname, a.attname from pg_attribute as a join pg_class as c "
            "on c.oid = a.attrelid join pg_namespace as n on n.oid = c.relnamespace where a.attnum > 0 "
            "and not a.attisdropped and c.relkind in ('r', 'p') and not c.relispartition and n.nspname = any(%s)",
            ([room.room for room in schema.rooms()],),
        )
        for table, column in await rows.fetchall():
            found.setdefault(table, set()).add(column)
    assert found == declared()
