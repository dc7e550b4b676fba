"""Proof that the tenant wall stands: every table of every room is behind it, or says why not.

`check_tables` looks at a migrated database and not at the files, so it does not matter how a table came to be.
"""

from collections.abc import Mapping
from typing import Any, Final

import psycopg

from penstock.database import roles

OPEN_TABLES: Final[Mapping[str, str]] = {
    "tenancy.tenant": "the directory of tenants itself; only the room tenancy reads it",
    "channels.account_directory": "says whose an account is, before a tenant can be bound; holds unguessable ids only",
    "sealing.key_encryption_key": "names of keys, of nobody",
    "sealing.rekey_run": "when keys were replaced, of nobody",
    "state.stream_life": "where streams are, of nobody",
    "state.durable": "where durables are; names of apps and their tenants, and only the relay reads them besides state",
    "state.floor_mark": "where streams are, of nobody",
    "*.outbox_stream": "where streams are, of nobody",
    "*.outbox_loss": "what streams lost, of nobody",
}
"""Tables of rooms without the wall, and why that is right; `*` stands for any room."""

CROSSING: Final[Mapping[str, frozenset[str]]] = {
    # Of quarantine it sees two columns: whose rows there are, and how old.
    roles.RELAY: frozenset({"*.outbox", "state.quarantine"}),
    roles.REKEY: frozenset({"sealing.data_key"}),
}
"""Roles that see rows of all tenants, and the tables in which they may."""

_TABLES: Final = """
select n.nspname || '.' || c.relname, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
    exists (select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped),
    array(select distinct a.grantee::regrole::text from aclexplode(c.relacl) as a where a.grantee <> c.relowner)
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$|penstock$|public$)' order by 1"""

_POLICIES: Final = """
select schemaname || '.' || tablename, roles::text[], cmd, qual, with_check
from pg_policies where permissive = 'PERMISSIVE'"""


async def check_tables(admin_url: str, open_tables: Mapping[str, str] = OPEN_TABLES) -> None:
    """Raise AssertionError naming each table that a foreign tenant or room could read, and each needless exception."""
    async with await psycopg.AsyncConnection.connect(admin_url) as connection:
        tables: list[tuple[Any, ...]] = await (await connection.execute(_TABLES)).fetchall()
        # What the standard policy looks like when this server prints it: on a table that is never committed.
        await connection.execute("create table penstock.probe (tenant text)")
        await connection.execute("select penstock.protect('penstock.probe')")
        policies: list[tuple[Any, ...]] = await (await connection.execute(_POLICIES)).fetchall()
        await connection.rollback()
    standard = next(policy[3] for policy in policies if policy[0] == "penstock.probe")
    found: list[str] = []
    for name, is_partition, enabled, forced, has_tenant, grantees in tables:
        mine = [policy for policy in policies if policy[0] == name]
        if is_partition:
            found += [f"{name}: a partition that {other} may reach past its parent's wall" for other in grantees]
        elif name in open_tables or f"*.{name.partition('.')[2]}" in open_tables:
            if enabled and mine:
                found.append(f"{name}: is behind the wall, and listed as open")
        elif not has_tenant:
            found.append(f"{name}: has no tenant column; list it in OPEN_TABLES with a reason")
        else:
            found += _holes(name, bool(enabled and forced), mine, str(standard))
    assert not found, "\n".join(found)


def _crosses(table: str, who: list[str]) -> bool:
    """Whether a policy is one that lets a role of ours see all tenants where it may."""
    allowed = CROSSING.get(who[0], frozenset()) if len(who) == 1 else frozenset[str]()
    return bool(allowed & {table, f"*.{table.partition('.')[2]}"})


def _holes(name: str, walled: bool, policies: list[tuple[Any, ...]], standard: str) -> list[str]:
    found = [] if walled else [f"{name}: row-level security is not enabled and forced"]
    everybody = [policy for policy in policies if not _crosses(name, policy[1])]
    if not everybody:
        found.append(f"{name}: has no policy; select penstock.protect('{name.split('.')[1]}')")
    found += [
        f"{name}: a policy that is not the standard one: {qual}; {check}"
        for _, _, _, qual, check in everybody
        if (qual, check) != (standard, standard)
    ]
    return found
