"""The outbox table: rows commit with what they tell of, behind the tenant wall, in partitions that come and go."""

import psycopg
import pytest

from penstock.base import errors
from penstock.database import testing
from penstock.spine import ports
from penstock.state import outbox, relay


async def numbers(database, tenants=("acme",)):
    async with database.transaction("shop", tenants) as transaction:
        rows = await transaction.fetch_all("select convert_from(body, 'utf8') from shop.outbox order by seq")
    return [int(row[0]) for row in rows]


async def test_rows_are_kept_in_the_order_of_appending(shop, database):
    await shop.append(database, [3])
    await shop.append(database, range(100, 160), keys=7)
    async with database.transaction("shop", ["acme"]) as transaction:
        for number in (2, 1):
            await outbox.append(transaction, [shop.outgoing(number)])
        await outbox.append(transaction, [])
    assert await numbers(database) == [3, *range(100, 160), 2, 1]


async def test_a_row_is_the_message_and_nothing_less(shop, database):
    headers = {"Nats-Msg-Id": "acme:1", "traceparent": "00-ü", "x": 'say "hi" \\ {}'}
    message = ports.Outgoing(shop.stream, "tenant.acme.a.b", "acme/key ☃", headers, bytes(range(256)))
    for extra in ([], [shop.outgoing(2)]):  # one row and many take different statements
        async with database.transaction("shop", ["acme"]) as transaction:
            await outbox.append(transaction, [message, *extra])
    table = await relay.connect(database, "shop")
    (rows,) = await table.exchange([], [relay.Reading(shop.stream, [], [], 10)])
    table.close()
    assert [row.outgoing for row in rows if row.outgoing.body == message.body] == [message, message]


async def test_a_message_that_tells_of_a_change_is_kept_only_if_the_change_happened(shop, database):
    affected = []
    for number, happens in ((1, True), (2, False), (3, True)):
        async with database.transaction("shop", ["acme"]) as transaction:
            change = "select 1 where %s::boolean"
            answer = outbox.append_if(transaction, change, (happens,), shop.outgoing(number))
        affected.append(answer.affected)
    assert affected == [1, 0, 1]
    assert await numbers(database) == [1, 3]


async def test_nothing_is_kept_and_nobody_woken_when_the_transaction_fails(shop, database):
    woken = []
    unlisten = outbox.listen("shop", woken.append)
    try:

        async def fail():
            async with database.transaction("shop", ["acme"]) as transaction:
                await outbox.append(transaction, [shop.outgoing(1)])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert (await numbers(database), woken) == ([], [])
        await shop.append(database, [1])
        assert (await numbers(database), woken) == ([1], [shop.stream])
    finally:
        unlisten()
    await shop.append(database, [2])
    assert woken == [shop.stream]


async def test_a_message_of_another_tenant_is_refused(shop, database):
    async def append():
        async with database.transaction("shop", ["acme"]) as transaction:
            await outbox.append(transaction, [shop.outgoing(1, tenant="globex")])

    with pytest.raises(errors.Broken) as raised:
        await append()
    assert raised.value.code == "permission_denied"
    assert await numbers(database, ["acme", "globex"]) == []


@pytest.mark.parametrize(
    ("stream", "message_id"), [("", "acme:1"), ("S", ""), ("S", "globex:1"), ("S", "acme-2:1"), ("S", "1")]
)
async def test_a_message_without_a_stream_or_an_id_of_its_tenant_is_our_bug(database, stream, message_id):
    message = ports.Outgoing(stream, "tenant.acme.a", "k", {"Nats-Msg-Id": message_id}, b"")

    async def append():
        async with database.transaction("shop", ["acme"]) as transaction:
            await outbox.append(transaction, [message])

    with pytest.raises(errors.Broken):
        await append()


async def test_every_table_is_behind_the_wall(shop):
    await testing.check_tables(shop.admin_url)


async def test_no_room_reaches_a_partition_directly(database):
    async with database.transaction("shop") as transaction:
        row = await transaction.fetch_one("select min(inhrelid::regclass::text) from pg_inherits")
    assert row[0].startswith("shop.outbox_") or row[0].startswith("state.outbox_")

    async def look():
        async with database.transaction("shop", ["acme"]) as transaction:
            day = await transaction.fetch_one("select to_char(now() at time zone 'utc', 'YYYYMMDD')")
            await transaction.fetch_all("select * from shop.outbox_" + day[0])

    with pytest.raises(errors.Broken) as raised:
        await look()
    assert raised.value.code == "permission_denied"


OLD_DAY = """
do $$
declare day date := (now() at time zone 'utc')::date - current_setting('test.age')::integer;
begin
    execute format(
        'create table shop.%I partition of shop.outbox for values from (%L) to (%L)',
        'outbox_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    insert into shop.outbox (created_day, tenant, partition, key, stream, subject, message_id, headers, body,
        published_at, failed_at)
    select day, 'acme', 0, 'k', 's', 's', 'i', '{}', '', nullif(current_setting('test.published'), '')::timestamptz,
        nullif(current_setting('test.failed'), '')::timestamptz
    from generate_series(1, 3);
end $$"""


async def test_old_partitions_go_when_nothing_waits_in_them(shop, database):
    """40 days ago all was published; 39: waiting; 38: given up; 2: published, and younger than what is kept."""
    async with await psycopg.AsyncConnection.connect(shop.admin_url, autocommit=True) as admin:
        for age, published, failed in ((40, "now", ""), (39, "", ""), (38, "", "now"), (2, "now", "")):
            await admin.execute(
                "select set_config('test.age', %s, false), set_config('test.published', %s, false),"
                " set_config('test.failed', %s, false)",
                (str(age), published, failed),
            )
            await admin.execute(OLD_DAY)
    table = await relay.connect(database, "shop")
    dropped = await table.sweep(7)
    table.close()
    assert len(dropped) == 1
    async with database.transaction("shop", ["acme"]) as transaction:
        left = await transaction.fetch_one("select count(distinct created_day), count(*) from shop.outbox")
    assert left == (3, 9)


async def test_a_room_may_neither_sweep_nor_prepare(database):
    for sql in ("select shop.outbox_sweep(0)", "select shop.outbox_prepare(400)"):
        with pytest.raises(errors.Broken) as raised:
            async with database.transaction("shop", ["acme"]) as transaction:
                await transaction.execute(sql)
        assert raised.value.code == "permission_denied"


async def test_the_relay_may_neither_append_nor_delete_nor_look_elsewhere(shop, database):
    await shop.append(database, [1])
    session = await database.session("relay")
    append = (
        "insert into shop.outbox (tenant, partition, key, stream, subject, message_id, headers, body)"
        " values ('acme', 0, 'k', 's', 's', 'i', '{}', '')"
    )
    for sql in ("delete from shop.outbox", append, "select * from state.quarantine"):
        with pytest.raises(errors.Broken) as raised:
            await session.execute(sql)
        assert raised.value.code == "permission_denied"
    session.close()
    assert await numbers(database) == [1]
