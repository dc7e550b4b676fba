"""Rows of `message`, each committed together with the outbox row that publishes it."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC
from typing import Final

from penstock.channels import ports
from penstock.channels.model import event
from penstock.database import pool
from penstock.spine import ports as spine_ports
from penstock.state import outbox

_INSERT: Final = """
insert into channels.message (tenant, account, received_at, event_id, conversation, sender, body, body_hash)
select %s::text, %s::text, %s::timestamptz, e.*
from unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::bytea[]) as e
on conflict (tenant, account, event_id) do nothing
returning event_id"""
_INSERT_ONE: Final = """
insert into channels.message (tenant, account, received_at, event_id, conversation, sender, body, body_hash)
values (%s::text, %s::text, %s::timestamptz, %s::text, %s::text, %s::text, %s::bytea, %s::bytea)
on conflict (tenant, account, event_id) do nothing
returning 1"""
_STORED: Final = """
select event_id, body_hash from channels.message where tenant = %s and account = %s and event_id = any(%s::text[])"""


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """What an insert found: ids of events that are new, and of known ones that say something else this time."""

    new: frozenset[str]
    changed: frozenset[str]


class MessageStore:
    """Messages in Postgres."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def add(
        self, account: ports.Account, events: Sequence[event.Event], outgoing: Sequence[spine_ports.Outgoing]
    ) -> Recorded:
        """Store the events that are new and what publishes them (`outgoing`, one for each event), all or nothing.

        Raises Unavailable when it is not certain that the transaction committed.
        """
        if len(events) == 1:
            return await self._add_one(account, events[0], outgoing[0])
        bodies = {e.message.event_id: out.body for e, out in zip(events, outgoing, strict=True)}
        # Sorted, so that two requests with the same events wait for each other and never both for the other.
        rows = sorted(events, key=lambda e: e.message.event_id)
        messages = [row.message for row in rows]
        params = (
            account.tenant,
            account.id,
            messages[0].received_at.ToDatetime(tzinfo=UTC),
            [m.event_id for m in messages],
            [m.conversation for m in messages],
            [m.sender.id for m in messages],
            [bodies[m.event_id] for m in messages],
            [row.body_hash for row in rows],
        )
        async with self._database.transaction("channels", [account.tenant]) as transaction:
            new = {row[0] for row in await transaction.fetch_all(_INSERT, params)}
            fresh = [out for e, out in zip(events, outgoing, strict=True) if e.message.event_id in new]
            if fresh:
                await outbox.append(transaction, fresh)
            known = {e.message.event_id: e.body_hash for e in events if e.message.event_id not in new}
            changed: list[str] = []
            if known:
                stored = await transaction.fetch_all(_STORED, (account.tenant, account.id, list(known)))
                changed = [event_id for event_id, body_hash in stored if bytes(body_hash) != known[event_id]]
        return Recorded(frozenset(new), frozenset(changed))

    async def _add_one(self, account: ports.Account, one: event.Event, outgoing: spine_ports.Outgoing) -> Recorded:
        """What nearly every request holds, in one round trip; an event that was there is looked at in another."""
        message = one.message
        params = (
            account.tenant,
            account.id,
            message.received_at.ToDatetime(tzinfo=UTC),
            message.event_id,
            message.conversation,
            message.sender.id,
            outgoing.body,
            one.body_hash,
        )
        async with self._database.transaction("channels", [account.tenant]) as transaction:
            answer = outbox.append_if(transaction, _INSERT_ONE, params, outgoing)
        if answer.affected:
            return Recorded(frozenset((message.event_id,)), frozenset())
        async with self._database.transaction("channels", [account.tenant]) as transaction:
            stored = await transaction.fetch_all(_STORED, (account.tenant, account.id, [message.event_id]))
        changed = [event_id for event_id, body_hash in stored if bytes(body_hash) != one.body_hash]
        return Recorded(frozenset(), frozenset(changed))
