"""The sealer over a table in memory: keys are made once, cached for a while, and never guessed."""

import pytest

from penstock.base import errors
from penstock.sealing import model, sealer

RING = model.KeyRing(model.KeyEncryptionKey(b"k" * 32))


class Table:
    """Keys by the rules of `store.KeepsKeys`, counting how often they are looked for."""

    def __init__(self):
        self.rows = {}
        self.looks = 0
        self.before_insert = lambda: None

    async def newest(self, tenant, purpose):
        self.looks += 1
        found = [row for name, row in sorted(self.rows.items()) if name[:2] == (tenant, purpose)]
        return found[-1] if found else None

    async def find(self, tenant, purpose, generation):
        self.looks += 1
        return self.rows.get((tenant, purpose, generation))

    async def insert(self, key):
        self.before_insert()
        return self.rows.setdefault((key.tenant, key.purpose, key.generation), key) is key

    async def kek_ids(self):
        return sorted({row.kek_id for row in self.rows.values()})


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
    faster = model.new_key(RING, "acme", "secret", 1)
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
        await sealing.seal("acme", "secret", "row", b"more")
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


async def test_the_cache_is_bounded(table, monkeypatch):
    monkeypatch.setattr(sealer, "CACHED", 4)
    sealing = sealer.Sealer(table, RING)
    for number in range(20):
        await sealing.seal("acme", f"person-{number}", "row", b"x")
    assert len(sealing._cache) == 4


async def test_a_newer_key_seals_and_the_older_still_opens(table):
    sealing = sealer.Sealer(table, RING)
    before = await sealing.seal("acme", "secret", "row", b"old")
    await table.insert(model.new_key(RING, "acme", "secret", 2))
    sealing.forget("acme", "secret")
    after = await sealing.seal("acme", "secret", "row", b"new")
    assert [model.generation_of(sealed) for sealed in (before, after)] == [1, 2]
    assert [await sealing.open("acme", "secret", "row", s) for s in (before, after)] == [b"old", b"new"]


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
