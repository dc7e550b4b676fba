"""A hostile app, with its tenant's login and all the time it wants, against another tenant and the platform."""

import asyncio
import contextlib
import itertools
import json

import pytest

from penstock.base import errors, ids
from penstock.messages.v1 import desk_pb2, quarantine_pb2
from penstock.spine import consumer, ports, route, stream, suspects
from penstock.spine.adapters import spine_nats
from penstock.spine.plane import address, headers
from penstock.spine.plane import link as links
from tests.integration.spine.walls_stage import ACME, APP, GLOBEX, answering, until, walled

VICTIM = "tenant.globex.messages.out.p00.webhook.acc-1.room"
OWN = "tenant.acme.messages.out.p00.webhook.acc-1.room"
API = "$JS.API"
FORGED_REPLIES = (
    f"{API}.STREAM.PURGE.MESSAGES_INBOUND",
    f"{API}.STREAM.DELETE.MESSAGES_OUTBOUND",
    f"{API}.STREAM.CREATE.LOOT",
    f"{API}.CONSUMER.DELETE.MESSAGES_INBOUND.app_globex_echo_r0",
    f"{API}.CONSUMER.MSG.NEXT.MESSAGES_INBOUND.app_globex_echo_r1",
    "$JS.ACK.MESSAGES_INBOUND.app_globex_echo_r0.1.1.1.1.0",
    "$KV.penstock_suspects.app_globex_echo.x",
    VICTIM,
    "tenant.globex.messages.in.p00.webhook.acc-1.room",
    "tenant.globex.receipts.p00.acc-1",
    "penstock.join.globex",
    "penstock.desk.globex.echo.ask",
    "penstock.heartbeat.app_globex_echo.me",
    "penstock.membership.app_globex_echo.me",
    "penstock.membership.outbound.me",
)
HOSTILE_HEADERS = (
    {"Nats-Rollup": "all"},
    {"Nats-Rollup": "sub"},
    {"Nats-TTL": "1s"},
    {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": VICTIM},
    {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    {"Nats-Incr": "+1"},
    {"Nats-Trace-Dest": f"{API}.STREAM.PURGE.MESSAGES_INBOUND"},
    {"Nats-Trace-Dest": VICTIM},
    {"Nats-Trace-Dest": VICTIM, "Nats-Trace-Only": "true"},
    {"Nats-Expected-Stream": "MESSAGES_INBOUND"},
    {"Nats-Request-Info": '{"acc":"PENSTOCK"}'},
    {"Nats-Subject": VICTIM},
    {"tenant-id": "globex"},
)


@pytest.fixture
async def bus():
    """Both tenants have an app that joined; globex has been told something that nobody has taken yet."""
    async with walled(ACME, GLOBEX) as made:
        for tenant in (ACME, GLOBEX):
            async with made.guest(tenant):
                pass
        bucket = await made.core.key_value(suspects.BUCKET, max_age_s=suspects.KEPT_S)
        await bucket.put(f"app_globex_{APP}.MESSAGES_INBOUND.1.1", b"0")
        await made.say(GLOBEX, "room", "a secret of globex")
        await made.say(ACME, "room", "hello")
        yield made


async def standing(bus):
    """All that an attack could change, but what acme itself says and settles."""
    streams = {}
    for name in await bus.core.stream_names():
        state = await bus.core.stream_state(name)
        assert state is not None
        # A stream that holds nothing yet has its first place at 0.
        streams[name] = (await bus.core.describe_stream(name), state.created, max(1, state.first))
    durables = [
        one
        for name in streams
        for one in await bus.core.consumer_states(name)
        if not one.policy.name.startswith("app_acme_")
    ]
    everything = []
    for name in streams:
        state = await bus.core.stream_state(name)
        assert state is not None
        for sequence in range(max(1, state.first), state.last + 1):
            found = await bus.core.message(name, sequence)
            if found is not None and not found.subject.startswith(("tenant.acme.", "$KV.penstock_suspects.app_acme_")):
                everything.append((name, found.subject, found.sequence, found.at, found.body))
    return streams, durables, everything


@contextlib.asynccontextmanager
async def unharmed(bus):
    """What the block does changes nothing of anybody else's, and globex's app gets what it is told."""
    before = await standing(bus)
    yield
    assert await standing(bus) == before
    await served(bus)


async def served(bus):
    heard: list[str] = []

    async def handle(context, delivery):
        heard.append(route.INBOUND.decode(delivery.headers, delivery.body).text)

    async with bus.guest(GLOBEX) as spine, answering(spine, GLOBEX, handle):
        await bus.say(GLOBEX, "room", "are you there?")
        await until(lambda: heard[-1:] == ["are you there?"])
    assert heard == ["a secret of globex", "are you there?"]


def mine() -> list[str]:
    """Every subject that acme's account imports, made whole."""
    names = [policy.name for policy in consumer.of_app(ACME, APP).durables()]
    return [
        OWN,
        "penstock.join.acme",
        f"penstock.desk.acme.{APP}.ask",
        f"penstock.heartbeat.app_acme_{APP}.me",
        *(f"{API}.CONSUMER.MSG.NEXT.MESSAGES_INBOUND.{name}" for name in names),
        *(f"$JS.ACK.MESSAGES_INBOUND.{name}.1.1.1.1.0" for name in names),
    ]


BODIES = (
    b"",
    b"{}",
    b'{"batch":10,"no_wait":true,"group":"owner"}',
    b'{"seq":1}',
    b'{"filter":"tenant.globex.>"}',
    b"+NXT",
    b"+TERM",
    desk_pb2.DeskRequest(place=desk_pb2.Place(stream="MESSAGES_INBOUND", sequence=1)).SerializeToString(),
)


async def test_no_forged_reply_reaches_anybody(bus):
    """What a service answers goes to the reply subject in the asker's own account, whatever that says."""
    async with unharmed(bus), bus.link("acme") as link:
        for subject, reply, body in itertools.product(mine(), FORGED_REPLIES, BODIES):
            link.publish(subject, body, reply=reply)
            await link.room(5)
        await link.barrier(10)
        await bus.core._plane.barrier(10)
        await asyncio.sleep(0.3)  # what the server does on behalf of a forged request has no end to wait for


async def test_permissions_alone_would_not_do(bus):
    """The same attack inside the owner's account, by a user who may do nothing but take messages and publish."""
    owner = bus.held.endpoint
    text = (await asyncio.to_thread(bus.server.accounts_file.read_text)).replace(
        "    users: [",
        f'    users: [{{ user: "fenced", password: "x", permissions: {{ subscribe: "_INBOX.>", publish: ["{API}.'
        f'CONSUMER.MSG.NEXT.MESSAGES_INBOUND.*", "{OWN}"] }} }}, ',
        1,
    )
    await bus.server.admit(text)
    fenced = links.Link(address.address(owner.url, user="fenced", password="x"))
    await fenced.open(wait_s=10)
    for policy in consumer.of_app(ACME, APP).durables():
        subject = f"{API}.CONSUMER.MSG.NEXT.MESSAGES_INBOUND.{policy.name}"
        fenced.publish(subject, b'{"batch":1,"no_wait":true,"group":"owner"}', reply=VICTIM)
    await fenced.barrier(10)

    async def written() -> bool:
        state = await bus.core.stream_state(stream.MESSAGES_OUTBOUND.name)
        return state is not None and state.messages > 0

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not await written():
                await asyncio.sleep(0.05)
    await fenced.close()
    assert await written()


async def test_no_hostile_header_reaches_anybody(bus):
    heard: list[str] = []

    async def keep(signal: ports.Signal) -> None:
        heard.append(signal.subject)

    listening = await bus.core.listen("tenant.globex.>", keep)
    async with unharmed(bus), bus.link("acme") as link:
        for subject, fields in itertools.product(mine(), HOSTILE_HEADERS):
            link.publish(subject, b"{}", headers_block=headers.block(fields))
        await link.barrier(10)
        await bus.core._plane.barrier(10)
        await asyncio.sleep(0.3)
        assert heard == []
        await listening.close()


READS = (
    "STREAM.NAMES",
    "STREAM.LIST",
    "INFO",
    *(f"STREAM.{verb}.MESSAGES_INBOUND" for verb in ("INFO", "MSG.GET", "SNAPSHOT", "UPDATE", "PURGE", "DELETE")),
    "STREAM.MSG.DELETE.MESSAGES_INBOUND",
    "STREAM.CREATE.LOOT",
    "STREAM.RESTORE.LOOT",
    "STREAM.LEADER.STEPDOWN.MESSAGES_INBOUND",
    "DIRECT.GET.MESSAGES_INBOUND",
    "DIRECT.GET.MESSAGES_INBOUND.tenant.globex.messages.in.p00.webhook.acc-1.room",
    "DIRECT.GET.KV_penstock_suspects",
    "DIRECT.GET.KV_penstock_suspects.$KV.penstock_suspects.app_globex_echo.x",
    "CONSUMER.NAMES.MESSAGES_INBOUND",
    "CONSUMER.LIST.MESSAGES_INBOUND",
    "CONSUMER.INFO.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.CREATE.MESSAGES_INBOUND.spy.tenant.>",
    "CONSUMER.CREATE.MESSAGES_INBOUND.app_acme_echo_r0",
    "CONSUMER.DURABLE.CREATE.MESSAGES_INBOUND.spy",
    "CONSUMER.DELETE.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.PAUSE.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.UNPIN.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.LEADER.STEPDOWN.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.MSG.NEXT.MESSAGES_INBOUND.app_globex_echo_r0",
    "CONSUMER.MSG.NEXT.MESSAGES_OUTBOUND.outbound_r0",
    "CONSUMER.MSG.NEXT.QUARANTINE.quarantine",
    "META.LEADER.STEPDOWN",
    "SERVER.REMOVE",
    "ACCOUNT.PURGE.PENSTOCK",
)
SILENT = {"META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.PURGE.PENSTOCK"}
"""What the server answers to its own system account only, and to nobody without a cluster."""
REQUESTS = (
    b"",
    b'{"seq":1}',
    b'{"last_by_subj":"tenant.globex.>"}',
    b'{"multi_last":["tenant.>"]}',
    b'{"batch":5,"no_wait":true,"group":"owner"}',
    json.dumps(
        {
            "stream_name": "MESSAGES_INBOUND",
            "config": {"name": "spy", "durable_name": "spy", "filter_subject": "tenant.>", "ack_policy": "none"},
        }
    ).encode(),
    b'{"name":"LOOT","subjects":["loot"],"sources":[{"name":"MESSAGES_INBOUND"}]}',
)


@pytest.mark.parametrize("prefix", [API, "penstock.api", "$JS.PENSTOCK.API", "$JS.hub.API"])
async def test_no_service_of_jetstream_says_or_does_anything(bus, prefix):
    async with unharmed(bus), bus.link("acme") as link:
        asked = list(itertools.product(READS, REQUESTS))
        answers = [link.call(f"{prefix}.{verb}", body, 3) for verb, body in asked]
        for (verb, _), answer in zip(asked, await asyncio.gather(*answers, return_exceptions=True), strict=True):
            if isinstance(answer, BaseException):
                assert verb in SILENT, (verb, answer)
                continue
            said = answer.body and json.loads(answer.body)
            assert answer.status == "503" or said["error"]["code"] in {400, 404, 503}, (verb, answer.body)
            assert b"secret" not in answer.body


async def test_a_tenant_publishes_as_no_other(bus):
    forged = (
        VICTIM,
        "tenant.globex.messages.in.p00.webhook.acc-1.room",
        "tenant.acme.messages.in.p00.webhook.acc-1.room",
        "tenant.globex.receipts.p00.acc-1",
        "tenant.acme.receipts.p00.acc-1",
        "tenant.globex.quarantine.MESSAGES_INBOUND.app_globex_echo",
        "tenant.acme.quarantine.MESSAGES_INBOUND.app_acme_echo",
        "$KV.penstock_suspects.app_globex_echo.x",
        "$KV.penstock_suspects.app_acme_echo.x",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.MESSAGES_INBOUND.app_globex_echo_r0",
        "penstock.join.globex",
        "penstock.desk.globex.echo.ask",
        "penstock.desk.acme.another.ask",
    )
    before = {name: await bus.core.stream_state(name) for name in await bus.core.stream_names()}
    async with unharmed(bus), bus.link("acme") as link:
        for subject in forged:
            assert (await link.call(subject, b"forged", 5)).status == "503", subject
        assert {name: await bus.core.stream_state(name) for name in before} == before


async def test_nobody_settles_or_takes_what_another_holds(bus):
    """Every word that could settle globex's delivery, and every way to become the owner of its durable."""
    held: list[ports.Delivery] = []
    async with bus.guest(GLOBEX) as spine:
        taking = [
            await spine.consume(policy, held.append, window=8) for policy in consumer.of_app(GLOBEX, APP).durables()
        ]
        await until(lambda: len(held) == 1)
        (delivery,) = held
        reply = delivery._message.reply  # type: ignore[attr-defined]
        pin = delivery._message.headers["Nats-Pin-Id"]  # type: ignore[attr-defined]
        async with bus.link("acme") as link:
            for words in (b"+ACK", b"-NAK", b"+TERM", b"+NXT", b'-NAK {"delay":1}'):
                link.publish(reply, words)
                assert (await link.call(reply, words, 5)).status == "503"
            pull = json.dumps({"batch": 1, "no_wait": True, "group": "owner", "id": pin}).encode()
            subject = f"{API}.CONSUMER.MSG.NEXT.MESSAGES_INBOUND.{delivery.consumer}"
            assert (await link.call(subject, pull, 5)).status == "503"
        assert (await bus.core.backlog("MESSAGES_INBOUND", delivery.consumer)) == (0, 1)
        await bus.say(GLOBEX, "room", "more")
        await until(lambda: len(held) == 2)
        for one in taking:
            await one.close()


async def test_nobody_overhears(bus):
    """Everything that an account may listen to, while globex and the platform talk."""
    heard: list[tuple[str, bytes]] = []
    async with bus.link("acme") as link:
        for pattern in (">", "*", "_INBOX.>", "_R_.>", "$JS.>", "$SYS.>", "$KV.>", "tenant.>", "penstock.>", "*.*.>"):
            link.subscribe(pattern, lambda message: heard.append((message.subject, message.body)))
        await link.barrier(5)
        await served(bus)
        await bus.core.emit(ports.Signal("penstock.heartbeat.app_globex_echo.x", {}, b"globex is here"))
        await bus.core._plane.barrier(5)
        await link.barrier(5)
    assert heard == []


async def test_nobody_speaks_for_the_processes_of_others(bus):
    heard: list[str] = []

    async def keep(signal: ports.Signal) -> None:
        heard.append(signal.subject)

    for pattern in ("penstock.membership.>", "penstock.roll-call.>", "penstock.heartbeat.>", "penstock.admitted.>"):
        await bus.core.listen(pattern, keep)
    async with unharmed(bus):
        heard.clear()
        async with bus.link("acme") as link:
            for subject in (
                "penstock.membership.app_globex_echo.me",
                "penstock.membership.outbound.me",
                "penstock.roll-call.outbound",
                "penstock.heartbeat.app_globex_echo.me",
                "penstock.heartbeat.outbound.me",
                "penstock.admitted.globex.echo",
                "penstock.membership.app_acme_echo.me",
                f"penstock.heartbeat.app_acme_{APP}.me",
            ):
                link.publish(subject, b"I am")
            await link.barrier(5)
        await bus.core._plane.barrier(5)
        await until(lambda: bool(heard))
        assert heard == [f"penstock.heartbeat.app_acme_{APP}.me"]  # its own, and nobody else's


async def ask(link, question: desk_pb2.DeskRequest, *, where: str = f"penstock.desk.acme.{APP}.ask", **fields: str):
    answer = await link.call(where, question.SerializeToString(), 10, headers_block=headers.block(fields or {"a": "b"}))
    return desk_pb2.DeskReply.FromString(answer.body)


async def test_the_desk_serves_whoever_asks_and_nobody_else(bus):
    place, entry = desk_pb2.Place, desk_pb2.SuspectEntry
    record = {"tenant": ACME, "stream": "MESSAGES_INBOUND", "consumer": f"app_acme_{APP}", "body": b"x"}
    where = "tenant.acme.messages.in.p00.webhook.acc-1.room"
    foreign = where.replace("acme", "globex")
    key = f"app_globex_{APP}.MESSAGES_INBOUND.1.1"
    refused = [
        desk_pb2.DeskRequest(place=place(stream="RECEIPTS", sequence=1)),
        desk_pb2.DeskRequest(release=desk_pb2.Release(durable=f"app_globex_{APP}_r0")),
        desk_pb2.DeskRequest(standing=desk_pb2.Standing(durable=f"app_globex_{APP}_r0")),
        desk_pb2.DeskRequest(standing=desk_pb2.Standing(durable="*")),
        *(
            desk_pb2.DeskRequest(suspect=entry(key=name, act=act, value=b"2"))
            for name in (key, f"app_acme_{APP}", "app_acme_other.x", f"app_acme_{APP}2.x", f"app_acme_{APP}.>", "*")
            for act in (desk_pb2.SUSPECT_ACT_READ, desk_pb2.SUSPECT_ACT_WRITE, desk_pb2.SUSPECT_ACT_DELETE)
        ),
        *(
            desk_pb2.DeskRequest(quarantined=quarantine_pb2.Quarantined(**{**record, "subject": where, **change}))
            for change in (
                {"tenant": GLOBEX},
                {"consumer": f"app_globex_{APP}"},
                {"consumer": "outbound"},
                {"stream": "MESSAGES_OUTBOUND"},
                {"subject": foreign},
                {"subject": VICTIM},
                {"subject": OWN},
                {"subject": "tenant.*.messages.in.>"},
                {"subject": ""},
            )
        ),
        desk_pb2.DeskRequest(),
        desk_pb2.DeskRequest(joining=desk_pb2.Joining(app="other")),
    ]
    async with unharmed(bus), bus.link("acme") as link:
        for question in refused:
            assert (await ask(link, question)).refusal.code, question
        forged = desk_pb2.DeskRequest(quarantined=quarantine_pb2.Quarantined(**record, subject=where))
        assert (await ask(link, forged, **{"tenant-id": "globex"})).refusal.code == "tenant_mismatch"
        # Sequence 1 is globex's and 2 is acme's: of the one it is not even said that it is there.
        theirs = await ask(link, desk_pb2.DeskRequest(place=place(stream="MESSAGES_INBOUND", sequence=1)))
        own = await ask(link, desk_pb2.DeskRequest(place=place(stream="MESSAGES_INBOUND", sequence=2)))
        never = await ask(link, desk_pb2.DeskRequest(place=place(stream="MESSAGES_INBOUND", sequence=10**9)))
        assert theirs == never
        assert (theirs.found, own.found) == (False, True)


async def test_no_name_of_an_app_leads_out_of_its_tenant(bus):
    names = ("", "*", ">", "echo.x", "a_b", "../x", "Echo", "x" * 41, "echo_r0", "é", "globex.echo", "a b")
    async with unharmed(bus), bus.link("acme") as link:
        for name in names:
            question = desk_pb2.DeskRequest(joining=desk_pb2.Joining(app=name))
            assert (await ask(link, question, where="penstock.join.acme")).refusal.code, name
        for durable in (f"app_globex_{APP}_r0", "outbound_r0", "*"):
            again = desk_pb2.Joining(app=APP, durable=durable)
            reply = await ask(link, desk_pb2.DeskRequest(joining=again), where="penstock.join.acme")
            assert reply.refusal.code == "not_yours"


async def test_a_tenant_makes_only_so_many_apps(bus, monkeypatch):
    monkeypatch.setattr("penstock.spine.porter.APPS", 3)
    async with unharmed(bus), bus.link("acme") as link:
        codes = []
        for number in range(4):
            joining = desk_pb2.Joining(app=f"more-{number}")
            reply = await ask(link, desk_pb2.DeskRequest(joining=joining), where="penstock.join.acme")
            codes.append(reply.refusal.code)
        assert codes == ["", "", "too_many_apps", "too_many_apps"]


async def test_the_system_account_tells_nothing_of_others(bus):
    asked = (
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.JSZ",
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.PENSTOCK.CONNZ",
        "$SYS.REQ.ACCOUNT.PENSTOCK.JSZ",
        "$SYS.REQ.ACCOUNT.APPS_globex.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.STATZ",
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.CLAIMS.LIST",
    )
    async with bus.link("globex") as victim, bus.link("acme") as link:
        await victim.barrier(5)
        for subject in asked:
            for body in (b"", b'{"account":"PENSTOCK","acc":"APPS_globex","auth":true,"subscriptions":true}'):
                answer = await link.call(subject, body, 5)
                assert b"globex" not in answer.body, (subject, answer.body)
                said = json.loads(answer.body or b"{}").get("data", {})
                # Of connections and accounts, its own only.
                assert said.get("num_connections", 1) == 1, (subject, said)
                accounts = {said.get("account"), *(one.get("acc") for one in said.get("account_statz", ()))}
                assert accounts <= {None, "APPS_acme"}, (subject, said)
                assert "jetstream" not in said, (subject, said)


async def test_a_flood_keeps_nobody_else_from_being_served(bus):
    """As fast as it can: commands, questions and heartbeats, from several connections at once."""
    stop = asyncio.Event()

    async def flood(link) -> None:
        subjects = itertools.cycle(mine())
        while not stop.is_set():
            for subject in itertools.islice(subjects, 200):
                link.publish(subject, b"x" * 200, reply=f"{link.inbox}.x.y")
            await link.room(30)
            await asyncio.sleep(0)

    async with contextlib.AsyncExitStack() as stack:
        linked = [await stack.enter_async_context(bus.link("acme")) for _ in range(3)]
        floods = [asyncio.create_task(flood(link)) for link in linked]
        try:
            await served(bus)
        finally:
            stop.set()
            await asyncio.gather(*floods)


async def test_a_wrong_password_is_of_no_account(bus):
    endpoint = bus.held.endpoint
    for user, password in (("apps-acme", "word of apps-globex"), ("APPS_acme", ""), ("apps-initech", "x"), ("", "")):
        with pytest.raises(errors.Rejected, match="nats_auth"):
            await spine_nats.NatsSpine.connect(endpoint.url, user=user, password=password, wait_s=10)


def test_names_are_what_this_file_takes_them_for():
    assert [policy.name for policy in consumer.of_app(ids.tenant_id("globex"), APP).durables()][:2] == [
        "app_globex_echo_r0",
        "app_globex_echo_r1",
    ]
    assert stream.MESSAGES_OUTBOUND.name in FORGED_REPLIES[1]
