"""The sealer on a real Postgres: keys survive processes, stay behind the tenant wall, and are made once."""

import asyncio

import pytest

from penstock.base import errors, settings
from penstock.database import migrations, pool, roles, testing
from penstock.sealing import model, sealer, store

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))
SCHEMA = migrations.RoomSchema("sealing", migrations.from_folder("penstock.sealing"))
RING = model.KeyRing(model.KeyEncryptionKey(b"k" * 32))


@pytest.fixture
async def endpoint(fresh_postgres):
    await migrations.migrate(fresh_postgres.url(), [SCHEMA], login=LOGIN)
    return fresh_postgres


@pytest.fixture
async def database(endpoint):
    opened = pool.Database(endpoint.url(user=LOGIN.name, password=LOGIN.password.reveal()), application="test")
    yield opened
    await opened.close()


async def test_what_one_process_sealed_another_opens(database):
    sealed = await sealer.Sealer(store.KeyStore(database), RING).seal("acme", "secret", "row", b"hush")
    other = sealer.Sealer(store.KeyStore(database), RING)
    await other.verify()
    assert await other.open("acme", "secret", "row", sealed) == b"hush"


async def test_ten_processes_that_need_a_first_key_agree_on_one(database):
    sealers = [sealer.Sealer(store.KeyStore(database), RING) for _ in range(10)]
    sealed = await asyncio.gather(*(one.seal("acme", "secret", "row", b"hush") for one in sealers))
    reader = sealer.Sealer(store.KeyStore(database), RING)
    assert {await reader.open("acme", "secret", "row", one) for one in sealed} == {b"hush"}
    async with database.transaction("sealing", ["acme"]) as transaction:
        assert await transaction.fetch_one("select count(*) from sealing.data_key") == (1,)


async def test_another_key_is_refused_at_the_start(database):
    await sealer.Sealer(store.KeyStore(database), RING).seal("acme", "secret", "row", b"hush")
    with pytest.raises(errors.Rejected) as raised:
        await sealer.Sealer(store.KeyStore(database), model.KeyRing(model.KeyEncryptionKey(b"n" * 32))).verify()
    assert raised.value.code == "sealing_key_wrong"
    assert RING.current.id in raised.value.detail


async def test_no_tenant_finds_anothers_key_and_no_plain_key_is_stored(database):
    keys = store.KeyStore(database)
    await sealer.Sealer(keys, RING).seal("acme", "secret", "row", b"hush")
    assert await keys.newest("globex", "secret") is None
    async with database.transaction("sealing", ["globex"]) as transaction:
        assert await transaction.fetch_all("select * from sealing.data_key") == []
    found = await keys.newest("acme", "secret")
    assert found is not None
    assert (await found.unwrap(RING)).generation == 1


async def test_a_wrapped_key_copied_to_another_tenant_opens_nothing(database, endpoint):
    keys = store.KeyStore(database)
    sealing = sealer.Sealer(keys, RING)
    sealed = await sealing.seal("acme", "secret", "row", b"hush")
    stolen = await keys.newest("acme", "secret")
    await keys.insert(model.WrappedKey("globex", "secret", 1, stolen.kek_id, stolen.wrapped))
    with pytest.raises(errors.Broken):
        await sealing.open("globex", "secret", "row", sealed)


async def test_the_tables_are_behind_the_wall(endpoint):
    await testing.check_tables(endpoint.url())
