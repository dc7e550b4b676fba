"""What is older than the settings say is forgotten, of every tenant and nothing else; for ever means for ever."""

import asyncio
import dataclasses

import pytest

from penstock.base import errors
from penstock.channels.service import retention as kinds
from penstock.channels.settings import ChannelsSettings
from penstock.state import retention
from penstock.state.settings import StateSettings
from tests.integration.person.stage import until
from tests.integration.person.test_erase import talk
from tests.integration.person.test_export import unknown

KEPT = ChannelsSettings(keep_messages_days=30, keep_commands_days=20, keep_unknown_events_days=10)


async def age(stage, days, prefix):
    """Let what people said and all that came of it be so many days old, and the whole quarantine."""
    for table, column, key in (
        ("channels.message", "received_at", "event_id"),
        ("channels.unknown_event", "received_at", "event_id"),
        ("channels.command", "created_at", "cause_event_id"),
    ):
        sql = (
            f"update {table} set {column} = now() - make_interval(days => %s) where starts_with({key}, %s) returning 1"
        )
        await stage.rows(sql, days, prefix)
    await stage.rows("update state.quarantine set at = now() - make_interval(days => %s) returning 1", days)


async def tenants(stage):
    return [tenant.id for tenant in await stage.house.tenancy.list()]


async def swept(stage, chosen, whose):
    """One round of it; how much of each kind was forgotten before and after."""
    running = retention.Retention(chosen, whose, first_s=0)
    before = {kind.kind: retention.forgotten.labels(kind.kind)._value.get() for kind in chosen}
    await running.start()
    try:
        await until(lambda: asyncio.sleep(0, running.rounds == 1))
    finally:
        await running.stop()
    return {kind.kind: retention.forgotten.labels(kind.kind)._value.get() - before[kind.kind] for kind in chosen}


async def test_what_is_old_is_forgotten_and_the_rest_is_left_alone(stage):
    for tenant in stage.accounts:
        await talk(stage, tenant, prefix="old")
        await talk(stage, tenant, prefix="new")
        await unknown(stage, tenant, "old-u", b"{}")
        await unknown(stage, tenant, "new-u", b"{}")
    await stage.at_rest(commands=16, quarantined=4)
    await age(stage, 40, "old")
    chosen = kinds.kinds(KEPT, stage.house.database)
    forgotten = await swept(stage, chosen, lambda: tenants(stage))
    assert forgotten == {"command": 6, "message": 8, "unknown_event": 2}
    left = await stage.rows("select event_id from channels.message union select event_id from channels.unknown_event")
    assert not [row for row in left if row[0].startswith("old")]
    assert len(left) == 5
    said = await stage.rows("select left(cause_event_id, 3), body is null, state from channels.command")
    assert sorted(set(said)) == [("", False, "sent"), ("new", False, "sent"), ("old", True, "sent")]
    assert await swept(stage, chosen, lambda: tenants(stage)) == dict.fromkeys(forgotten, 0)


async def test_old_quarantine_is_found_across_tenants_and_removed(stage):
    for tenant in stage.accounts:
        await stage.give_up(stage.message(tenant, "e", "U1", "words"))
    await stage.at_rest(quarantined=2)
    old = retention.OldQuarantine(stage.house.database, 30)
    assert await swept(stage, [old], old.tenants) == {"quarantine": 0}
    await age(stage, 40, "none")
    assert await old.tenants() == ["acme", "globex"]
    assert await swept(stage, [old], old.tenants) == {"quarantine": 2}
    assert await old.tenants() == []


async def test_the_relay_sees_whose_quarantine_is_old_and_nothing_of_it(stage):
    for sql in ("select body from state.quarantine", "delete from state.quarantine"):
        with pytest.raises(errors.Broken, match="permission_denied"):
            async with stage.house.database.transaction("relay") as bound:
                await bound.execute(sql)


async def test_many_rows_go_in_small_steps_and_a_row_that_is_held_holds_up_nobody(stage, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 7)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    await stage.hear(*(stage.message("acme", f"old-{number:03}", "U1", "words") for number in range(50)))
    await age(stage, 40, "old")
    chosen = kinds.kinds(KEPT, stage.house.database)
    async with stage.house.database.transaction("channels", ["acme"]) as holding:
        await holding.fetch_all("select 1 from channels.message where event_id = 'old-000' for update")
        assert (await swept(stage, chosen, lambda: tenants(stage)))["message"] == 49
    assert (await swept(stage, chosen, lambda: tenants(stage)))["message"] == 1


async def test_what_is_kept_for_ever_is_not_even_looked_at(stage):
    forever = dataclasses.replace(KEPT, keep_messages_days=0, keep_commands_days=0, keep_unknown_events_days=0)
    chosen = kinds.kinds(forever, stage.house.database)
    running = retention.Retention(chosen, lambda: tenants(stage), first_s=0)
    await running.start()
    await running.stop()
    assert [kind.keep_days for kind in chosen] == [0, 0, 0]
    assert StateSettings().keep_quarantine_days == 365
