"""Prepares a database for processes that trust each other with nothing: a login each, which becomes its rooms' roles.

The administrator's URL is needed here and nowhere else. Everything can be run again: what is there stays, and what a
login no longer needs is taken away.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from penstock.base import errors, settings
from penstock.database import migrations, pool, roles

_NOT_OURS: Final = {"user", "password", "passfile", "dbname", "sslkey", "sslcert", "sslpassword"}
"""Of the administrator's address: who the administrator is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A login that there shall be: its password, the rooms that it acts for, and whether it acts across tenants."""

    name: str
    password: settings.Secret
    rooms: tuple[str, ...]
    relays: bool = False
    rekeys: bool = False

    @property
    def becomes(self) -> tuple[str, ...]:
        """The database roles that it is a member of; it inherits nothing from them."""
        across = ((roles.RELAY, self.relays), (roles.REKEY, self.rekeys))
        return (*map(pool.role_of, self.rooms), *(role for role, wanted in across if wanted))


async def prepare(admin_url: str, rooms: Sequence[migrations.RoomSchema], wanted: Sequence[Wanted]) -> list[str]:
    """Bring schemas up to this build and see to these logins; returns `room/name` of the migrations applied.

    From then on only the administrator and these logins may connect to the database, and nobody else may use its
    schema `public`. Raises as `migrate` does, and Rejected `not_administrator`.
    """
    applied = await migrations.migrate(admin_url, rooms)
    connection = await migrations.connected(admin_url)
    try:
        async with connection.transaction():
            await roles.shut(connection)
            for login in wanted:
                await roles.confine(connection, roles.Login(login.name, login.password), login.becomes)
            await roles.let_in(connection, [login.name for login in wanted])
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.Rejected(
            "not_administrator",
            f"this user may not prepare the database: {error.diag.message_primary}",
            hint="It must own the database and have CREATEROLE, and have made the roles that are there.",
            status=403,
        ) from None
    except psycopg.Error as error:
        raise migrations.mapped(error) from error
    finally:
        await connection.close()
    return applied


def url_as(admin_url: str, login: str, password: settings.Secret) -> str:
    """The administrator's address with another user: `postgresql://login:password@/database?host=...`, a secret.

    Raises Rejected `bad_database_url`.
    """
    try:
        pairs = conninfo.conninfo_to_dict(admin_url)
    except psycopg.ProgrammingError:
        raise errors.Rejected("bad_database_url", "the Postgres address is not a libpq URL or conninfo") from None
    rest = {name: str(value) for name, value in pairs.items() if name not in _NOT_OURS and value is not None}
    database = quote(str(pairs.get("dbname") or pairs.get("user") or ""), safe="")
    user = f"{quote(login, safe='')}:{quote(password.reveal(), safe='')}"
    return f"postgresql://{user}@/{database}?{urlencode(rest, quote_via=quote, safe='')}"
