"""Keys are replaced on a real Postgres: while secrets are read and written, after any crash, and by one at a time."""

import asyncio
import os
import sys
from pathlib import Path

import psycopg
import pytest

from penstock.app import secrets
from penstock.base import errors
from penstock.database import pool
from penstock.sealing import model, rekey, rekey_store
from penstock.state import erasures
from tests.integration.sealing import safe as safes
from tests.integration.sealing.safe import NEW, OLD, SECRETS, TENANTS

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
async def safe(fresh_postgres):
    made = await safes.opened(fresh_postgres)
    yield made
    await made.database.close()


async def run(safe, *keys, data_keys=False, **options):
    rekeyer, store = await safe.rekey(*keys, **options)
    try:
        return await rekeyer.run(data_keys=data_keys)
    finally:
        store.close()


async def status(safe, *keys):
    rekeyer, store = await safe.rekey(*keys)
    try:
        return await rekeyer.status()
    finally:
        store.close()


async def test_every_data_key_moves_to_the_new_key_and_the_old_one_may_go(safe):
    before = await status(safe, NEW, OLD)
    assert ([use.data_keys for use in before.keys], before.disposable, before.missing) == ([len(TENANTS)], [], [])
    report = await run(safe, NEW, OLD)
    assert (report.wrapped, report.renewed, report.resealed, report.broken) == (len(TENANTS), 0, 0, [])
    assert report.emptied == [OLD.id]
    await safe.check(NEW)
    await safe.process(NEW).verify()
    after = await status(safe, NEW)
    assert (after.current, after.disposable, after.missing, after.run_open) == (NEW.id, [OLD.id], [], False)
    with pytest.raises(errors.Rejected) as raised:
        await safe.process(OLD).verify()
    assert raised.value.code == "sealing_key_wrong"


async def test_a_second_call_has_nothing_to_do(safe):
    await run(safe, NEW, OLD)
    again = await run(safe, NEW, OLD)
    assert (again.wrapped, again.emptied, again.resumed) == (0, [], False)


async def test_a_dry_run_counts_and_changes_nothing(safe):
    rekeyer, store = await safe.rekey(NEW, OLD)
    plan = await rekeyer.plan(data_keys=True)
    wraps = await rekeyer.plan(data_keys=False)
    store.close()
    assert (plan.wrapped, plan.renewed, plan.resealed) == (len(TENANTS), len(TENANTS), len(TENANTS) * SECRETS)
    assert (wraps.wrapped, wraps.renewed, wraps.resealed) == (len(TENANTS), 0, 0)
    await safe.check(OLD)
    report = await run(safe, NEW, OLD, data_keys=True)
    assert (report.wrapped, report.renewed, report.resealed) == (plan.wrapped, plan.renewed, plan.resealed)


async def test_new_data_keys_seal_every_value_anew_and_the_replaced_ones_wait(safe):
    report = await run(safe, NEW, OLD, data_keys=True)
    assert (report.renewed, report.resealed, report.discarded, report.kept) == (3, 3 * SECRETS, 0, 3)
    assert [await safe.generations(tenant) for tenant in TENANTS] == [{2}] * 3
    await safe.check(NEW)
    later = await run(safe, NEW, grace_s=0.0)
    assert (later.renewed, later.discarded, later.kept) == (0, 3, 0)
    await safe.check(NEW)


async def test_what_was_sealed_under_a_replaced_data_key_is_sealed_anew_before_that_key_goes(safe):
    """A process had the newest key in hand, and stored what it sealed with it after that key was replaced."""
    late = await safe.seal(safe.process(NEW, OLD), "acme", "late")
    await run(safe, NEW, OLD, data_keys=True)
    await safe.keep("acme", "late", late)
    assert await safe.generations("acme") == {1, 2}
    later = await run(safe, NEW, grace_s=0.0)
    assert (later.resealed, later.discarded) == (1, 3)
    await safe.check(NEW)


async def test_a_process_that_slept_through_everything_seals_under_what_is_there(safe):
    """Its clock stood still, so that to it nothing that it remembers is old: not one value is lost."""
    asleep = safe.process(NEW, OLD)
    await safe.add(asleep, "acme", "before")
    await run(safe, NEW, OLD, data_keys=True)
    await run(safe, NEW, grace_s=0.0)
    await safe.add(asleep, "acme", "after")
    assert await safe.generations("acme") == {2}
    await safe.check(NEW)


async def test_a_process_with_old_settings_can_wrap_nothing_new_under_a_replaced_key(safe):
    left_behind = safe.process(OLD)
    await run(safe, NEW, OLD)
    with pytest.raises(errors.Rejected) as raised:
        await left_behind.seal("umbrella", "channel-secret", "row", b"x")
    assert raised.value.code == "sealing_key_retired"
    assert (await status(safe, NEW)).disposable == [OLD.id]


async def test_the_way_back_is_open(safe):
    await run(safe, NEW, OLD)
    report = await run(safe, OLD, NEW)
    assert (report.wrapped, report.emptied) == (3, [NEW.id])
    await safe.process(OLD).verify()
    await safe.check(OLD)


async def test_accounts_are_read_and_written_while_keys_are_replaced(safe, monkeypatch):
    """Writers that run all the while, each with both keys, as two processes: nothing they keep is ever unreadable."""
    monkeypatch.setattr(rekey, "BATCH", 2)

    async def write(tenant, sealing):
        for number in range(20):
            await safe.add(sealing, tenant, f"w{number}")
            one = (await safe.values.batch(tenant, "", 1))[0]
            plain = await sealing.open(tenant, "channel-secret", one.owner, one.sealed)
            assert plain == safe.plain[tenant, one.owner]

    writers = [asyncio.create_task(write(tenant, safe.process(NEW, OLD))) for tenant in TENANTS]
    try:
        for keys, data_keys in (((NEW, OLD), False), ((NEW,), True), ((NEW,), True)):
            report = await run(safe, *keys, data_keys=data_keys)
            assert report.broken == []
    finally:
        await asyncio.gather(*writers)
    await safe.check(NEW)
    last = await run(safe, NEW, grace_s=0.0)
    assert last.kept == 0
    await safe.check(NEW)
    assert len({generation for tenant in TENANTS for generation in await safe.generations(tenant)}) == 1


SEALED = {"channels.account_secret": "channel-secret", "state.pseudonym_key": "pseudonym"}
"""Tables that hold sealed values, and the purposes that they are sealed for."""


async def test_every_room_that_seals_is_among_those_that_are_sealed_anew(safe, fresh_postgres):
    """Looked up in the catalogue: what was forgotten would keep its replaced data keys for ever."""
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url()) as connection:
        found = await connection.execute(
            "select attrelid::regclass::text from pg_attribute join pg_class on oid = attrelid "
            "where attname = 'sealed' and relkind = 'r' order by 1"
        )
        assert [name for (name,) in await found.fetchall()] == sorted(SEALED)
    assert {each.purpose for each in secrets.values(safe.database)} == set(SEALED.values())


async def test_the_values_of_every_room_are_sealed_anew(safe):
    keys = erasures.Erasures(safe.database, safe.process(NEW, OLD))
    before = await keys.pseudonyms("acme")
    person = before.person("webhook", "acc-1", "ann")
    held = await rekey_store.connected(safe.database)
    rekeyer = rekey.Rekey(held, model.KeyRing(NEW, (OLD,)), secrets.values(safe.database), grace_s=0.0)
    report = await rekeyer.run(data_keys=True)
    held.close()
    assert (report.renewed, report.discarded, report.kept) == (4, 4, 0)
    after = await erasures.Erasures(safe.database, safe.process(NEW)).pseudonyms("acme")
    assert after.person("webhook", "acc-1", "ann") == person
    await safe.check(NEW)


async def test_one_at_a_time(safe):
    _, store = await safe.rekey(NEW, OLD)
    assert await store.lead()
    with pytest.raises(errors.Rejected) as raised:
        await run(safe, NEW, OLD)
    assert (raised.value.code, raised.value.status) == ("rekey_running", 409)
    store.close()


class _Refusing(model.KeyEncryptionKey):
    """A key that its service does not let us use."""

    async def check(self) -> None:
        raise errors.Rejected("key_service_refused", "not for you", status=403)


@pytest.mark.parametrize(
    ("keys", "code"), [((NEW,), "sealing_key_wrong"), ((_Refusing(b"n" * 32), OLD), "key_service_refused")]
)
async def test_without_every_key_nothing_begins_and_nobody_is_shut_out(keys, code, safe):
    with pytest.raises(errors.Rejected) as raised:
        await run(safe, *keys)
    assert raised.value.code == code
    running = safe.process(OLD)
    await running.verify()
    await running.seal("umbrella", "channel-secret", "row", b"x")
    assert not (await status(safe, OLD)).run_open
    report = await run(safe, NEW, OLD)
    assert (report.resumed, report.wrapped) == (False, 4)
    await safe.check(NEW)


async def test_what_does_not_open_is_named_and_keeps_its_key(safe):
    damager = await safe.database.session(rekey_store.ROLE)
    await damager.execute("update sealing.data_key set wrapped = %s where tenant = 'acme'", (bytes(61),))
    damager.close()
    report = await run(safe, NEW, OLD, data_keys=True)
    assert "acme/channel-secret/1" in report.broken
    assert report.emptied == [], "what is broken may be mended with the old key"
    found = await status(safe, NEW, OLD)
    assert found.disposable == []
    assert {use.id: use.data_keys for use in found.keys}[OLD.id] == 1


async def test_no_role_but_this_one_sees_wrapped_keys_of_all_tenants(safe):
    async with safe.database.transaction("sealing") as transaction:
        assert await transaction.fetch_all("select * from sealing.data_key") == []
    _, store = await safe.rekey(NEW, OLD)
    assert len(await store.foreign(NEW.id, None, 100)) == len(TENANTS)
    store.close()


@pytest.mark.parametrize("point", rekey.POINTS)
async def test_a_rekeyer_killed_anywhere_is_gone_on_with(point, safe):
    """kill -9 at each named point, the second time where it is passed more than once; then once to the end."""
    passes = 1 if point in {"wrapped", "renewed", "resealed", "discarded"} else 0
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.sealing.dying",
        point,
        str(passes),
        safe.url,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == -9
    assert f"hit {point}" in output.decode(), "the crash point was reached"
    await safe.check(NEW, OLD)

    resumed = await _resumed(safe)
    assert resumed.resumed == (point != "finished")
    assert resumed.kept == 0
    await safe.check(NEW)
    found = await status(safe, NEW)
    assert (found.disposable, found.missing, found.run_open) == ([OLD.id], [], False)
    assert [await safe.generations(tenant) for tenant in TENANTS] == [{2}] * 3, "no data key was made twice"


async def _resumed(safe):
    """The next call, which waits until the server has seen that the killed one is gone."""
    async with asyncio.timeout(40):
        while True:
            try:
                return await run(safe, NEW, OLD, grace_s=0.0)
            except errors.Rejected as error:
                if error.code != "rekey_running":
                    raise
                await asyncio.sleep(0.05)


async def test_a_slow_key_service_does_not_cost_the_session(safe, monkeypatch):
    """The server ends a session that is silent for long: each answer is here as late as the second beat after it."""
    monkeypatch.setattr(rekey, "BEAT_S", 0.01)
    beats = asyncio.Condition()
    counted = [0]

    class Slow(model.KeyEncryptionKey):
        async def wrap(self, secret, place):
            begun = counted[0]
            async with beats:
                await beats.wait_for(lambda: counted[0] >= begun + 2)
            return await super().wrap(secret, place)

    class Spoken(rekey_store.RekeyStore):
        async def beat(self):
            await super().beat()
            async with beats:
                counted[0] += 1
                beats.notify_all()

    monkeypatch.setattr(rekey_store, "RekeyStore", Spoken)
    async with asyncio.timeout(50):
        report = await run(safe, Slow(b"n" * 32), OLD, data_keys=True)
    assert (report.wrapped, report.renewed, report.resealed) == (len(TENANTS), len(TENANTS), len(TENANTS) * SECRETS)
    await safe.check(NEW, OLD)


async def test_a_key_of_the_same_name_that_is_another_is_refused_before_anything_begins(safe):
    class Named(model.KeyEncryptionKey):
        id = "vault:transit/penstock"

    ours, namesake = Named(b"a" * 32), Named(b"b" * 32)
    await run(safe, ours, OLD)
    for keys in ((namesake, OLD), (OLD, namesake)):
        with pytest.raises(errors.Rejected) as raised:
            await run(safe, *keys, data_keys=True)
        assert raised.value.code == "sealing_key_differs"
    assert (await status(safe, ours)).disposable == [OLD.id]
    await safe.check(ours)
    stranger = safe.process(namesake)
    for refused in (stranger.check(), stranger.seal("umbrella", "channel-secret", "row", b"x")):
        with pytest.raises(errors.Rejected) as raised:
            await refused
        assert raised.value.code == "sealing_key_differs"
    await run(safe, OLD, ours)
    await run(safe, namesake, OLD)  # nothing is sealed under the first one any more: its name is free
    await safe.process(namesake).check()
    await safe.check(namesake)


async def test_a_replaced_key_of_the_first_release_is_known_by_its_name(safe):
    """Its row has no proof; `rekey` gives one to every key that it makes current."""
    damager = await safe.database.session(rekey_store.ROLE)
    await damager.execute("update sealing.key_encryption_key set proof = null")
    damager.close()
    await safe.process(OLD).check()
    await run(safe, NEW, OLD)
    await run(safe, OLD, NEW)
    async with safe.database.transaction("sealing") as transaction:
        assert await transaction.fetch_one("select count(*) from sealing.key_encryption_key where proof is null") == (
            0,
        )
    await safe.process(OLD).check()


async def test_a_session_that_is_lost_ends_the_call_and_not_the_keys(safe):
    database = pool.Database(safe.url, application="test", size=1)
    held = await rekey_store.connected(database)
    rekeyer = rekey.Rekey(
        held,
        model.KeyRing(NEW, (OLD,)),
        [safe.values],
        reached=lambda point: held.close() if point == "retired" else None,
    )
    with pytest.raises(errors.Unavailable):
        await rekeyer.run(data_keys=False)
    await database.close()
    await safe.check(NEW, OLD)
    assert (await _resumed(safe)).resumed
