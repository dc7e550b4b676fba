"""Events of unknown kinds in real Postgres: with their request's messages or not at all, once, and a tenant's own."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.model import unknown as model
from penstock.channels.store import messages, unknown
from tests.integration.channels import test_room
from tests.unit.channels import fakes, suites


def kept(*names: str, body: bytes = b"\x00\xff whole", minutes: int = 0) -> list[model.Kept]:
    at = fakes.NOW + timedelta(minutes=minutes)
    return model.kept([ports.UnknownEvent(name, f"kind of {name}", body) for name in names], at)


async def rows(house: Any, tenant: str = "acme") -> list[str]:
    return [row[0] for row in await house.rows("select event_id from channels.unknown_event order by 1", tenant=tenant)]


async def test_they_are_kept_whole_and_once_with_the_messages_of_their_request(house: Any):
    table, account = messages.MessageStore(house.database), fakes.account()
    first = await table.add(account, *suites.complete(account, fakes.message("e")), kept("u1", "u2"))
    assert (first.new, first.unknown) == ({"e"}, 2)
    again = await table.add(account, *suites.complete(account, fakes.message("e")), kept("u1", "u3", body=b"other"))
    assert (again.new, again.changed, again.unknown) == (frozenset(), frozenset(), 1)
    alone = await table.add(account, [], [], kept("u4"))
    assert (alone.new, alone.unknown) == (frozenset(), 1)
    assert await rows(house) == ["u1", "u2", "u3", "u4"]
    found = await unknown.UnknownStore(house.database).find(fakes.ACME, account.id, "u1")
    assert found == kept("u1")[0]
    assert len(await house.outbox("MESSAGES_INBOUND")) == 1, "what nobody understands is published to nobody"


async def test_all_of_a_request_is_stored_or_nothing(house: Any):
    """Its message would be published for another tenant, which no row of this one's may bring along."""
    table, account = messages.MessageStore(house.database), fakes.account()
    events, _ = suites.complete(account, fakes.message("e"))
    foreign = suites.complete(fakes.account(fakes.BETA), fakes.message("e"))[1]
    with pytest.raises(errors.Broken):
        await table.add(account, events, foreign, kept("u1"))
    assert await rows(house) == []


async def test_many_at_once_share_commits_with_messages_and_none_is_lost_or_doubled(house: Any):
    """Requests with messages, with unknown events, with both, and repetitions of them, in two processes."""
    tables, account = [messages.MessageStore(house.database) for _ in range(2)], fakes.account()
    adding: list[Any] = []
    for number in range(60):
        said = suites.complete(account, fakes.message(f"e{number}")) if number % 3 else ([], [])
        strange = kept(f"u{number}", f"u{number % 7}") if number % 2 else []
        adding += [table.add(account, *said, strange) for table in tables]
    recorded = await asyncio.gather(*adding)
    expected = {name for number in range(1, 60, 2) for name in (f"u{number}", f"u{number % 7}")}
    assert set(await rows(house)) == expected
    assert sum(one.unknown for one in recorded) == len(expected)
    assert sum(len(one.new) for one in recorded) == 40
    assert len(await house.outbox("MESSAGES_INBOUND")) == 40


async def test_a_tenant_reads_its_own_newest_first(house: Any):
    table = messages.MessageStore(house.database)
    for minutes, account in enumerate((fakes.account(), fakes.account(letter="b"), fakes.account(fakes.BETA, "c"))):
        await table.add(account, [], [], kept("u1", minutes=minutes))
    store = unknown.UnknownStore(house.database)
    assert [(of[4], one.body, one.size_bytes) for of, one in await store.latest(fakes.ACME, "", 9)] == [
        ("b", b"", 8),
        ("a", b"", 8),
    ]
    assert [of[4] for of, _ in await store.latest(fakes.ACME, fakes.account_id(), 9)] == ["a"]
    assert len(await store.latest(fakes.ACME, "", 1)) == 1
    assert await store.find(fakes.BETA, fakes.account_id(), "u1") is None
    assert await rows(house, "beta") == ["u1"]


async def test_what_an_account_has_is_counted_for_it_alone(house: Any):
    table, store = messages.MessageStore(house.database), unknown.UnknownStore(house.database)
    assert await store.held(fakes.ACME, fakes.account_id()) == (0, 0)
    for account in (fakes.account(), fakes.account(letter="b"), fakes.account(fakes.BETA, "c")):
        await table.add(account, [], [], kept("u1", "u2", body=b"x" * 9000))
    assert await store.held(fakes.ACME, fakes.account_id()) == (2, 18_000)
    assert await store.held(fakes.BETA, fakes.account_id()) == (0, 0)


async def test_a_webhook_of_an_unknown_kind_is_answered_once_it_is_stored(house: Any):
    account = await house.account()
    house.platform.reading = ports.Reading(unknown=[ports.UnknownEvent("u9", "call.started", b"{}")])
    assert await test_room.post(house, account) == 200
    assert [one.event_id for one in await house.room.unknown.list("acme", account=account.id)] == ["u9"]
