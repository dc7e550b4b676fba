"""Who may do what: a role per room, granted on its own tables only, and a login that may become each of them.

Room roles cannot log in and own nothing. A login is NOINHERIT: it holds no right by itself and must say which room it
acts for, which every transaction of the pool does. In one process this catches bugs, between processes attackers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from penstock.base import settings
from penstock.database import pool

RELAY: Final = "penstock_relay"
REKEY: Final = "penstock_rekey"
CROSSING: Final = (RELAY, REKEY)
"""Roles that see rows of all tenants, each in a few tables: `bootstrap.sql` makes them."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


_SHUT_LARGE_OBJECTS: Final = """
do $$
declare found regprocedure;
begin
    for found in
        select oid::regprocedure from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^(lo_|loread$|lowrite$)' and prokind = 'f'
    loop
        execute format('revoke execute on function %s from public', found);
    end loop;
end $$"""


@dataclasses.dataclass(frozen=True, slots=True)
class Login:
    """A user that the product logs in as. With a password it is made or updated; without one it must exist."""

    name: str
    password: settings.Secret | None = None


async def prepare_room(connection: Connection, room: str) -> None:
    """The room's schema and role; whatever tables come later are the role's to read and write, and nobody else's."""
    role, place = sql.Identifier(pool.role_of(room)), sql.Identifier(room)
    await _create_role(connection, pool.role_of(room))
    for statement in (
        sql.SQL("create schema if not exists {place}"),
        sql.SQL("grant usage on schema {place} to {role}, {relay}"),
        sql.SQL("alter default privileges in schema {place} grant select, insert, update, delete on tables to {role}"),
        sql.SQL("alter default privileges in schema {place} grant usage, select on sequences to {role}"),
    ):
        await connection.execute(statement.format(place=place, role=role, relay=sql.Identifier(RELAY)))


async def admit(connection: Connection, login: Login | None, rooms: Sequence[str]) -> None:
    """Let a login act for these rooms and across tenants: it may become them, and inherits nothing from them."""
    if login is not None and login.password is not None:
        await _create_login(connection, login, login.password)
    user = sql.SQL("current_user") if login is None else sql.Identifier(login.name)
    await _grant(connection, user, (*map(pool.role_of, rooms), *CROSSING))


async def confine(connection: Connection, login: Login, become: Sequence[str]) -> None:
    """Let a login become exactly these roles: what it was a member of before and is not listed is taken away."""
    if login.password is not None:
        await _create_login(connection, login, login.password)
    found = await connection.execute(
        "select granted.rolname from pg_auth_members as member join pg_roles as granted on granted.oid = member.roleid "
        "where member.member = (select oid from pg_roles where rolname = %s)",
        (login.name,),
    )
    user = sql.Identifier(login.name)
    for (name,) in await found.fetchall():
        if name not in become:
            await connection.execute(sql.SQL("revoke {} from {}").format(sql.Identifier(name), user))
    await _grant(connection, user, become)


async def shut(connection: Connection) -> None:
    """Take from everybody what Postgres gives to everybody: a login shall do nothing but become its rooms.

    Temporary tables would hide real ones from statements that name no schema, and large objects know no tenant. The
    latter's functions are the superuser's: who is none leaves them as they are.
    """
    name = sql.Identifier(connection.info.dbname)
    await connection.execute(sql.SQL("revoke all on database {} from public").format(name))
    await connection.execute("revoke all on schema public from public")
    if connection.info.parameter_status("is_superuser") == "on":
        await connection.execute(_SHUT_LARGE_OBJECTS)


async def let_in(connection: Connection, logins: Sequence[str]) -> None:
    """Let these logins, and the rooms' roles that they become, connect to this database."""
    name = sql.Identifier(connection.info.dbname)
    for login in logins:
        await connection.execute(sql.SQL("grant connect on database {} to {}").format(name, sql.Identifier(login)))


async def _grant(connection: Connection, user: sql.Composable, names: Sequence[str]) -> None:
    for role in names:
        await connection.execute(
            sql.SQL("grant {} to {} with inherit false, set true").format(sql.Identifier(role), user)
        )


async def _create_login(connection: Connection, login: Login, password: settings.Secret) -> None:
    await _create_role(connection, login.name)
    # Only the verifier travels, so the password is in no server log.
    verifier = connection.pgconn.encrypt_password(
        password.reveal().encode(), login.name.encode(), b"scram-sha-256"
    ).decode()
    await connection.execute(
        sql.SQL("alter role {} login noinherit nosuperuser nocreatedb nocreaterole password {}").format(
            sql.Identifier(login.name), sql.Literal(verifier)
        )
    )


async def _create_role(connection: Connection, name: str) -> None:
    """Make a role unless it is there: roles belong to the server, and another database of it may use the same."""
    known = await connection.execute("select from pg_roles where rolname = %s", (name,))
    if known.rowcount:
        return
    try:
        await connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return
