"""The room as one piece over real Postgres: in, out, crashes at each named point, and Postgres away."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.app import schema
from penstock.base import context as contexts
from penstock.base import errors
from penstock.channels import ports, wiring
from penstock.channels.settings import ChannelsSettings
from penstock.database import migrations, pool
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sealing import sealer, store
from penstock.servers import testing
from penstock.spine import consumer, provision, route, worker
from penstock.spine.adapters import spine_memory
from penstock.tenancy import service as tenancy
from penstock.tenancy import store as tenancy_store
from tests.unit.channels import fakes

SENT, UNKNOWN = outbound_pb2.RECEIPT_STATUS_SENT, outbound_pb2.RECEIPT_STATUS_UNKNOWN
REPORT = outbound_pb2.ON_AMBIGUOUS_REPORT


class Delivery:
    """A command as the durable hands it over."""

    def __init__(self, command: outbound_pb2.SendCommand) -> None:
        out = route.OUTBOUND.encode(contexts.start(fakes.ids.TenantId(command.tenant)), command)
        self.subject, self.headers, self.body = out.subject, out.headers, out.body


async def handle(room: wiring.ChannelsRoom, command: outbound_pb2.SendCommand) -> None:
    await room.outbound(contexts.start(fakes.ids.TenantId(command.tenant)), Delivery(command))  # type: ignore[arg-type]


async def receipts(house: Any, tenant: str = "acme") -> list[outbound_pb2.Receipt]:
    return [outbound_pb2.Receipt.FromString(row[2]) for row in await house.outbox("RECEIPTS", tenant=tenant)]


async def post(house: Any, account: ports.Account, *, signature: str = "right") -> int:
    """POST to the room's door; the status, where a refusal is raised."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(event: Any) -> None:
        statuses.extend([event["status"]] if event["type"] == "http.response.start" else [])

    path = f"/webhooks/{account.channel}/{account.id}"
    headers = [(b"signature", signature.encode())]
    await house.room.webhooks(
        {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, receive, send
    )
    return statuses[0]


async def test_a_webhook_is_stored_with_its_outbox_row_before_200_and_published_once(house: Any):
    account = await house.account()
    house.platform.reading = ports.Reading([fakes.message("e1"), fakes.message("e2")])
    assert [await post(house, account) for _ in range(3)] == [200, 200, 200]
    stored = await house.rows("select event_id, conversation, sender, body from channels.message order by 1")
    assert [row[:3] for row in stored] == [("e1", "room", "ana"), ("e2", "room", "ana")]
    published = await house.outbox("MESSAGES_INBOUND")
    assert [bytes(row[2]) for row in published] == [bytes(row[3]) for row in stored]


async def test_tenants_with_the_same_event_ids_both_get_theirs(house: Any):
    house.platform.reading = ports.Reading([fakes.message("e1")])
    for tenant in ("acme", "beta"):
        assert await post(house, await house.account(tenant)) == 200
        (row,) = await house.outbox("MESSAGES_INBOUND", tenant=tenant)
        assert message_pb2.Message.FromString(bytes(row[2])).tenant == tenant


async def test_what_is_refused_leaves_nothing(house: Any):
    account = await house.account()
    house.platform.reading = ports.Reading([fakes.message("e1")])
    with pytest.raises(errors.Rejected) as caught:
        await post(house, account, signature="wrong")
    assert caught.value.status == 401
    await house.tenancy.suspend("acme")
    with pytest.raises(errors.Unavailable, match="tenant_suspended"):
        await post(house, account)
    await house.tenancy.resume("acme")
    await house.room.accounts.disable("acme", account.id)
    with pytest.raises(errors.Rejected, match="account_disabled"):
        await post(house, account)
    assert await house.rows("select 1 from channels.message") == []


async def test_commands_of_two_tenants_with_one_id_and_a_foreign_account(house: Any):
    acme, beta = await house.account("acme"), await house.account("beta")
    for account in (acme, beta):
        await handle(house.room, fakes.command("c1", tenant=account.tenant, account=account.id))
    await handle(house.room, fakes.command("c2", account=beta.id))
    assert [sent.tenant for sent in house.platform.sent] == ["acme", "beta"]
    assert [(r.command_id, r.code) for r in await receipts(house)] == [("c1", ""), ("c2", "no_account")]
    assert [(r.command_id, r.code) for r in await receipts(house, "beta")] == [("c1", "")]


# Where a process can die. What survives is the rows and what the platform got.


class Killed(BaseException):
    """kill -9: no `except Exception` hears of it."""


@pytest.mark.parametrize(
    ("on_ambiguous", "status", "sent"), [(outbound_pb2.ON_AMBIGUOUS_RESEND, SENT, 1), (REPORT, UNKNOWN, 0)]
)
async def test_killed_after_the_claim_before_sending(house: Any, on_ambiguous: int, status: int, sent: int):
    command = fakes.command(account=(await house.account()).id, on_ambiguous=on_ambiguous)
    house.platform.answers = [Killed()]
    with pytest.raises(Killed):
        await handle(house.room, command)
    house.platform.sent.clear()
    await handle(house.restart(), command)
    (told,) = await receipts(house)
    assert (told.status, told.ambiguous, len(house.platform.sent)) == (status, True, sent)


@pytest.mark.parametrize(
    ("on_ambiguous", "status", "sent"), [(outbound_pb2.ON_AMBIGUOUS_RESEND, SENT, 2), (REPORT, UNKNOWN, 1)]
)
async def test_killed_after_sending_before_storing(house: Any, on_ambiguous: int, status: int, sent: int):
    command = fakes.command(account=(await house.account()).id, on_ambiguous=on_ambiguous)
    await without_postgres_after_sending(house, command)
    await handle(house.restart(), command)
    (told,) = await receipts(house)
    assert (told.status, told.ambiguous, len(house.platform.sent)) == (status, True, sent)


async def test_killed_after_storing_before_acknowledging(house: Any):
    command = fakes.command(account=(await house.account()).id)
    await handle(house.room, command)
    await handle(house.restart(), command)
    (told,) = await receipts(house)
    assert (told.status, told.ambiguous, told.attempts, len(house.platform.sent)) == (SENT, False, 1, 1)


async def without_postgres_after_sending(house: Any, command: outbound_pb2.SendCommand) -> None:
    """The platform takes the message, and while it does Postgres goes away."""
    original = house.platform.send

    async def last_words(*arguments: Any) -> ports.Sent:
        answer = await original(*arguments)
        await house.database.close()
        return answer

    house.platform.send = last_words
    with pytest.raises(errors.Unavailable):
        await handle(house.room, command)
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await handle(house.room, command)
    house.platform.send = original
    await house.database.open()


async def test_postgres_away_after_sending_is_not_sent_again_while_the_process_lives(house: Any):
    command = fakes.command(account=(await house.account()).id)
    await without_postgres_after_sending(house, command)
    await handle(house.room, command)
    (told,) = await receipts(house)
    assert (told.status, told.ambiguous, told.attempts, len(house.platform.sent)) == (SENT, False, 1, 1)


async def test_postgres_killed_under_a_cached_account_is_unavailable_and_never_200(house: Any):
    """The account is known, the signature holds, and the rows cannot be written: the platform must ask again."""
    async with testing.running_postgres() as endpoint:
        await house.database.close()
        fresh = await another(house, endpoint.url())
        account = await fresh.account()
        fresh.platform.reading = ports.Reading([fakes.message("e1")])
        assert await post(fresh, account) == 200
        fresh.platform.reading = ports.Reading([fakes.message("e2")])
    for _ in range(3):
        with pytest.raises(errors.Unavailable) as caught:
            await post(fresh, account)
        assert caught.value.after_s > 0
    with pytest.raises(errors.Unavailable):
        await handle(fresh.room, fakes.command(account=account.id))
    assert fresh.platform.sent == []
    await fresh.database.close()
    await house.database.open()


async def another(house: Any, url: str) -> Any:
    """The same house over a server of its own."""
    await migrations.migrate(url, [one for one in schema.rooms() if one.room in {"tenancy", "sealing", "channels"}])
    database = pool.Database(url, application="test", size=4, deadline_s=1.0)
    tenants = tenancy.Tenancy(tenancy_store.TenantStore(database))
    ring = house.sealer._ring
    found = dataclasses.replace(
        house,
        url=url,
        database=database,
        tenancy=tenants,
        sealer=sealer.Sealer(store.KeyStore(database), ring),
    )
    found.restart()
    await tenants.create("acme")
    return found


# The room behind a spine.


@pytest.fixture
async def spine() -> AsyncGenerator[spine_memory.MemorySpine]:
    found = spine_memory.MemorySpine(spine_memory.MemoryServer())
    await provision.streams(found)
    await provision.durable(found, consumer.OUTBOUND)
    yield found
    await found.close()


async def test_a_hundred_commands_leave_in_order_with_one_receipt_each_and_poison_harms_nobody(
    house: Any, spine: spine_memory.MemorySpine
):
    account = await house.account()
    for number in range(100):
        command = fakes.command(f"c{number}", str(number), account=account.id, conversation=f"room {number % 5}")
        out = route.OUTBOUND.encode(contexts.start(fakes.ACME), command)
        await spine.publish(out)
        if number == 50:
            await spine.publish(spine_like(out, b"\xff"))
    running = worker.Worker(spine, consumer.OUTBOUND, house.room.outbound, lane_of=wiring.lane_of)
    house.platform.answers = [errors.Unavailable("busy", "busy", after_s=0.05), ports.Sent("m")]
    await running.start()
    try:
        async with asyncio.timeout(30):
            while len(await receipts(house)) < 100:
                await asyncio.sleep(0.05)
    finally:
        await running.drain(5)
    told = await receipts(house)
    assert sorted(r.command_id for r in told) == sorted(f"c{number}" for number in range(100))
    assert {r.status for r in told} == {SENT}
    for room in range(5):
        texts = [c.text for c in house.platform.sent if c.conversation == f"room {room}"]
        assert list(dict.fromkeys(texts)) == [str(n) for n in range(100) if n % 5 == room]
    assert [(one.waiting, one.held) for one in await spine.consumer_states("MESSAGES_OUTBOUND")] == [(0, 0)] * 8
    browsed = spine.browse("QUARANTINE", "tenant.acme.quarantine.>", after=0)
    assert (await anext(browsed)).subject.endswith(".MESSAGES_OUTBOUND.outbound")
    await browsed.aclose()


def spine_like(out: Any, body: bytes) -> Any:
    return dataclasses.replace(out, body=body, headers={**out.headers, "Nats-Msg-Id": "acme:poison"})


async def test_a_terminal_reads_what_was_said_to_it_and_goes_on_after_a_break(house: Any):
    house.restart(ChannelsSettings(terminal_poll_s=0.05))
    terminal = await house.account("acme", "t", "terminal")
    other = await house.account("acme", "u", "terminal")
    for number in range(3):
        await handle(
            house.room,
            fakes.command(f"c{number}", f"hello {number}", channel="terminal", account=terminal.id),
        )
    await handle(house.room, fakes.command("x", channel="terminal", account=other.id))
    room = house.restart()
    opened = await room.known.find("terminal", terminal.id)
    with room.replies.follow(opened) as follower:
        assert [r.command.text for r in await follower.after(0)] == ["hello 0", "hello 1", "hello 2"]
        assert [r.command.text for r in await follower.after(2)] == ["hello 2"]
        assert list(await follower.after(3)) == []
