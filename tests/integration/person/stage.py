"""People who talk to two tenants with real servers under them, and every place that keeps something about them."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime
import itertools
import os
import time
from typing import Any

import psycopg

from penstock.app import configuration, house, person, schema
from penstock.base import context as contexts
from penstock.base import ids
from penstock.channels.model import event
from penstock.messages.v1 import message_pb2, outbound_pb2, quarantine_pb2
from penstock.spine import consumer, provision, route, stream, worker
from penstock.spine.adapters import spine_nats
from penstock.state import keeper, limits, publisher

APP = "echo"


def environment(folder) -> dict[str, str]:
    """An operator's, with a key of its own."""
    return {"PENSTOCK_SEALING_KEY": base64.b64encode(os.urandom(32)).decode(), "PENSTOCK_DATA": str(folder)}


@dataclasses.dataclass
class Stage:
    """The rooms over a database, the streams of one nats-server, and what carries from one to the other."""

    database_url: str
    nats_url: str
    environ: dict[str, str]
    house: house.House
    spine: spine_nats.NatsSpine
    accounts: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: list[Any] = dataclasses.field(default_factory=list)
    given_up: Any = dataclasses.field(default_factory=lambda: itertools.count(1))

    def people(self, *, without_streams: bool = False) -> person.People:
        return person.People(self.house, None if without_streams else self.spine, arrives_within_s=0)

    async def keep_unknown(self, account, one, at) -> None:
        """What a webhook does with an event that nobody here can read."""
        async with self.house.database.transaction("channels", [account.tenant]) as bound:
            await bound.execute(
                "insert into channels.unknown_event values (%s, %s, %s, %s, %s, %s, %s)",
                (account.tenant, account.id, one.event_id, one.kind, one.body, len(one.body), at),
            )

    async def settle_in(self, *tenants: str) -> None:
        """A terminal account for each tenant: what apps say on it counts as sent at once."""
        for tenant in tenants:
            await self.house.tenancy.create(tenant)
            made = await self.house.channels.accounts.create(tenant, "terminal", "talk")
            self.accounts[tenant] = made.account

    async def start(self) -> None:
        """What the roles run."""
        await provision.streams(self.spine)
        limit = limits.PublisherLimits(look_s=0.1, poll_s=0.05)
        for room in schema.OUTBOXES:
            self.parts.append(publisher.Publisher(self.house.database, self.spine, room, limit=limit))
        self.parts.append(keeper.Keeper(self.house.database, self.spine, look_s=0.1))
        for policy, handle in (
            (consumer.OUTBOUND, self.house.channels.outbound),
            (consumer.QUARANTINE, self.house.quarantine.handle),
        ):
            await provision.durable(self.spine, policy)
            self.parts.append(worker.Worker(self.spine, policy, handle))
        for part in self.parts:
            await part.start()

    async def stop(self) -> None:
        for part in self.parts:
            await (part.drain(5) if isinstance(part, worker.Worker) else part.stop())
        self.parts.clear()

    def message(self, tenant: str, event_id: str, sender: str, text: str, *, room: str = "lobby", **more: Any):
        account = self.accounts[tenant]
        return message_pb2.Message(
            event_id=event_id,
            tenant=tenant,
            channel=account.channel,
            account=account.id,
            conversation=room,
            message_id=f"m-{event_id}",
            sender=message_pb2.Sender(id=sender, display_name=f"name of {sender}"),
            text=text,
            **more,
        )

    async def hear(self, *messages: message_pb2.Message, received_at: datetime.datetime | None = None) -> list[bool]:
        """What a webhook does once it is believed; for each message whether it was new."""
        new: list[bool] = []
        received_at = received_at or datetime.datetime.now(datetime.UTC)
        for message in messages:
            account = self.accounts[message.tenant]
            said = message_pb2.Message.FromString(message.SerializeToString())
            complete = event.complete(said, account, received_at)
            bound = contexts.start(ids.tenant_id(message.tenant))
            outgoing = route.INBOUND.encode(bound, complete.message)
            recorded = await self.house.channels.messages.add(account, [complete], [outgoing])
            assert not recorded.changed
            new.append(message.event_id in recorded.new)
        return new

    def reply(self, message: message_pb2.Message, text: str) -> outbound_pb2.SendCommand:
        return outbound_pb2.SendCommand(
            command_id=ids.derive_id("reply", message.event_id, text),
            tenant=message.tenant,
            channel=message.channel,
            account=message.account,
            conversation=message.conversation,
            text=text,
            app=APP,
            cause_event_id=message.event_id,
        )

    async def answer(self, command: outbound_pb2.SendCommand) -> None:
        """What an app does."""
        await self.spine.publish(route.OUTBOUND.encode(contexts.start(ids.tenant_id(command.tenant)), command))

    async def give_up(self, message: message_pb2.Message) -> None:
        """What a worker does with a message that no handler can take."""
        outgoing = route.INBOUND.encode(contexts.start(ids.tenant_id(message.tenant)), message)
        record = quarantine_pb2.Quarantined(
            tenant=message.tenant,
            stream=stream.MESSAGES_INBOUND.name,
            consumer=f"app_{message.tenant}_{APP}",
            subject=outgoing.subject,
            sequence=next(self.given_up),
            headers=[quarantine_pb2.Header(name=name, value=value) for name, value in outgoing.headers.items()],
            body=outgoing.body,
            reason=quarantine_pb2.QUARANTINE_REASON_POISONED,
            code="undecodable",
            attempts=1,
        )
        record.at.GetCurrentTime()
        await self.spine.publish(route.QUARANTINED.encode(contexts.start(ids.tenant_id(message.tenant)), record))

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the superuser, past every wall."""
        async with await psycopg.AsyncConnection.connect(self.database_url) as admin:
            return await (await admin.execute(sql, values)).fetchall()

    async def at_rest(self, *, commands: int | None = None, quarantined: int | None = None) -> None:
        """Until every outbox is empty and so many commands and quarantine rows are there."""

        async def resting() -> bool:
            ((waits,),) = await self.rows(
                "select (select count(*) from channels.outbox where published_at is null) "
                "+ (select count(*) from state.outbox where published_at is null)"
            )
            ((sent,),) = await self.rows("select count(*) from channels.command where state = 'sent'")
            ((kept,),) = await self.rows("select count(*) from state.quarantine")
            return not waits and (commands is None or sent == commands) and (quarantined is None or kept == quarantined)

        await until(resting)

    async def everywhere(self, words: str, *, besides: str = " nobody ") -> list[str]:
        """Every table and stream in which some words can be found, by looking at all of it but one tenant's."""
        found: list[str] = []
        async with await psycopg.AsyncConnection.connect(self.database_url) as admin:
            tables = await (
                await admin.execute(
                    "select format('%I.%I', schemaname, tablename) from pg_tables "
                    "where schemaname in ('channels', 'state', 'tenancy', 'sealing') and tablename !~ '^outbox_[0-9]'"
                )
            ).fetchall()
            for (table,) in tables:
                # Text as it is, and bytes as Postgres prints them.
                sql = f"select count(*) from {table} as row where row::text like any(%s) and row::text not like %s"
                looked = ([f"%{words}%", f"%{words.encode().hex()}%"], f"%{besides}%")
                row = await (await admin.execute(sql, looked)).fetchone()
                found += [table] if row and row[0] else []
        for policy in stream.STREAMS:
            state = await self.spine.stream_state(policy.name)
            for sequence in range(max(1, state.first), state.last + 1) if state else ():
                one = await self.spine.message(policy.name, sequence)
                whole = one.body + one.subject.encode() + repr(dict(one.headers)).encode() if one else b""
                if words.encode() in whole and besides.encode() not in whole:
                    found.append(policy.name)
                    break
        return sorted(found)


async def until(condition, *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def opened(database_url: str, nats_url: str, folder):
    """Everything but what runs, over a database with our tables in it."""
    spine, environ = await spine_nats.NatsSpine.connect(nats_url, wait_s=10), environment(folder)
    try:
        async with house.opened(configuration.load(environ), database_url, application="test") as joined:
            found = Stage(database_url, nats_url, environ, joined, spine)
            try:
                yield found
            finally:
                await found.stop()
    finally:
        await spine.close()
