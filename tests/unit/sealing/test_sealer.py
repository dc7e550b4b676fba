"""The sealer over a table in memory: keys are made once, cached for a while, and never guessed."""

import pytest

from penstock.base import errors
from penstock.sealing import model, sealer
from tests.unit.sealing.table import Table

RING = model.KeyRing(model.KeyEncryptionKey(b"k" * 32))


@pytest.fixture
def table():
    return Table()


async def test_a_value_opens_again_in_another_process(table):
    sealed = await sealer.Sealer(table, RING).seal("acme", "secret", "row 1", b"hush")
    assert await sealer.Sealer(table, RING).open("acme", "secret", "row 1", sealed) == b"hush"


async def test_each_tenant_and_purpose_has_one_key_of_its_own(table):
    sealing = sealer.Sealer(table, RING)
    for tenant, purpose in (("acme", "a"), ("acme", "b"), ("globex", "a"), ("acme", "a")):
        await sealing.seal(tenant, purpose, "row", b"x")
    assert sorted(table.rows) == [("acme", "a", 1), ("acme", "b", 1), ("globex", "a", 1)]


@pytest.mark.parametrize(
    "place", [("globex", "secret", "row 1"), ("acme", "other", "row 1"), ("acme", "secret", "row 2")]
)
async def test_a_value_that_was_moved_does_not_open(table, place):
    sealing = sealer.Sealer(table, RING)
    for tenant, purpose in (("acme", "other"), ("globex", "secret")):
        await sealing.seal(tenant, purpose, "row 1", b"x")
    sealed = await sealing.seal("acme", "secret", "row 1", b"hush")
    with pytest.raises(errors.Broken) as raised:
        await sealing.open(*place, sealed)
    assert raised.value.code == "seal_broken"


async def test_of_two_processes_that_need_a_first_key_one_makes_it(table):
    first, second = sealer.Sealer(table, RING), sealer.Sealer(table, RING)
    faster = await model.new_key(RING.current, "acme", "secret", 1)
    table.before_insert = lambda: table.rows.setdefault(("acme", "secret", 1), faster)
    sealed = await first.seal("acme", "secret", "row", b"hush")
    assert table.rows == {("acme", "secret", 1): faster}
    assert await second.open("acme", "secret", "row", sealed) == b"hush"


async def test_keys_are_cached_for_minutes_and_forgotten_when_told(table):
    now = [0.0]
    sealing = sealer.Sealer(table, RING, monotonic=lambda: now[0])
    sealed = await sealing.seal("acme", "secret", "row", b"hush")
    looks = table.looks
    for _ in range(3):
        await sealing.open("acme", "secret", "row", sealed)
    assert table.looks == looks
    now[0] = sealer.CACHE_S
    await sealing.open("acme", "secret", "row", sealed)
    assert table.looks == looks + 1
    table.rows.clear()
    await sealing.open("acme", "secret", "row", sealed)
    sealing.forget("acme", "secret")
    with pytest.raises(errors.Rejected) as raised:
        await sealing.open("acme", "secret", "row", sealed)
    assert (raised.value.code, raised.value.status) == ("sealing_key_gone", 410)


async def test_a_value_is_sealed_under_the_newest_key_whatever_the_clock_says(table):
    """A machine that slept finds its clock where it was: what it remembers may have been replaced and deleted."""
    key = Faraway(b"k" * 32)
    sealing = sealer.Sealer(table, model.KeyRing(key), monotonic=lambda: 0.0)
    await sealing.seal("acme", "secret", "row", b"old")
    table.rows["acme", "secret", 2] = await model.new_key(key, "acme", "secret", 2)
    del table.rows["acme", "secret", 1]
    key.unwrapped.clear()
    for _ in range(3):
        sealed = await sealing.seal("acme", "secret", "row", b"new")
    assert model.generation_of(sealed) == 2
    assert len(key.unwrapped) == 1, "each generation is unwrapped once"
    assert await sealer.Sealer(table, RING).open("acme", "secret", "row", sealed) == b"new"


async def test_the_cache_is_bounded(table, monkeypatch):
    monkeypatch.setattr(sealer, "CACHED", 4)
    sealing = sealer.Sealer(table, RING)
    for number in range(20):
        await sealing.seal("acme", f"person-{number}", "row", b"x")
    assert len(sealing._cache) == 4


async def test_a_newer_key_seals_and_the_older_still_opens(table):
    sealing = sealer.Sealer(table, RING)
    before = await sealing.seal("acme", "secret", "row", b"old")
    await table.insert(await model.new_key(RING.current, "acme", "secret", 2))
    after = await sealing.seal("acme", "secret", "row", b"new")
    assert [model.generation_of(sealed) for sealed in (before, after)] == [1, 2]
    assert [await sealing.open("acme", "secret", "row", s) for s in (before, after)] == [b"old", b"new"]


async def test_the_first_process_decides_the_key_before_anything_is_sealed(table):
    await sealer.Sealer(table, RING).verify()
    await sealer.Sealer(table, RING).verify()
    with pytest.raises(errors.Rejected) as raised:
        await sealer.Sealer(table, model.KeyRing(model.KeyEncryptionKey(b"n" * 32))).verify()
    assert raised.value.code == "sealing_key_wrong"
    assert table.rows == {}


async def test_a_namesake_of_the_databases_key_is_refused_before_it_wraps_anything(table):
    """Another server, where mount and key have the same names: it can wrap and unwrap, and it is another key."""
    ours, namesake = (Named(secret * 32) for secret in (b"a", b"b"))
    await sealer.Sealer(table, model.KeyRing(ours)).verify()
    stranger = sealer.Sealer(table, model.KeyRing(namesake))
    await stranger.verify()
    for refused in (stranger.check(), stranger.seal("acme", "secret", "row", b"hush")):
        with pytest.raises(errors.Rejected) as raised:
            await refused
        assert raised.value.code == "sealing_key_differs"
    assert table.rows == {}
    back = sealer.Sealer(table, model.KeyRing(ours))
    await back.check()
    assert await back.open("acme", "secret", "row", await back.seal("acme", "secret", "row", b"hush")) == b"hush"


async def test_a_key_of_the_first_release_has_no_proof_and_its_name_is_one(table):
    key = Faraway(b"k" * 32)
    table.keks[key.id] = None
    await sealer.Sealer(table, model.KeyRing(key)).check()
    assert len(key.unwrapped) == 0


async def test_the_database_says_which_key_wraps_so_that_all_processes_open_it(table):
    old, new = RING.current, model.KeyEncryptionKey(b"n" * 32)
    await sealer.Sealer(table, RING).verify()
    ahead = sealer.Sealer(table, model.KeyRing(new, (old,)))
    sealed = await ahead.seal("acme", "secret", "row", b"hush")
    assert table.rows["acme", "secret", 1].kek_id == old.id
    assert await sealer.Sealer(table, RING).open("acme", "secret", "row", sealed) == b"hush"
    table.keks[new.id], table.retired = await model.proof_of(new), {old.id}
    await ahead.seal("globex", "secret", "row", b"hush")
    assert table.rows["globex", "secret", 1].kek_id == new.id


async def test_a_key_that_is_retired_while_a_data_key_is_made_is_left_for_the_new_one(table):
    new = model.KeyEncryptionKey(b"n" * 32)
    sealing = sealer.Sealer(table, model.KeyRing(new, (RING.current,)))
    await sealer.Sealer(table, RING).verify()
    proof = await model.proof_of(new)

    def replaced():
        table.keks[new.id], table.retired = proof, {RING.current.id}

    table.before_insert = replaced
    await sealing.seal("acme", "secret", "row", b"hush")
    assert [row.kek_id for row in table.rows.values()] == [new.id]


async def test_nothing_new_is_sealed_under_a_key_that_was_replaced(table):
    sealing = sealer.Sealer(table, RING)
    sealed = await sealing.seal("acme", "secret", "row", b"hush")
    table.retired.add(RING.current.id)
    with pytest.raises(errors.Rejected) as raised:
        await sealing.seal("globex", "secret", "row", b"hush")
    assert (raised.value.code, raised.value.status) == ("sealing_key_retired", 409)
    assert await sealing.open("acme", "secret", "row", sealed) == b"hush", "what is there still opens"


async def test_a_key_service_that_is_away_is_noticed_at_the_start_and_not_while_keys_are_cached(table):
    key = Faraway(b"k" * 32)
    sealing = sealer.Sealer(table, model.KeyRing(key))
    await sealing.verify()
    await sealing.check()
    sealed = await sealing.seal("acme", "secret", "row", b"hush")
    key.away = True
    await sealing.verify()
    assert await sealing.open("acme", "secret", "row", sealed) == b"hush"
    for refused in (sealing.check(), sealing.seal("globex", "secret", "row", b"hush")):
        with pytest.raises(errors.Unavailable):
            await refused
    sealing.forget("acme", "secret")
    with pytest.raises(errors.Unavailable):
        await sealing.open("acme", "secret", "row", sealed)
    key.away = False
    assert await sealing.open("acme", "secret", "row", sealed) == b"hush"


async def test_closing_forgets_every_key_and_hangs_up(table):
    key = Faraway(b"k" * 32)
    sealing = sealer.Sealer(table, model.KeyRing(RING.current, (key,)))
    await sealing.seal("acme", "secret", "row", b"hush")
    await sealing.close()
    assert (len(sealing._cache), key.closed) == (0, True)


class Faraway(model.KeyEncryptionKey):
    """A key that can be out of reach, and says what it was asked to unwrap."""

    away, closed = False, False

    def __post_init__(self):
        self.unwrapped = []

    async def check(self):
        await self.wrap(bytes(32), b"")

    async def wrap(self, secret, place):
        if self.away:
            raise errors.Unavailable("key_service_away", "away")
        return await super().wrap(secret, place)

    async def unwrap(self, wrapped, place):
        if self.away:
            raise errors.Unavailable("key_service_away", "away")
        self.unwrapped.append(wrapped)
        return await super().unwrap(wrapped, place)

    async def close(self):
        object.__setattr__(self, "closed", True)

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


class Named(model.KeyEncryptionKey):
    """A key whose name does not come from what it is, as a service's."""

    @property
    def id(self):
        return "vault:transit/penstock"


async def test_a_wrong_key_is_told_at_the_start(table):
    await sealer.Sealer(table, RING).seal("acme", "secret", "row", b"hush")
    await sealer.Sealer(table, RING).verify()
    await sealer.Sealer(table, model.KeyRing(model.KeyEncryptionKey(b"n" * 32), (RING.current,))).verify()
    with pytest.raises(errors.Rejected) as raised:
        await sealer.Sealer(table, model.KeyRing(model.KeyEncryptionKey(b"n" * 32))).verify()
    assert raised.value.code == "sealing_key_wrong"


@pytest.mark.parametrize("place", [("Acme", "secret", "row"), ("acme", "a purpose", "row"), ("acme", "secret", "")])
async def test_a_place_that_is_none_is_refused(table, place):
    with pytest.raises(errors.Rejected):
        await sealer.Sealer(table, RING).seal(*place, b"x")
