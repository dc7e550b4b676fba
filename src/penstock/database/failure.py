"""What a failure of Postgres means to a caller: SQLSTATE in, one of the four reactions out.

Classes and codes are those of PostgreSQL 18, appendix A. Details name constraints, tables and codes, never values: the
server's own message may quote a row.
"""

from typing import Final

import psycopg
from psycopg import pq

from penstock.base import errors

_FIELD = pq.DiagnosticField

CONFLICTS: Final = {
    "23503": "refers to a row that is not there, or is still referred to",
    "23505": "exists already",
    "23514": "breaks a rule of the table",
    "23P01": "overlaps an existing row",
}
WAITING: Final = {
    "25006": ("database_read_only", "the database takes no writes right now", 5.0),
    "25P03": ("transaction_idle", "the transaction was left idle for too long", 1.0),
    "25P04": ("database_slow", "the transaction took too long", 1.0),
    "40001": ("database_contended", "another transaction was faster", 0.1),
    "40P01": ("database_contended", "another transaction held what this one needed", 0.1),
    "53100": ("database_full", "the database's disk is full", 30.0),
    "53300": ("database_busy", "the database has no free connection", 1.0),
    "55P03": ("database_contended", "another transaction holds a lock for too long", 0.5),
    "57014": ("database_slow", "a statement took too long", 1.0),
}
WAITING_CLASSES: Final = {"08", "53", "57", "58"}
"""Connection trouble, resources, operators (restarts), system errors: the world, not the statement."""

STALE_PLANS: Final = {"0A000", "26000"}
"""A table changed below a prepared statement, or somebody dropped it: a fresh connection plans again."""

UNSTORABLE: Final = {"22021", "22P05"}
LOGINS: Final = {"28000", "28P01", "3D000"}

_WRONG_LOGIN: Final = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied for database",
    "is not permitted to log in",
)


class Conflict(errors.Rejected):
    """A constraint says no. `constraint` is its name: the caller knows which of its rules that is."""

    def __init__(self, constraint: str, detail: str) -> None:
        super().__init__("conflict", detail, status=409)
        self.constraint = constraint


def away(detail: str = "the database does not answer", *, after_s: float = 1.0) -> errors.Unavailable:
    """The server is gone, restarting or out of reach."""
    return errors.Unavailable("database_away", detail, after_s=after_s)


def unstorable() -> errors.Rejected:
    """Text that Postgres cannot hold: a NUL character or half of a surrogate pair."""
    return errors.Rejected("unstorable_text", "text holds a NUL character or an unpaired surrogate")


def of_result(result: pq.abc.PGresult) -> errors.PenstockError:
    """The error of a failed statement."""
    state = _text(result, _FIELD.SQLSTATE)
    return of_state(
        state,
        table=_text(result, _FIELD.TABLE_NAME),
        constraint=_text(result, _FIELD.CONSTRAINT_NAME),
        primary=_text(result, _FIELD.MESSAGE_PRIMARY),
    )


def of_state(state: str, *, table: str = "", constraint: str = "", primary: str = "") -> errors.PenstockError:
    """The error of an SQLSTATE; `primary` is the server's message and is shown only where it cannot quote a row."""
    return _of_caller(state, table, constraint) or _of_world(state) or _of_code(state, table, primary)


def _of_caller(state: str, table: str, constraint: str) -> errors.PenstockError | None:
    if state in CONFLICTS and constraint:
        return Conflict(constraint, f"{table or 'the row'} {CONFLICTS[state]} ({constraint})")
    if state in UNSTORABLE:
        return unstorable()
    if state in LOGINS:
        return errors.Rejected(
            "database_login",
            f"the database refuses this login ({state})",
            hint="Check user, password and database name of PENSTOCK_POSTGRES_URL.",
        )
    return None


def _of_world(state: str) -> errors.PenstockError | None:
    if not state:
        return away("the connection to the database was lost")
    if state in WAITING:
        code, detail, after_s = WAITING[state]
        return errors.Unavailable(code, detail, after_s=after_s)
    if state[:2] in WAITING_CLASSES:
        return away(f"the database is not ready ({state})")
    if state in STALE_PLANS:
        return errors.Unavailable("plan_stale", f"a table changed below a prepared statement ({state})", after_s=0.1)
    return None


def _of_code(state: str, table: str, primary: str) -> errors.PenstockError:
    if state == "42501":
        return errors.Broken("permission_denied", f"not allowed for this room or tenant: {primary}")
    if state == "23514":
        return errors.Broken("no_partition", f"no partition of {table or 'the table'} takes the row")
    shown = primary if state[:2] == "42" else "look into the server's log"
    return errors.Broken("database_error", f"Postgres refused a statement ({state}): {shown}")


def refused(error: psycopg.OperationalError) -> errors.PenstockError:
    """The error of a failed connection attempt: libpq tells a refused login from an absent server only by its text."""
    text = str(error)
    if any(words in text for words in _WRONG_LOGIN):
        return of_state("28000")
    if "too many" in text or "remaining connection slots" in text:
        return of_state("53300")
    return away()


def _text(result: pq.abc.PGresult, field: pq.DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode("utf-8", "replace")
