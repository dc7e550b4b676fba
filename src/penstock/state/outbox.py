"""The transactional outbox: what a room wants sent is a row of the same transaction as the fact it tells of.

Appending queues one statement and costs no round trip of its own. The room's publisher is woken by the commit.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.database import column, migrations, transaction, wire
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

_quoted: Final = json.encoder.encode_basestring

_listeners: Final[dict[str, set[Callable[[str], None]]]] = {}


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
    for stream in {outgoing.stream for outgoing in outgoings}:
        bound.on_commit(functools.partial(_ring, bound.room, stream))


def append_if(
    bound: transaction.Transaction, change: str, values: Sequence[Any], outgoing: ports.Outgoing
) -> wire.Answer:
    """Queue a change, and a message that is sent only if the change touched a row, as one statement.

    `change` inserts or updates at most one row and ends in `returning 1`. The answer, readable once the transaction has
    committed, has `affected` 1 or 0. So a transaction that needs to know whether it changed anything is one round trip.
    """
    answer = bound.send(_guarded(bound.room, change), (*values, *_row(outgoing)))
    bound.on_commit(functools.partial(_ring, bound.room, outgoing.stream))
    return answer


@functools.cache
def _guarded(room: str, change: str) -> str:
    return (
        f"with changed as ({change}) insert into {room}.outbox ({_COLUMNS}) "  # noqa: S608
        "select %s::text, %s::smallint, %s::text, %s::text, %s::text, %s::text, %s::jsonb, %s::bytea from changed"
    )


COLUMNS: Final[Mapping[str, type[column.Column]]] = {
    "partition": column.Smallints,
    "key": column.Texts,
    "stream": column.Texts,
    "subject": column.Texts,
    "message_id": column.Texts,
    "headers": column.Documents,
    "body": column.Blobs,
}
"""What `append_each` needs of every message besides its tenant."""


def elements(outgoing: ports.Outgoing, tenant: str) -> list[bytes]:
    """A message encoded for `append_each`, an element for each of `COLUMNS`.

    Raises Broken `bad_outgoing` as `append` does, and for a message of somebody else; Rejected `unstorable_text`.
    """
    message_id = outgoing.headers.get(contexts.MESSAGE_ID, "")
    if not outgoing.subject.startswith(f"tenant.{tenant}."):
        raise errors.Broken("bad_outgoing", "a row brings a message of another tenant")
    _check(outgoing, tenant, message_id)
    return [
        column.smallint(ids.partition(tenant, "outbox", outgoing.key)),
        *column.texts(outgoing.key, outgoing.stream, outgoing.subject, message_id),
        column.document(_document(outgoing.headers)),
        column.blob(outgoing.body),
    ]


def append_each(
    bound: transaction.Transaction, change: str, key: str, columns: Mapping[str, column.Column], *, stream: str = ""
) -> wire.Answer:
    """Queue a change of many rows, and for each row that it touches the message that tells of it, as one statement.

    `change` reads its rows from `given`, whose columns are `columns`: `tenant`, those of `COLUMNS`, `place` (in which
    order the messages leave), and its own. It ends in `returning <key>`, columns that tell the rows of `given` apart.
    The answer, readable once the transaction has committed, has the message id of each row that was touched. `stream`
    names the one that all messages are for, if it is one: the publisher then reads for that one only.
    """
    kinds = tuple((name, column_.sql) for name, column_ in columns.items())
    answer = bound.send(_each(bound.room, change, key, kinds), tuple(columns.values()))
    bound.on_commit(functools.partial(_ring, bound.room, stream))
    return answer


@functools.cache
def _each(room: str, change: str, key: str, kinds: tuple[tuple[str, str], ...]) -> str:
    """Read twice, so Postgres keeps `given` as it is; sorted last, so numbers are given out in the order of `place`."""
    names = ", ".join(name for name, _ in kinds)
    marks = ", ".join(f"%s::{kind}[]" for _, kind in kinds)
    return (
        f"with given as (select * from unnest({marks}) as row({names})), changed as ({change}) "  # noqa: S608
        f"insert into {room}.outbox ({_COLUMNS}) select {_COLUMNS} from given join changed using ({key}) "
        "order by place returning message_id"
    )


def _row(outgoing: ports.Outgoing) -> tuple[str | int | bytes, ...]:
    tenant = subject.tenant_of(outgoing.subject)
    message_id = outgoing.headers.get(contexts.MESSAGE_ID, "")
    _check(outgoing, tenant, message_id)
    return (
        tenant,
        ids.partition(tenant, "outbox", outgoing.key),
        outgoing.key,
        outgoing.stream,
        outgoing.subject,
        message_id,
        _document(outgoing.headers),
        outgoing.body,
    )


def _check(outgoing: ports.Outgoing, tenant: str, message_id: str) -> None:
    if not outgoing.stream or not message_id.startswith(f"{tenant}:"):
        raise errors.Broken(
            "bad_outgoing", "an outbox takes messages of a stream, with an id that starts with its tenant"
        )


def _document(headers: Mapping[str, str]) -> str:
    """A JSON object of texts."""
    return "{" + ",".join([f"{_quoted(name)}:{_quoted(value)}" for name, value in headers.items()]) + "}"


@functools.cache
def _insert(room: str, rows: str) -> str:
    """The statement for one room; the room's name has been checked by the pool that lent the transaction."""
    return f"insert into {room}.outbox ({_COLUMNS}) {rows}"


async def revive(bound: transaction.Transaction) -> int:
    """Send, after all, the rows of the bound tenants that were given up; returns how many. Mend the cause first."""
    revived = await bound.fetch_all(_revive(bound.room))
    for stream in {row[0] for row in revived}:
        bound.on_commit(functools.partial(_ring, bound.room, stream))
    return len(revived)


@functools.cache
def _revive(room: str) -> str:
    return (
        f"update {room}.outbox set failed_at = null, failure = null "  # noqa: S608
        "where failed_at is not null returning stream"
    )


def listen(room: str, callback: Callable[[str], None]) -> Callable[[], None]:
    """Call `callback(stream)` after each commit, in this process, that appended rows for it to the room's outbox.

    An empty name stands for some streams of those that had rows before. Returns how to stop.
    """
    listeners = _listeners.setdefault(room, set())
    listeners.add(callback)
    return functools.partial(listeners.discard, callback)


def _ring(room: str, stream: str) -> None:
    for callback in tuple(_listeners.get(room, ())):
        callback(stream)
