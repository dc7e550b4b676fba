"""Forward-only migrations: each room's SQL files, run once, in its own schema, by one process at a time.

A change that removes something takes two releases: the first adds the new form and writes both (expand), the second
drops the old one when no running build reads it (contract). So a build may meet a schema that is newer by additions of
other rooms, but never one with migrations of its own rooms that it does not know: that is refused.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from penstock import __version__
from penstock.base import errors, telemetry
from penstock.database import failure, roles

OLDEST_SERVER: Final = 160000
"""GRANT ... WITH INHERIT FALSE, SET TRUE came with 16."""

_LOCK: Final = 0x70656E73746F636B  # "penstock"
_LOCK_WAIT: Final = "60s"
_TABLE_WAIT: Final = "3s"
"""Whoever waits for a table makes everybody wait who comes after, readers too: so for a moment only, and then again."""

_ATTEMPTS: Final = 5
_PAUSE_S: Final = 2.0

_log = telemetry.logger("database.migrations")

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name without `.sql`, and its statements, run with the room's schema as the search path."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, which never changes once it has been applied anywhere."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class RoomSchema:
    """A room's tables: the schema and role are named after it, the migrations run in the order given."""

    room: str
    migrations: tuple[Migration, ...]


def from_folder(place: str | Path, *, prefix: str = "") -> tuple[Migration, ...]:
    """The `NNNN_name.sql` files of a folder, or of `migrations` in a package, in order.

    `prefix` keeps names apart when several folders make one room's schema.
    """
    folder = place if isinstance(place, Path) else resources.files(place) / "migrations"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return tuple(Migration(prefix + file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files)


async def migrate(
    admin_url: str, rooms: Sequence[RoomSchema], *, login: roles.Login | None = None, build: str = __version__
) -> list[str]:
    """Bring every room's schema up to this build; returns `room/name` of what was applied.

    `login` may then run as each of these rooms and as the relay (without one: the user of `admin_url` may). Raises
    Rejected `newer_schema` or `migration_changed` before anything is changed, Unavailable `migrating` when another
    process has been at it for a minute and `tables_in_use` while something holds a table, Broken `migration_failed`
    naming the file; earlier files stay applied then.
    """
    connection = await connected(admin_url)
    try:
        await _lock(connection)
        await connection.execute(_bootstrap())
        applied = await _applied(connection)
        for room in rooms:
            _compare(room, applied.get(room.room, {}))
        done: list[str] = []
        for room in rooms:
            await roles.prepare_room(connection, room.room)
            for migration in room.migrations:
                if migration.name not in applied.get(room.room, {}):
                    await _apply_between(connection, room.room, migration, build)
                    done.append(f"{room.room}/{migration.name}")
        await roles.admit(connection, login, [room.room for room in rooms])
    except psycopg.Error as error:
        raise mapped(error) from error
    finally:
        await connection.close()
    return done


async def check(url: str, rooms: Sequence[RoomSchema]) -> None:
    """Prove that the schema is the one this build knows, changing nothing.

    Raises Rejected `newer_schema` or `migration_changed`, Unavailable `schema_behind` when migrations are missing.
    """
    connection = await connected(url)
    try:
        row = await (await connection.execute("select to_regclass('penstock.migration') is not null")).fetchone()
        applied = await _applied(connection) if row and row[0] else {}
    except psycopg.Error as error:
        raise mapped(error) from error
    finally:
        await connection.close()
    for room in rooms:
        _compare(room, applied.get(room.room, {}))
        missing = [m.name for m in room.migrations if m.name not in applied.get(room.room, {})]
        if missing:
            raise errors.Unavailable(
                "schema_behind", f"the schema of {room.room} lacks {missing[0]}", hint="Migrate it first.", after_s=5.0
            )


def _compare(room: RoomSchema, applied: Mapping[str, str]) -> None:
    """Refuse a schema that this build does not understand. Raises Rejected."""
    known = {migration.name: migration.checksum for migration in room.migrations}
    for name, checksum in applied.items():
        if name not in known:
            raise errors.Rejected(
                "newer_schema",
                f"the database has been migrated by a newer build: {room.room}/{name} is not known to this one",
                hint="Run the newer build. Nothing was changed.",
                status=409,
            )
        if known[name] != checksum:
            raise errors.Rejected(
                "migration_changed",
                f"{room.room}/{name} is not the file that was applied to this database",
                hint="An applied migration never changes: restore the file and add another. Nothing was changed.",
                status=409,
            )


async def connected(url: str) -> Connection:
    """A connection for changing schemas and roles. Raises Unavailable, Rejected `bad_database_url` or a refused login.

    Each statement is a transaction of its own, unless one is begun.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, application_name="penstock migrations", client_encoding="UTF8", connect_timeout=5
        )
    except psycopg.ProgrammingError:
        raise errors.Rejected("bad_database_url", "the Postgres address is not a libpq URL or conninfo") from None
    except psycopg.OperationalError as error:
        raise failure.refused(error) from None
    if connection.info.server_version < OLDEST_SERVER:
        await connection.close()
        raise errors.Rejected(
            "postgres_too_old", f"Postgres {connection.info.server_version // 10000} is too old", hint="16 or newer."
        )
    return connection


async def _lock(connection: Connection) -> None:
    """Be the one who migrates, until the connection ends; wait for no other lock for as long as for this one."""
    await connection.execute("select set_config('lock_timeout', %s, false)", (_LOCK_WAIT,))
    try:
        await connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    except psycopg.errors.LockNotAvailable:
        raise errors.Unavailable("migrating", "another process is migrating this database", after_s=5.0) from None
    await connection.execute("select set_config('lock_timeout', %s, false)", (_TABLE_WAIT,))


def _bootstrap() -> bytes:
    return (resources.files("penstock.database") / "bootstrap.sql").read_bytes()


async def _applied(connection: Connection) -> dict[str, dict[str, str]]:
    cursor = await connection.execute("select room, name, checksum from penstock.migration order by applied_at, name")
    applied: dict[str, dict[str, str]] = {}
    for room, name, checksum in await cursor.fetchall():
        applied.setdefault(room, {})[name] = checksum
    return applied


async def _apply_between(connection: Connection, room: str, migration: Migration, build: str) -> None:
    """One migration, in a moment in which nobody holds its tables. Raises Unavailable `tables_in_use`."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _apply(connection, room, migration, build)
        except errors.Unavailable as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                raise
            _log.warning("tables in use", room=room, migration=migration.name, attempt=attempt)
        if attempt < _ATTEMPTS:
            await asyncio.sleep(_PAUSE_S)
    raise errors.Unavailable(
        "tables_in_use",
        f"{room}/{migration.name} needs a table that something has held for long",
        hint="Let a backup (pg_dump) or a long transaction end, then start again. Nothing of this file was applied.",
        after_s=30.0,
    )


async def _apply(connection: Connection, room: str, migration: Migration, build: str) -> None:
    """One migration and the note that it was applied, in one transaction."""
    place = sql.Identifier(room)
    try:
        async with connection.transaction():
            await connection.execute(sql.SQL("set local search_path = {}, pg_catalog, pg_temp").format(place))
            await connection.execute(migration.sql.encode())
            await connection.execute(
                "insert into penstock.migration (room, name, checksum, build) values (%s, %s, %s, %s)",
                (room, migration.name, migration.checksum, build),
            )
    except psycopg.Error as error:
        known = mapped(error)
        if not isinstance(known, errors.Unavailable):
            detail = error.diag.message_primary or type(error).__name__
            raise errors.Broken("migration_failed", f"{room}/{migration.name}: {detail}") from error
        raise known from error
    _log.info("migrated", room=room, migration=migration.name)


def mapped(error: psycopg.Error) -> errors.PenstockError:
    """The error that an administrator's statement ended with, as one of ours."""
    return failure.of_state(error.sqlstate or "", primary=error.diag.message_primary or "")
