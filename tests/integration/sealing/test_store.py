"""The sealer on a real Postgres: keys survive processes, stay behind the tenant wall, and are made once."""

import asyncio

import psycopg
import pytest

from penstock.base import errors, settings
from penstock.database import migrations, pool, roles, testing
from penstock.sealing import model, rekey, rekey_store, sealer, store

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


async def test_a_database_of_the_first_release_keeps_its_keys_and_lets_nobody_name_another(fresh_postgres):
    """Two key-encryption keys were in use there: the oldest one counts as adopted, and both still open."""
    first = migrations.RoomSchema("sealing", SCHEMA.migrations[:1])
    await migrations.migrate(fresh_postgres.url(), [first], login=LOGIN)
    newer = model.KeyEncryptionKey(b"n" * 32)
    made = {"acme": await model.new_key(RING.current, "acme", "secret", 1)}
    made["globex"] = await model.new_key(newer, "globex", "secret", 1)
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url(), autocommit=True) as admin:
        for key in made.values():
            await admin.execute("insert into sealing.key_encryption_key (id) values (%s)", (key.kek_id,))
            await admin.execute(
                "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
                "values (%s, %s, 1, %s, %s)",
                (key.tenant, key.purpose, key.kek_id, key.wrapped),
            )
    await migrations.migrate(fresh_postgres.url(), [SCHEMA], login=LOGIN)
    database = pool.Database(fresh_postgres.url(user=LOGIN.name, password=LOGIN.password.reveal()), application="test")
    process = sealer.Sealer(store.KeyStore(database), model.KeyRing(newer, (RING.current,)))
    await process.verify()
    await process.check()
    for tenant in made:
        sealed = await process.seal(tenant, "secret", "row", b"hush")
        assert await process.open(tenant, "secret", "row", sealed) == b"hush"
    await store.KeyStore(database).adopt("deadbeef", b"nobody's")
    known = await store.KeyStore(database).known()
    assert [(key.id, key.proof) for key in known] == [(RING.current.id, None), (newer.id, None)]
    await database.close()


async def test_keys_that_were_replaced_before_anything_was_sealed_leave_no_room_for_a_strangers(database):
    """An operator may be the first to name a key: then nobody else adopts one."""
    held = await rekey_store.connected(database)
    await rekey.Rekey(held, RING, []).run(data_keys=False)
    held.close()
    await store.KeyStore(database).adopt("deadbeef", b"nobody's")
    assert [key.id for key in await store.KeyStore(database).known()] == [RING.current.id]
    await sealer.Sealer(store.KeyStore(database), RING).check()


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
