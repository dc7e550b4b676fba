"""Looking into unknown events: a tenant's own, newest first, and whole when asked for one."""

from datetime import timedelta

import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.model import unknown as model
from penstock.channels.service import unknown
from tests.unit.channels import fakes


@pytest.fixture
async def events() -> unknown.UnknownEvents:
    table = fakes.MessageTable()
    for number, account in enumerate((fakes.account(), fakes.account(letter="b"), fakes.account(fakes.BETA, "c"))):
        for event_id in ("u1", "u2"):
            at = fakes.NOW + timedelta(minutes=number)
            kept = model.kept([ports.UnknownEvent(event_id, f"kind {number}", b"body")], at)
            await table.add(account, [], [], kept)
    return unknown.UnknownEvents(table)


async def test_a_tenant_sees_its_own_newest_first(events: unknown.UnknownEvents):
    found = await events.list("acme")
    assert [(one.account[4], one.event_id) for one in found] == [("b", "u2"), ("b", "u1"), ("a", "u2"), ("a", "u1")]
    assert {one.kind for one in found} == {"kind 0", "kind 1"}
    assert [one.account[4] for one in await events.list("beta", limit=1)] == ["c"]
    assert {one.account for one in await events.list("acme", account=fakes.account_id("a"))} == {fakes.account_id("a")}
    assert await events.list("acme", account=fakes.account_id("c")) == []


async def test_one_is_shown_whole_and_only_to_its_tenant(events: unknown.UnknownEvents):
    assert (await events.show("acme", fakes.account_id(), "u1")).body == b"body"
    for tenant, account, event_id in (
        ("beta", fakes.account_id(), "u1"),
        ("acme", fakes.account_id("c"), "u1"),
        ("acme", fakes.account_id(), "u3"),
        ("acme", fakes.account_id(), "u\0"),
        ("acme", "not-an-id", "u1"),
    ):
        with pytest.raises(errors.Rejected) as caught:
            await events.show(tenant, account, event_id)
        assert (caught.value.code, caught.value.status) == ("no_unknown_event", 404)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limits_are_kept(events: unknown.UnknownEvents, limit: int):
    with pytest.raises(errors.Rejected, match="bad_limit"):
        await events.list("acme", limit=limit)


async def test_an_account_that_is_none_is_not_looked_for(events: unknown.UnknownEvents):
    with pytest.raises(errors.Rejected, match="no_account"):
        await events.list("acme", account="; drop table")
