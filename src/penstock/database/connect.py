"""Opening one connection: how long to wait, how to notice a dead peer, and what every session of ours starts with."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import psycopg

from penstock.base import errors
from penstock.database import failure, wire

_SESSION: Final = """
select set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
    set_config('idle_in_transaction_session_timeout', %s, false), set_config('idle_session_timeout', %s, false),
    set_config('timezone', 'UTC', false)
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    `statement_s`, `lock_s` and `idle_transaction_s` are kept by the server; `answer_s` by the client, and must be the
    longest: it notices a server that does not even refuse. `idle_session_s` 0 means never.
    """

    connect_s: float = 5.0
    statement_s: float = 10.0
    lock_s: float = 5.0
    idle_transaction_s: float = 15.0
    idle_session_s: float = 0.0
    answer_s: float = 15.0


async def connection(url: str, *, application: str, limits: Limits) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """The driver's own connection, for what a wire does not do. Raises as `connect` does."""
    try:
        return await psycopg.AsyncConnection.connect(
            url,
            autocommit=True,
            application_name=application,
            client_encoding="UTF8",
            connect_timeout=max(2, round(limits.connect_s)),
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=round(limits.answer_s * 1000),
        )
    except psycopg.ProgrammingError:
        raise errors.Rejected(
            "bad_database_url",
            "the Postgres address is not a libpq URL or conninfo string",
            hint="It looks like postgresql://user:password@host:5432/database.",
        ) from None
    except psycopg.OperationalError as error:
        raise failure.refused(error) from None


async def connect(
    url: str, *, application: str, limits: Limits, on_lost: Callable[[wire.Wire], None] = lambda _: None
) -> wire.Wire:
    """A connection ready for statements. Raises Unavailable when the server is away, Rejected when it says no."""
    line = wire.Wire(await connection(url, application=application, limits=limits), on_lost)
    times = (limits.statement_s, limits.lock_s, limits.idle_transaction_s, limits.idle_session_s)
    line.send(_SESSION, [str(round(seconds * 1000)) for seconds in times])
    try:
        await line.sync(limits.answer_s)
    except BaseException:
        line.close()
        raise
    return line
