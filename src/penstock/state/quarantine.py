"""Quarantined messages as rows: kept when they arrive, listed, shown, and sent again to the consumer that gave up.

A redrive goes through the outbox of schema `state`, on the original subject, with `penstock-only: <consumer>`: other
consumers of the stream skip it. Its message id counts redrives, so that pressing twice sends twice and a crash once.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.database import migrations, pool, transaction
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import ports, route
from penstock.state import outbox

ROOM: Final = "state"
SCHEMA: Final = migrations.RoomSchema(ROOM, (*outbox.MIGRATIONS, *migrations.from_folder("penstock.state")))
"""The room's own tables, and its outbox."""

MOST: Final = 1000
"""Rows that one call lists or redrives at most."""

_COLUMNS: Final = (
    "tenant, id, stream, consumer, subject, sequence, message_id, headers, body, reason, code, detail, attempts, at, "
    "redriven_at, redriven_count"
)
_INSERT: Final = (
    "insert into state.quarantine (tenant, id, stream, consumer, subject, sequence, message_id, headers, body, reason, "
    "code, detail, attempts, at) values (%s, %s, %s, %s, %s, %s::bigint, %s, %s::jsonb, %s, %s, %s, %s, %s::integer, "
    "%s) on conflict do nothing"
)
_CHOSEN: Final = (
    "tenant = %s and (%s::text = '' or id = %s) and (%s::text = '' or stream = %s) "
    "and (%s::text = '' or consumer = %s) and (%s::text = '' or code = %s) "
    "and (%s::boolean is null or (redriven_at is not null) = %s)"
)
_PAGE: Final = (
    "and (%s::text = '' or (at, id) < (select at, id from state.quarantine where tenant = %s and id = %s)) "
    "order by at desc, id desc limit %s::integer"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantined:
    """One row. `reason` is poisoned, exhausted or rejected; `at` is when the consumer gave up."""

    tenant: str
    id: str
    stream: str
    consumer: str
    subject: str
    sequence: int
    message_id: str
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)
    reason: str
    code: str
    detail: str
    attempts: int
    at: datetime
    redriven_at: datetime | None
    redriven_count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which rows: an empty text and None mean any."""

    stream: str = ""
    consumer: str = ""
    code: str = ""
    redriven: bool | None = None

    def values(self, tenant: str, id: str = "") -> tuple[Any, ...]:
        """The values of the condition, in its order."""
        texts = (id, self.stream, self.consumer, self.code)
        return (tenant, *(text for text in texts for _ in range(2)), self.redriven, self.redriven)


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """What to send instead; None keeps the original."""

    headers: Mapping[str, str] | None = None
    body: bytes | None = None


class Quarantine:
    """What an operator does with a tenant's quarantined messages, and the handler that keeps them."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def handle(self, context: contexts.Context, delivery: ports.Delivery) -> None:
        """Keep what the QUARANTINE stream delivers (durable `quarantine`); the same delivery twice is one row.

        Raises Poisoned for a body that is none or belongs to another tenant, Unavailable when the database is away.
        """
        message = route.QUARANTINED.decode(delivery.headers, delivery.body)
        if message.tenant != context.tenant:
            raise errors.Poisoned("tenant_mismatch", "the record is of another tenant than its subject")
        async with self._database.transaction(ROOM, [context.tenant]) as bound:
            bound.send(_INSERT, _values(message))

    async def list(
        self, tenant: str, chosen: Filter | None = None, *, limit: int = 100, after: str = ""
    ) -> list[Quarantined]:
        """Rows, newest first; the next page comes `after` the id of the last one."""
        owner = ids.tenant_id(tenant)
        async with self._database.transaction(ROOM, [owner]) as bound:
            answer = bound.send(
                _select(_PAGE),
                (*(chosen or Filter()).values(owner), after, owner, after, min(limit, MOST)),
            )
        return [_row(row) for row in answer.rows()]

    async def show(self, tenant: str, id: str) -> Quarantined:
        """One row, whole. Raises Rejected `no_quarantined` (404)."""
        owner = ids.tenant_id(tenant)
        async with self._database.transaction(ROOM, [owner]) as bound:
            answer = bound.send(_select(""), Filter().values(owner, _id(id)))
        for row in answer.rows():
            return _row(row)
        raise _missing()

    async def redrive(self, tenant: str, id: str, edit: Edit | None = None) -> str:
        """Send one again, edited or as it was; returns its new message id.

        Raises Rejected `no_quarantined` (404), `body_missing` when the body was too large to be kept and none is given.
        """
        owner = ids.tenant_id(tenant)
        async with self._database.transaction(ROOM, [owner]) as bound:
            rows = await bound.fetch_all(_select("for update"), Filter().values(owner, _id(id)))
            if not rows:
                raise _missing()
            outgoing = _outgoing(_row(rows[0]), edit or Edit())
            await self._send(bound, [_row(rows[0])], [outgoing])
        return outgoing.headers[contexts.MESSAGE_ID]

    async def redrive_many(self, tenant: str, chosen: Filter, *, limit: int = MOST) -> int:
        """Send all chosen rows again, oldest first and at most `limit`; returns how many. Bodiless ones stay."""
        owner = ids.tenant_id(tenant)
        async with self._database.transaction(ROOM, [owner]) as bound:
            rows = await bound.fetch_all(
                _select("and body <> '' order by at, id limit %s::integer for update"),
                (*chosen.values(owner), min(limit, MOST)),
            )
            found = [_row(row) for row in rows]
            await self._send(bound, found, [_outgoing(row, Edit()) for row in found])
        return len(found)

    async def _send(
        self, bound: transaction.Transaction, rows: Sequence[Quarantined], outgoings: Sequence[ports.Outgoing]
    ) -> None:
        await outbox.append(bound, outgoings)
        if rows:
            await bound.execute(
                "update state.quarantine set redriven_at = now(), redriven_count = redriven_count + 1 "
                "where tenant = %s and id = any(%s::text[])",
                (rows[0].tenant, [row.id for row in rows]),
            )


@functools.cache
def _select(rest: str) -> str:
    return f"select {_COLUMNS} from state.quarantine where {_CHOSEN} {rest}"  # noqa: S608 - our own words


def _values(message: quarantine_pb2.Quarantined) -> tuple[Any, ...]:
    headers = {header.name: header.value for header in message.headers}
    message_id = next((value for name, value in headers.items() if name.lower() == contexts.MESSAGE_ID.lower()), "")
    return (
        message.tenant,
        ids.derive_id(message.tenant, message.stream, message.consumer, str(message.sequence), message_id),
        message.stream,
        message.consumer,
        message.subject,
        message.sequence,
        message_id,
        json.dumps(headers, ensure_ascii=False),
        message.body,
        quarantine_pb2.QuarantineReason.Name(message.reason).removeprefix("QUARANTINE_REASON_").lower(),
        message.code,
        message.detail.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        message.attempts,
        message.at.ToDatetime(tzinfo=UTC),
    )


def _outgoing(row: Quarantined, edit: Edit) -> ports.Outgoing:
    body = row.body if edit.body is None else edit.body
    if not body:
        raise errors.Rejected(
            "body_missing",
            "the message's body was not kept",
            hint=f"It is in stream {row.stream} at {row.sequence}; redrive it with a body.",
            status=409,
        )
    # What steers the server (ids, expectations, roll-ups) was meant for the first time, not for this one.
    kept = row.headers if edit.headers is None else edit.headers
    ours = {contexts.TENANT, contexts.ONLY}
    headers = {name: value for name, value in kept.items() if not name.lower().startswith("nats-")}
    headers = {name: value for name, value in headers.items() if name.lower() not in ours}
    headers |= {
        contexts.TENANT: row.tenant,
        contexts.ONLY: row.consumer,
        contexts.MESSAGE_ID: f"{row.tenant}:redrive-{row.id}-{row.redriven_count + 1}",
    }
    return ports.Outgoing(row.stream, row.subject, row.subject, headers, body)


def _row(row: Sequence[Any]) -> Quarantined:
    return Quarantined(*row)


def _id(id: str) -> str:
    """A non-empty id: an empty one would mean any row."""
    return id or "none"


def _missing() -> errors.Rejected:
    return errors.Rejected(
        "no_quarantined",
        "this tenant has no quarantined message of that id",
        hint="List them with 'penstock quarantine ls'.",
        status=404,
        field="id",
    )
