"""The transactional outbox: what a room wants sent is a row of the same transaction as the fact it tells of.

Appending queues one statement and costs no round trip of its own. The room's publisher is woken by the commit.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.database import migrations, transaction, wire
from penstock.spine import ports, subject

MIGRATIONS: Final = migrations.from_folder(Path(__file__).parent / "tables" / "migrations", prefix="state.")
"""Tables that the schema of every room with an outbox holds a copy of, before its own."""

_COLUMNS: Final = "tenant, partition, key, stream, subject, message_id, headers, body"
_SINGLE: Final = "values (%s, %s, %s, %s, %s, %s, %s::jsonb, %s)"
_MANY: Final = (
    "select tenant, partition, key, stream, subject, message_id, headers, body from unnest("
    "%s::text[], %s::smallint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]::jsonb[], %s::bytea[]"
    ") with ordinality as row(tenant, partition, key, stream, subject, message_id, headers, body, place) order by place"
)

_json: Final = json.JSONEncoder(ensure_ascii=False).encode

_listeners: Final[dict[str, set[Callable[[], None]]]] = {}


async def append(bound: transaction.Transaction, outgoings: Sequence[ports.Outgoing]) -> None:
    """Queue messages, in order, in the outbox of the transaction's room; they are sent once it has committed.

    Nothing is waited for: an error shows at the transaction's next round trip. A message of a tenant that the
    transaction is not bound to is refused there (Broken `permission_denied`).
    """
    if not outgoings:
        return
    rows = [_row(outgoing) for outgoing in outgoings]
    if len(rows) == 1:
        bound.send(_insert(bound.room, _SINGLE), rows[0])
    else:
        bound.send(_insert(bound.room, _MANY), [list(column) for column in zip(*rows, strict=True)])
    bound.on_commit(functools.partial(_ring, bound.room))


def append_if(
    bound: transaction.Transaction, change: str, values: Sequence[Any], outgoing: ports.Outgoing
) -> wire.Answer:
    """Queue a change, and a message that is sent only if the change touched a row, as one statement.

    `change` inserts or updates at most one row and ends in `returning 1`. The answer, readable once the transaction has
    committed, has `affected` 1 or 0. So a transaction that needs to know whether it changed anything is one round trip.
    """
    answer = bound.send(_guarded(bound.room, change), (*values, *_row(outgoing)))
    bound.on_commit(functools.partial(_ring, bound.room))
    return answer


@functools.cache
def _guarded(room: str, change: str) -> str:
    return (
        f"with changed as ({change}) insert into {room}.outbox ({_COLUMNS}) "  # noqa: S608
        "select %s::text, %s::smallint, %s::text, %s::text, %s::text, %s::text, %s::jsonb, %s::bytea from changed"
    )


def _row(outgoing: ports.Outgoing) -> tuple[str | int | bytes, ...]:
    tenant = subject.tenant_of(outgoing.subject)
    message_id = outgoing.headers.get(contexts.MESSAGE_ID, "")
    if not outgoing.stream or not message_id.startswith(f"{tenant}:"):
        raise errors.Broken(
            "bad_outgoing", "an outbox takes messages of a stream, with an id that starts with its tenant"
        )
    return (
        tenant,
        ids.partition(tenant, "outbox", outgoing.key),
        outgoing.key,
        outgoing.stream,
        outgoing.subject,
        message_id,
        _json(dict(outgoing.headers)),
        outgoing.body,
    )


@functools.cache
def _insert(room: str, rows: str) -> str:
    """The statement for one room; the room's name has been checked by the pool that lent the transaction."""
    return f"insert into {room}.outbox ({_COLUMNS}) {rows}"


async def revive(bound: transaction.Transaction) -> int:
    """Send, after all, the rows of the bound tenants that were given up; returns how many. Mend the cause first."""
    bound.on_commit(functools.partial(_ring, bound.room))
    return await bound.execute(_revive(bound.room))


@functools.cache
def _revive(room: str) -> str:
    return f"update {room}.outbox set failed_at = null, failure = null where failed_at is not null"  # noqa: S608


def listen(room: str, callback: Callable[[], None]) -> Callable[[], None]:
    """Call `callback` after each commit, in this process, that appended to the room's outbox; returns how to stop."""
    listeners = _listeners.setdefault(room, set())
    listeners.add(callback)
    return functools.partial(listeners.discard, callback)


def _ring(room: str) -> None:
    for callback in tuple(_listeners.get(room, ())):
        callback()
