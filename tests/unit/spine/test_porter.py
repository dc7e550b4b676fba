"""What apps ask and the core answers, over a bus in memory."""

import asyncio
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import desk_pb2, message_pb2, quarantine_pb2
from penstock.spine import consumer, desk, porter, ports, provision, route, stream, suspects
from penstock.spine.adapters import spine_memory

ACME, GLOBEX = ids.tenant_id("acme"), ids.tenant_id("globex")
POLICY = consumer.of_app(ACME, "echo")


@pytest.fixture
async def spine():
    made = spine_memory.MemorySpine()
    await provision.streams(made)
    yield made
    await made.close()


@pytest.fixture
async def core(spine):
    made = porter.Porter(spine)
    await made.start()
    async with asyncio.timeout(10):
        while len(made._listening) < len(porter.PATTERNS) or made._bucket is None:
            await asyncio.sleep(0)
    yield made
    await made.stop()


@pytest.fixture
def acme(spine, core):
    return desk.Desk(spine, desk.Who(ACME, "echo"))


async def say(spine, tenant) -> ports.Published:
    message = message_pb2.Message(
        event_id="e", tenant=tenant, channel="webhook", account="acc-1", conversation="room", text="hi"
    )
    return await spine.publish(route.INBOUND.encode(contexts.start(tenant), message))


async def test_an_app_gets_its_durables_and_the_bus_hears_of_it(spine, acme):
    told: list[str] = []

    async def keep(signal: ports.Signal) -> None:
        told.append(signal.subject)

    await spine.listen(f"{porter.ADMITTED}.>", keep)
    await acme.join()
    await acme.join()
    assert [state.policy.name for state in await spine.consumer_states(POLICY.stream)] == [
        durable.name for durable in POLICY.durables()
    ]
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0)
    assert told == ["penstock.admitted.acme.echo"] * 2


async def test_without_streams_an_app_waits():
    spine = spine_memory.MemorySpine()
    core = porter.Porter(spine)
    await core.start()
    with pytest.raises(errors.Unavailable, match=r"no_stream|core_away"):
        await desk.Desk(spine, desk.Who(ACME, "echo")).join()
    await core.stop()
    await spine.close()


async def test_without_a_core_an_app_is_told_how_to_start_one(spine):
    with pytest.raises(errors.Unavailable, match=r"core_away.*penstock up"):
        await desk.Desk(spine, desk.Who(ACME, "echo")).standing("app_acme_echo_r0")


async def test_a_place_is_told_to_its_tenant_only(spine, acme):
    await say(spine, GLOBEX)
    await say(spine, ACME)
    found = await spine.message(POLICY.stream, 2)
    assert await acme.place(POLICY.stream, 1) is None
    assert await acme.place(POLICY.stream, 3) is None
    place = await acme.place(POLICY.stream, 2)
    assert place is not None
    assert place[0] == found.subject
    assert abs(place[1] - found.at) < datetime.timedelta(microseconds=1)
    with pytest.raises(errors.Rejected, match="bad_question"):
        await acme.place("RECEIPTS", 1)


async def key_of(spine, sequence: int) -> str:
    return suspects._key(POLICY.name, await spine.message(POLICY.stream, sequence))


async def test_suspects_are_kept_under_the_apps_own_name(spine, acme):
    await say(spine, ACME)
    bucket, key = desk.SuspectBucket(acme), await key_of(spine, 1)
    assert await bucket.get(key) is None
    await bucket.put(key, b"1")
    entry = await bucket.get(key)
    assert entry is not None
    assert entry.value == b"1"
    assert await (await spine.key_value(suspects.BUCKET)).keys() == [key]
    await bucket.delete(key)
    assert await bucket.get(key) is None
    for foreign in ("app_globex_echo.x", "app_acme_echo", "app_acme_echo2.x", ""):
        with pytest.raises(errors.Rejected, match="not_yours"):
            await bucket.put(foreign, b"1")
    with pytest.raises(errors.Rejected, match="not_yours"):
        await bucket.put(key, b"x" * 65)
    for refused in (bucket.create(key, b""), bucket.update(key, b"", revision=1), bucket.keys()):
        with pytest.raises(errors.Rejected, match="not_permitted"):
            await refused
    with pytest.raises(errors.Rejected, match="not_permitted"):
        bucket.watch()


async def test_an_app_has_no_more_suspects_than_its_tenant_has_messages(spine, acme):
    """The bucket is everybody's: who writes under any key that it likes fills the server."""
    await say(spine, GLOBEX)
    await say(spine, ACME)
    foreign, own = [await key_of(spine, sequence) for sequence in (1, 2)]
    bucket, stem = desk.SuspectBucket(acme), f"{POLICY.name}.{POLICY.stream}"
    await bucket.put(own, b"0")
    for elsewhere in (foreign, f"{own}9", f"{stem}.2.1", f"{stem}.3.1", f"{stem}.2.{10**17}"):
        with pytest.raises(errors.Unavailable, match="message_gone"):
            await bucket.put(elsewhere, b"0")
    for odd in (f"{POLICY.name}.x", f"{POLICY.name}.RECEIPTS.1.1", own.replace(".2.", ".02."), f"{own}.1", f"{own}\n"):
        with pytest.raises(errors.Rejected, match="not_yours"):
            await bucket.put(odd, b"0")
    for number in range(1, 4):
        await bucket.delete(f"{stem}.{number}.1")
    state = await spine.stream_state(f"KV_{suspects.BUCKET}")
    assert state is None or state.messages == 1
    assert await (await spine.key_value(suspects.BUCKET)).keys() == [own]


async def test_how_far_a_durable_is_and_letting_go_of_it(spine, acme):
    await acme.join()
    await say(spine, ACME)
    standings = [await acme.standing(durable.name) for durable in POLICY.durables()]
    assert sum(waiting for _, waiting, _ in standings) == 1
    await acme.release(POLICY.durables()[0].name)
    for name in ("outbound_r0", "app_globex_echo_r0", POLICY.name, ""):
        with pytest.raises(errors.Rejected, match="not_yours"):
            await acme.standing(name)
        with pytest.raises(errors.Rejected, match="not_yours"):
            await acme.release(name)


async def test_a_deleted_durable_begins_where_its_app_was(spine, acme):
    await acme.join()
    stored = await say(spine, ACME)
    (name,) = [one.name for one in POLICY.durables() if (await acme.standing(one.name))[1]]
    at = (await spine.message(POLICY.stream, stored.sequence)).at
    del spine.server.durables[POLICY.stream, name]
    await acme.restore(name, at)
    assert (await acme.standing(name))[1] == 1
    del spine.server.durables[POLICY.stream, name]
    await acme.restore(name, None)
    assert (await acme.standing(name))[1] == 0
    with pytest.raises(errors.Rejected, match="not_yours"):
        await acme.restore("outbound_r0", at)


@pytest.mark.parametrize("seconds", [10**18, -(10**18)])
async def test_a_time_that_is_none_is_refused(spine, acme, core, seconds):
    await acme.join()
    (name, *_) = [one.name for one in POLICY.durables()]
    del spine.server.durables[POLICY.stream, name]
    joining = desk_pb2.Joining(app="echo", durable=name)
    joining.since.seconds = seconds
    body = desk_pb2.DeskRequest(joining=joining).SerializeToString()
    reply = await core._replied(ports.Signal("penstock.join.acme", {}, body))
    assert reply.refusal.code == "bad_question"


def record(**changes) -> quarantine_pb2.Quarantined:
    fields = {
        "tenant": ACME,
        "stream": POLICY.stream,
        "consumer": POLICY.name,
        "subject": "tenant.acme.messages.in.p00.webhook.acc-1.room",
        "sequence": 1,
        "body": b"x",
    }
    return quarantine_pb2.Quarantined(**{**fields, **changes})


async def test_what_an_app_sets_aside_is_its_own(spine, acme):
    await acme.quarantine(record(), contexts.to_headers(contexts.start(ACME), outsiders=False))
    (kept,) = spine.server.streams[stream.QUARANTINE.name].messages.values()
    assert kept.subject == "tenant.acme.quarantine.MESSAGES_INBOUND.app_acme_echo"
    assert kept.headers["tenant-id"] == ACME
    for changes in (
        {"tenant": GLOBEX},
        {"consumer": "app_acme_other"},
        {"consumer": "outbound", "stream": "MESSAGES_OUTBOUND"},
        {"stream": "RECEIPTS"},
        {"subject": "tenant.globex.messages.in.p00.webhook.acc-1.room"},
        {"subject": "tenant.acme.messages.out.p00.webhook.acc-1.room"},
        {"subject": "tenant.acme.receipts.p00.acc-1"},
        {"subject": ""},
    ):
        with pytest.raises(errors.Rejected, match="not_yours"):
            await acme.quarantine(record(**changes), {})
    for end in (">", "*", "a b", "", "x\r\nPUB y 0\r\n"):
        with pytest.raises(errors.Rejected, match="bad_token"):
            await acme.quarantine(record(subject=f"tenant.acme.messages.in.p00.{end}"), {})
    with pytest.raises(errors.Rejected, match="tenant_mismatch"):
        await acme.quarantine(record(), {"tenant-id": "globex"})


async def test_a_tenant_has_only_so_many_apps(spine, core, monkeypatch):
    monkeypatch.setattr(porter, "APPS", 2)
    for number in range(2):
        await desk.Desk(spine, desk.Who(ACME, f"app-{number}")).join()
    with pytest.raises(errors.Rejected, match="too_many_apps"):
        await desk.Desk(spine, desk.Who(ACME, "app-2")).join()
    await desk.Desk(spine, desk.Who(ACME, "app-1")).join()
    await desk.Desk(spine, desk.Who(GLOBEX, "app-2")).join()


@pytest.mark.parametrize(("limit", "most"), [("WAITING", 4), ("WAITING_BYTES", 1)])
async def test_who_asks_without_end_keeps_nobody_else_waiting(spine, core, monkeypatch, limit, most):
    monkeypatch.setattr(porter, limit, most)
    knock = desk_pb2.DeskRequest(knock=desk_pb2.Knock()).SerializeToString()
    begun = asyncio.Event()

    async def never(signal: ports.Signal) -> desk_pb2.DeskReply:
        begun.set()
        if ".acme." in signal.subject:
            await asyncio.Event().wait()
        return desk_pb2.DeskReply(found=True)

    monkeypatch.setattr(core, "_decide", never)
    for _ in range(50):
        await spine.emit(ports.Signal("penstock.desk.acme.echo.ask", {}, knock, reply="nowhere"))
    await begun.wait()
    answer = await spine.request(ports.Signal("penstock.desk.globex.echo.ask", {}, knock), timeout_s=5)
    assert desk_pb2.DeskReply.FromString(answer.body).found
    assert core._asking == {"acme": most}


@given(st.binary(max_size=200), st.sampled_from(["penstock.join.acme", "penstock.desk.acme.echo.ask"]))
async def test_no_bytes_break_the_porter(body, subject):
    spine = spine_memory.MemorySpine()
    core = porter.Porter(spine)
    try:
        reply = await core._replied(ports.Signal(subject, {}, body))
        assert isinstance(reply, desk_pb2.DeskReply)
    finally:
        await spine.close()


def test_apps_are_known_by_their_durables():
    names = [*(one.name for one in POLICY.durables()), "outbound_r0", "quarantine", "app_globex_my-bot_r3", "app_x"]
    assert porter.apps_of(names) == {"acme": {"echo"}, "globex": {"my-bot"}}
