"""The room's tables in real Postgres: the rules of `suites`, races, and the wall between tenants."""

import asyncio
import contextlib
import dataclasses
from typing import Any

import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.model.command import Claimed, Outcome, State
from penstock.channels.model.unknown import kept
from penstock.channels.store import accounts, commands, messages
from penstock.messages.v1 import message_pb2
from tests.unit.channels import fakes, suites

TABLES = ("account", "account_secret", "message", "command", "reply_position", "unknown_event")


async def test_commands(house: Any):
    await suites.check_command_table(commands.CommandStore(house.database))
    assert len(await house.outbox("RECEIPTS")) == 7


async def test_messages(house: Any):
    await suites.check_message_table(messages.MessageStore(house.database))
    published = await house.outbox("MESSAGES_INBOUND")
    assert [row[1].rpartition(":")[2] for row in published] == ["z", "a", "m", "z"]
    assert len(await house.outbox("MESSAGES_INBOUND", tenant="beta")) == 1


async def test_one_event_delivered_by_twenty_at_once_is_new_to_one(house: Any):
    table, account = messages.MessageStore(house.database), fakes.account()
    results = await asyncio.gather(
        *(table.add(account, *suites.complete(account, fakes.message("e"))) for _ in range(20))
    )
    assert sorted(len(one.new) for one in results) == [0] * 19 + [1]
    assert not any(one.changed for one in results)
    assert len(await house.outbox("MESSAGES_INBOUND")) == 1


async def test_two_deliveries_of_one_event_in_one_group_and_one_that_says_something_else(house: Any):
    table, account = messages.MessageStore(house.database), fakes.account()
    deliveries = [fakes.message("e"), fakes.message("e"), fakes.message("e", "other"), fakes.message("f")]
    first, again, changed, other = await asyncio.gather(
        *(table.add(account, *suites.complete(account, one)) for one in deliveries)
    )
    assert [(one.new, one.changed) for one in (first, again, changed, other)] == [
        ({"e"}, set()),
        (set(), set()),
        (set(), {"e"}),
        ({"f"}, set()),
    ]
    assert len(await house.rows("select distinct xmin::text from channels.message")) == 1, "they shared a commit"
    published = [message_pb2.Message.FromString(row[2]) for row in await house.outbox("MESSAGES_INBOUND")]
    assert [(one.event_id, one.text) for one in published] == [("e", "hello"), ("f", "hello")]


async def test_a_request_is_stored_whole_or_not_at_all_beside_others(house: Any):
    """One of its messages is of another tenant, which no row of this one's may bring along."""
    table, account = messages.MessageStore(house.database), fakes.account()
    events, outgoing = suites.complete(account, *map(fakes.message, "abc"))
    foreign = suites.complete(fakes.account(fakes.BETA), fakes.message("b"))[1]
    bad = table.add(account, events, [outgoing[0], *foreign, outgoing[2]])
    good = table.add(account, *suites.complete(account, fakes.message("d")))
    refused, stored = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(refused, errors.Broken)
    assert isinstance(stored, messages.Recorded)
    assert [row[0] for row in await house.rows("select event_id from channels.message")] == ["d"]
    assert len(await house.outbox("MESSAGES_INBOUND")) == 1


async def test_events_leave_in_the_order_in_which_they_arrived_whatever_their_ids(house: Any):
    """Three hundred events of three conversations in many groups at once, with ids that sort the other way round."""
    table, account = messages.MessageStore(house.database), fakes.account()
    adding: list[asyncio.Task[messages.Recorded]] = []
    for number in range(300):
        said = fakes.message(f"{1000 - number}", str(number))
        said.conversation = f"room {number % 3}"
        adding.append(asyncio.create_task(table.add(account, *suites.complete(account, said))))
        if number % 7 == 0:
            await asyncio.sleep(0.001)
    await asyncio.gather(*adding)
    published = [message_pb2.Message.FromString(row[2]) for row in await house.outbox("MESSAGES_INBOUND")]
    for room in range(3):
        assert [one.text for one in published if one.conversation == f"room {room}"] == [
            str(number) for number in range(300) if number % 3 == room
        ]


async def test_tenants_share_a_commit_and_keep_their_own(house: Any):
    table = messages.MessageStore(house.database)
    accounts_of = [fakes.account(), fakes.account(fakes.BETA, "b")]
    await asyncio.gather(*(table.add(one, *suites.complete(one, fakes.message("e"))) for one in accounts_of))
    for account in accounts_of:
        assert await house.rows("select tenant from channels.message", tenant=account.tenant) == [(account.tenant,)]
        assert len(await house.outbox("MESSAGES_INBOUND", tenant=account.tenant)) == 1


class RolledBack(Exception):
    """The end of a transaction that only held others up."""


async def until_waiting(house: Any, count: int) -> None:
    """Until that many statements wait for another transaction to end."""
    async with asyncio.timeout(10):
        while (await house.rows("select count(*) from pg_locks where not granted"))[0][0] < count:
            await asyncio.sleep(0.01)


async def test_batches_that_overlap_in_opposite_orders_do_not_block_each_other(house: Any):
    """Each batch, of a process of its own, stops in the middle, where it holds an event that the other wants next."""
    tables, account = [messages.MessageStore(house.database) for _ in range(2)], fakes.account()
    waiting: list[asyncio.Task[messages.Recorded]] = []
    with contextlib.suppress(RolledBack):
        async with house.database.transaction("channels", ["acme"]) as holding:
            for name in ("m", "n"):
                await holding.execute(
                    "insert into channels.message values ('acme', %s, %s, 'room', 'ana', '', '', now())",
                    (account.id, name),
                )
            for table, names in zip(tables, ("amb", "bna"), strict=True):
                batch = suites.complete(account, *map(fakes.message, names))
                waiting.append(asyncio.create_task(table.add(account, *batch)))
            await until_waiting(house, 2)
            raise RolledBack
    first, second = await asyncio.gather(*waiting)
    assert sorted([*first.new, *second.new]) == ["a", "b", "m", "n"]


async def test_a_failing_outbox_takes_the_message_with_it(house: Any):
    table, account = messages.MessageStore(house.database), fakes.account()
    events, outgoing = suites.complete(account, fakes.message("e"))
    foreign = suites.complete(fakes.account(fakes.BETA), fakes.message("e"))[1]
    with pytest.raises(errors.Broken):
        await table.add(account, events, foreign)
    assert await house.rows("select 1 from channels.message") == []
    assert (await table.add(account, events, outgoing)).new == {"e"}


async def test_one_command_claimed_by_ten_at_once_counts_each_once(house: Any):
    table = commands.CommandStore(house.database)
    claims = await asyncio.gather(
        *(table.claim(fakes.command(), holder=f"p{number}", sending=True) for number in range(10))
    )
    assert sorted(claims, key=lambda one: one.attempts) == [Claimed(number + 1, number) for number in range(10)]
    ended = await asyncio.gather(
        *(
            table.finish(fakes.command(), Outcome(State.SENT, 10, 9), holder=f"p{number}", receipt=None, numbered=False)
            for number in range(10)
        )
    )
    assert sum(ended) == 1


async def test_a_reader_of_replies_never_misses_one_that_commits_late(house: Any):
    """Forty commits race for one account's sequence while somebody reads on from where they were."""
    table = commands.CommandStore(house.database)
    seen: list[int] = []

    async def say(number: int) -> None:
        command = fakes.command(f"c{number}", channel="terminal")
        await table.claim(command, holder="p", sending=True)
        await table.finish(command, Outcome(State.SENT, 1, 0), holder="p", receipt=None, numbered=True)

    async def read() -> None:
        while len(seen) < 40:
            last = seen[-1] if seen else 0
            found = await table.replies(fakes.ACME, fakes.account_id(), after=last, limit=7)
            seen.extend(reply.sequence for reply in found)

    async with asyncio.timeout(20):
        await asyncio.gather(read(), *(say(number) for number in range(40)))
    assert seen == list(range(1, 41))
    assert await table.latest(fakes.ACME, fakes.account_id()) == 40
    assert await table.latest(fakes.BETA, fakes.account_id()) == 0


async def test_a_name_is_taken_once_per_tenant(house: Any):
    table = accounts.AccountStore(house.database)
    made = await house.account(name=fakes.account().name)
    with pytest.raises(errors.Rejected, match="conflict"):
        await table.insert(fakes.account(), [secret("s")])
    assert await table.find(fakes.account_id()) is None
    assert not await table.add_secret(fakes.BETA, made.id, secret("foreign"))
    assert not await table.set_disabled(fakes.BETA, made.id, disabled=True)


async def test_two_secrets_added_at_once_are_still_at_most_two_live(house: Any):
    """Both are made to wait at the same time for a secret of the same id that is never committed."""
    table, made = accounts.AccountStore(house.database), await house.account()
    adding: list[asyncio.Task[bool]] = []
    with contextlib.suppress(RolledBack):
        async with house.database.transaction("channels", ["acme"]) as holding:
            for id in ("s1", "s2"):
                await holding.execute(
                    "insert into channels.account_secret values ('acme', %s, %s, '', now(), null)", (made.id, id)
                )
                adding.append(asyncio.create_task(table.add_secret(fakes.ACME, made.id, secret(id))))
            await until_waiting(house, 2)
            raise RolledBack
    assert sorted(await asyncio.gather(*adding)) == [False, True]


def secret(id: str, kind: ports.SecretKind = ports.SecretKind.SIGNING) -> Any:
    return accounts.model.SealedSecret(id, kind, b"sealed")


async def test_two_secrets_of_each_kind_may_live_and_one_of_an_earlier_build_signs(house: Any):
    table, made = accounts.AccountStore(house.database), await house.account()
    await house.rows(
        "insert into channels.account_secret values ('acme', %s, 'old', '', now(), null) returning 1", made.id
    )
    assert not await table.add_secret(fakes.ACME, made.id, secret("third"))
    for id in ("t1", "t2"):
        assert await table.add_secret(fakes.ACME, made.id, secret(id, ports.SecretKind.TOKEN))
    assert not await table.add_secret(fakes.ACME, made.id, secret("t3", ports.SecretKind.TOKEN))
    found = await table.find(made.id)
    assert sorted(one.kind for one in found.secrets) == ["signing", "signing", "token", "token"]
    assert next(one.kind for one in found.secrets if one.id == "old") is ports.SecretKind.SIGNING
    assert {one.kind for one in (await table.details(fakes.ACME, made.id)).secrets} == set(ports.SecretKind)


async def test_an_account_is_changed_once_from_what_it_was(house: Any):
    table, made = accounts.AccountStore(house.database), await house.account()
    await house.account(name="taken")
    after = dataclasses.replace(made, name="store", config={"url": "https://two.test/", "b": "1"})
    assert await table.change(made, after)
    assert not await table.change(made, dataclasses.replace(made, name="late"))
    assert not await table.change(dataclasses.replace(after, tenant=fakes.BETA), dataclasses.replace(after, name="x"))
    assert (await table.find(made.id)).account == after
    with pytest.raises(errors.Rejected, match="conflict"):
        await table.change(after, dataclasses.replace(after, name="taken"))


async def test_a_retired_secret_is_forgotten(house: Any):
    made = await house.room.accounts.create("acme", "webhook", "shop", config={"url": "https://example.test/"})
    new = made.secrets[ports.SecretKind.SIGNING]
    plain = new.secret.reveal().encode()
    (sealed,) = await house.rows("select sealed from channels.account_secret")
    assert plain not in bytes(sealed[0])
    await house.room.accounts.retire_secret("acme", made.account.id, new.id)
    assert await house.rows("select sealed from channels.account_secret") == [(None,)]


@pytest.mark.parametrize("table", TABLES)
async def test_no_tenant_sees_or_writes_another_ones_rows(house: Any, table: str):
    terminal = await house.account("acme", "t", "terminal")
    store = commands.CommandStore(house.database)
    command = fakes.command(account=terminal.id, channel="terminal")
    await store.claim(command, holder="p", sending=True)
    await store.finish(command, Outcome(State.SENT, 1, 0), holder="p", receipt=None, numbered=True)
    unknown = kept([ports.UnknownEvent("u", "call", b"")], fakes.NOW)
    await messages.MessageStore(house.database).add(terminal, *suites.complete(terminal, fakes.message()), unknown)
    seen = {
        "account": "select tenant from channels.account",
        "account_secret": "select tenant from channels.account_secret",
        "message": "select tenant from channels.message",
        "command": "select tenant from channels.command",
        "reply_position": "select tenant from channels.reply_position",
        "unknown_event": "select tenant from channels.unknown_event",
    }[table]
    assert await house.rows(seen) == [("acme",)]
    assert await house.rows(seen, tenant="beta") == []
    async with house.database.transaction("channels", []) as transaction:
        assert await transaction.fetch_all(seen) == []


async def test_no_tenant_writes_rows_of_another(house: Any):
    with pytest.raises(errors.Broken, match="permission_denied"):
        await house.rows(
            "insert into channels.reply_position (tenant, account, last) values ('acme', 'a', 1)", tenant="beta"
        )
