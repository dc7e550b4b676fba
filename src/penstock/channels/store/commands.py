"""Rows of `command`: claimed before a platform is asked, finished together with the receipt that tells how it ended."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import errors, ids
from penstock.channels.model import command as model
from penstock.database import pool
from penstock.messages.v1 import outbound_pb2
from penstock.spine import ports as spine_ports
from penstock.state import outbox

# What is found `sending` under another holder was left by a process that died: that attempt is ambiguous. Under our own
# holder it was claimed by us and never asked (what we did ask, we remember), so it is neither counted nor ambiguous.
# An erased command has no hash: whatever comes under its id is taken for it. What answers an erased event is not kept.
_CLAIM: Final = """
insert into channels.command as c (
    tenant, command_id, channel, account, conversation, app, cause_event_id, body, body_hash, state, holder, attempts)
values (%s, %s, %s, %s, %s, %s, %s, (select %s::bytea where not exists (
    select from channels.message as m where m.tenant = %s and m.account = %s and m.event_id = %s and m.body is null)),
    %s, %s, %s, %s)
on conflict (tenant, command_id) do update set
    state = excluded.state,
    holder = excluded.holder,
    attempts = c.attempts
        + case when c.state = 'sending' and c.holder = excluded.holder then 0 else excluded.attempts end,
    ambiguities = c.ambiguities + (c.state = 'sending' and c.holder <> excluded.holder)::integer,
    updated_at = now()
where c.state in ('sending', 'waiting') and c.body_hash in (excluded.body_hash, '')
returning attempts, ambiguities"""
_SETTLED: Final = "select state, body_hash from channels.command where tenant = %s and command_id = %s"
_FINISH: Final = """
update channels.command set state = %s, attempts = %s, ambiguities = %s, message_id = %s, code = %s, detail = %s,
    updated_at = now()
where tenant = %s and command_id = %s and holder = %s and state in ('sending', 'waiting')"""
_FINISH_AND_TELL: Final = f"{_FINISH}\nreturning 1"
_END: Final = """
select body_hash, state, attempts, ambiguities, message_id, code, detail from channels.command
where tenant = %s and command_id = %s"""
_TARGET: Final = """
select message_id from channels.command
where tenant = %s and command_id = %s and account = %s and conversation = %s and app = %s and state = 'sent'"""
_NUMBER: Final = """
with next as (
    insert into channels.reply_position as p (tenant, account, last) values (%s, %s, 1)
    on conflict (tenant, account) do update set last = p.last + 1 returning last)
update channels.command set sequence = (select last from next) where tenant = %s and command_id = %s"""
_LATEST: Final = "select last from channels.reply_position where tenant = %s and account = %s"
_REPLIES: Final = """
select sequence, body, message_id, updated_at from channels.command
where tenant = %s and account = %s and sequence > %s and body is not null order by sequence limit %s"""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """Something that an app said, at its place in its account's stream."""

    sequence: int
    command: outbound_pb2.SendCommand
    message_id: str
    sent_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """Where a command is now, and which words it was (`model.fingerprint`; empty once they were erased)."""

    body_hash: bytes
    outcome: model.Outcome


class CommandStore:
    """Commands in Postgres."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def claim(
        self, command: outbound_pb2.SendCommand, *, holder: str, sending: bool
    ) -> model.Claimed | model.Settled:
        """Take up a command: make its row or take over the open one. `sending` counts an attempt.

        Raises Unavailable when it is not certain that it committed: claim again then, before anything is sent.
        """
        state = model.State.SENDING if sending else model.State.WAITING
        body_hash = model.fingerprint(command)
        row = (
            command.tenant,
            command.command_id,
            command.channel,
            command.account,
            command.conversation,
            command.app,
            command.cause_event_id,
            command.SerializeToString(deterministic=True),
            *(command.tenant, command.account, command.cause_event_id),
            body_hash,
            state.value,
            holder,
            int(sending),
        )
        async with self._database.transaction("channels", [ids.TenantId(command.tenant)]) as transaction:
            answer = transaction.send(_CLAIM, row)
        if claimed := answer.rows():
            return model.Claimed(*claimed[0])
        async with self._database.transaction("channels", [ids.TenantId(command.tenant)]) as transaction:
            found = await transaction.fetch_one(_SETTLED, (command.tenant, command.command_id))
        if found is None:
            raise errors.Unavailable("command_moved", "the command's row was removed while it was claimed")
        return model.Settled(model.State(found[0]), same=bytes(found[1]) in (body_hash, b""))

    async def finish(
        self,
        command: outbound_pb2.SendCommand,
        outcome: model.Outcome,
        *,
        holder: str,
        receipt: spine_ports.Outgoing | None,
        numbered: bool,
    ) -> bool:
        """Store how an attempt ended, with its receipt, all or nothing; False when the row is no longer ours.

        `numbered` gives it the next place in its account's stream of replies. Raises Unavailable when it is not
        certain that it committed: finish again then, which changes nothing if it did.
        """
        tenant, command_id = command.tenant, command.command_id
        ending = (*_ending(outcome), tenant, command_id, holder)
        if receipt is not None and not numbered:
            async with self._database.transaction("channels", [ids.TenantId(tenant)]) as transaction:
                answer = outbox.append_if(transaction, _FINISH_AND_TELL, ending, receipt)
            return answer.affected == 1
        async with self._database.transaction("channels", [ids.TenantId(tenant)]) as transaction:
            changed = await transaction.execute(_FINISH, ending)
            if changed == 0:
                return False
            if numbered:
                await transaction.execute(_NUMBER, (tenant, command.account, tenant, command_id))
            if receipt is not None:
                await outbox.append(transaction, [receipt])
        return True

    async def target(self, command: outbound_pb2.SendCommand) -> str:
        """The platform's id of what the same app said in the same conversation under `target_command_id`.

        Empty when that was not sent, or its platform gave no id.
        """
        place = (command.tenant, command.target_command_id, command.account, command.conversation, command.app)
        async with self._database.transaction("channels", [ids.TenantId(command.tenant)]) as transaction:
            row = await transaction.fetch_one(_TARGET, place)
        return str(row[0]) if row else ""

    async def end(self, tenant: ids.TenantId, command_id: str) -> End | None:
        """How a command ended, or where it is; None before it was taken up."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            row = await transaction.fetch_one(_END, (tenant, command_id))
        if row is None:
            return None
        body_hash, state, attempts, ambiguities, message_id, code, detail = row
        outcome = model.Outcome(model.State(state), attempts, ambiguities, message_id, code, detail)
        return End(bytes(body_hash), outcome)

    async def latest(self, tenant: ids.TenantId, account: str) -> int:
        """The last sequence given out for an account; 0 when there is none."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            row = await transaction.fetch_one(_LATEST, (tenant, account))
        return int(row[0]) if row else 0

    async def replies(self, tenant: ids.TenantId, account: str, *, after: int, limit: int) -> Sequence[Reply]:
        """What apps said in an account's conversations after sequence `after`, in order, at most `limit`."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            rows = await transaction.fetch_all(_REPLIES, (tenant, account, after, limit))
        return [
            Reply(sequence, outbound_pb2.SendCommand.FromString(bytes(body)), message_id, sent_at)
            for sequence, body, message_id, sent_at in rows
        ]


def _ending(outcome: model.Outcome) -> tuple[Any, ...]:
    return (
        outcome.state.value,
        outcome.attempts,
        outcome.ambiguities,
        outcome.message_id,
        outcome.code,
        outcome.detail,
    )
