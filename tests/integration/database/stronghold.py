"""The product's database as `database prepare` leaves it, with a row of two tenants in every table there is."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from penstock.app import database_logins as logins
from penstock.app import roles
from penstock.database import pool
from penstock.database import roles as database_roles
from penstock.database import testing as database
from penstock.servers import testing

LOGINS = (*(role.name for role in roles.ROLES), logins.OPERATOR)
TENANTS = ("acme", "globex")

# A value of each type that our tables use: a new one is added here, or no row can be made.
_VALUES = {
    "bigint": "1",
    "integer": "1",
    "smallint": "1",
    "boolean": "false",
    "bytea": "'\\x00'",
    "date": "(now() at time zone 'utc')::date",
    "jsonb": "'{}'",
    "text": "'x'",
    "text[]": "'{}'",
    "timestamp with time zone": "now()",
}

_TABLES = """
select n.nspname, c.relname, exists (
    select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped)
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$)' order by 1, 2"""
_COLUMNS = """
select attname, format_type(atttypid, atttypmod) from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = ''"""
_CHECKS = """
select conrelid::regclass::text, conname from pg_constraint
where contype = 'c' and conislocal and connamespace::regnamespace::text !~ '^(pg_|information_schema$)'"""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of the catalogue."""

    schema: str
    name: str
    has_tenant: bool

    @property
    def place(self) -> sql.Composable:
        """As it stands in a statement."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclasses.dataclass(frozen=True)
class Stronghold:
    """The administrator's URL, a URL by login, and every table that is there."""

    admin_url: str
    urls: Mapping[str, str]
    tables: Sequence[Table]

    @contextlib.asynccontextmanager
    async def connected(self, login: str, become: str = ""):
        """A session of that login, which has become a database role."""
        async with await psycopg.AsyncConnection.connect(self.urls[login], autocommit=True) as connection:
            if become:
                await connection.execute(sql.SQL("set role {}").format(sql.Identifier(become)))
            yield connection


def becomes(login: str) -> tuple[str, ...]:
    """The database roles that a login may become, from the product's own table."""
    return logins.login(login, None).becomes


def everybody() -> Iterator[tuple[str, str]]:
    """Every login as each role that it may become."""
    for login in LOGINS:
        for role in becomes(login):
            yield login, role


OF_NOBODY = {
    database_roles.RELAY: {
        "*.outbox_stream",
        "*.outbox_loss",
        "state.stream_life",
        "state.durable",
        "state.floor_mark",
    },
    database_roles.REKEY: {"sealing.key_encryption_key", "sealing.rekey_run"},
}
"""Tables without tenants that the roles across tenants use besides those of `testing.CROSSING`."""


VERBS = ("select", "insert", "update", "delete")
KEYS = {
    "penstock_sealing": {
        "sealing.data_key": {"select", "insert"},
        "sealing.key_encryption_key": {"select", "insert"},  # the first row that there ever is
        "sealing.rekey_run": set[str](),
    },
    database_roles.REKEY: {
        "sealing.data_key": set(VERBS),
        "sealing.key_encryption_key": {"select", "insert", "update"},
        "sealing.rekey_run": {"select", "insert", "update"},
    },
}
"""What may be done to the tables of keys, by role: a room's role may do everything to all others of its room."""


def may(role: str, verb: str, table: Table) -> bool:
    """Whether a role that has business with a table may do this to it."""
    return may_touch(role, table) and verb in KEYS.get(role, {}).get(str(table), VERBS)


def may_touch(role: str, table: Table) -> bool:
    """Whether a role has business with a table at all: those of its own room; for the others a list."""
    if str(table) == "penstock.migration":
        return True
    if role in database_roles.CROSSING:
        return bool((database.CROSSING[role] | OF_NOBODY[role]) & {str(table), f"*.{table.name}"})
    return role == pool.role_of(table.schema) and KEYS.get(role, {}).get(str(table)) != set()


@contextlib.contextmanager
def prepared(endpoint, folder: Path, run) -> Iterator[Stronghold]:
    """A fresh database, prepared by the product and filled. `run` runs a coroutine to its end."""
    with testing.fresh_database(endpoint) as fresh:
        admin = folder / "admin.url"
        admin.write_text(fresh.url())
        admin.chmod(0o600)
        done = run(logins.prepare(admin, folder / "logins"))
        urls = {
            name: Path(path).read_text().strip()
            for name, path in ((login, done.files[logins.PREFIX + login]) for login in LOGINS)
        }
        yield Stronghold(fresh.url(), urls, run(_fill(fresh.url())))


async def _fill(admin_url: str) -> list[Table]:
    """Rows of two tenants everywhere: constraints are no part of the walls, so they are not in the way."""
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        await connection.execute("set session_replication_role = replica")
        for table, name in await (await connection.execute(_CHECKS)).fetchall():
            await connection.execute(f'alter table {table} drop constraint "{name}"')
        found = [Table(*row) for row in await (await connection.execute(_TABLES)).fetchall()]
        for table in found:
            for tenant in TENANTS if table.has_tenant else TENANTS[:1]:
                await _insert(connection, table, tenant)
    return found


async def _insert(connection, table: Table, tenant: str) -> None:
    columns = await (await connection.execute(_COLUMNS, (str(table),))).fetchall()
    values = [f"'{tenant}'" if name in ("tenant", "id") and kind == "text" else _VALUES[kind] for name, kind in columns]
    names = ", ".join(f'"{name}"' for name, _ in columns)
    await connection.execute(f"insert into {table} ({names}) values ({', '.join(values)}) on conflict do nothing")
