"""An app's whole life in its tenant's account: what it may do itself, and what it asks the core for."""

import asyncio
import contextlib

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.servers import testing
from penstock.spine import access, consumer, ports, provision, route, settings, stream, suspects, worker
from penstock.spine.adapters import nats_guest, nats_policies, spine_nats
from tests.integration.spine.walls_stage import ACME, APP, GLOBEX, answering, until, walled, walls_of


@pytest.fixture
async def bus():
    async with walled(ACME, GLOBEX) as made:
        yield made


async def test_an_app_joins_takes_answers_and_settles(bus):
    heard: list[str] = []

    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            event = route.INBOUND.decode(delivery.headers, delivery.body)
            heard.append(event.text)
            command = outbound_pb2.SendCommand(
                command_id=f"c-{event.text}",
                tenant=ACME,
                channel="webhook",
                account="acc-1",
                conversation=event.conversation,
                text=f"You said {event.text}",
            )
            stored = await spine.publish(route.OUTBOUND.encode(context, command))
            assert (stored.stream, stored.duplicate) == ("MESSAGES_OUTBOUND", False)

        async with answering(spine, ACME, handle):
            for number in range(100):
                await bus.say(ACME, f"room {number % 7}", str(number))
                await bus.say(GLOBEX, f"room {number % 7}", f"not yours {number}")
            await until(lambda: len(heard) == 100)
            states = {}

            async def settled() -> bool:
                for state in await bus.core.consumer_states(stream.MESSAGES_INBOUND.name):
                    states[state.policy.name] = (state.waiting, state.held)
                return set(states.values()) == {(0, 0)}

            async with asyncio.timeout(20):
                while not await settled():
                    await asyncio.sleep(0.05)
    assert len(states) == consumer.RANGES
    assert sorted(heard, key=int) == [str(number) for number in range(100)]
    state = await bus.core.stream_state(stream.MESSAGES_OUTBOUND.name)
    assert state is not None
    assert state.messages == 100


async def test_what_cannot_be_handled_is_set_aside_by_the_core(bus):
    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            raise errors.Poisoned("no_good", "nobody can handle this")

        async with answering(spine, ACME, handle):
            await bus.say(ACME, "room", "hello")
            async with asyncio.timeout(20):
                async with contextlib.aclosing(
                    bus.core.browse(stream.QUARANTINE.name, "tenant.acme.quarantine.>", after=0)
                ) as records:
                    async for record in records:
                        found = route.QUARANTINED.decode(record.headers, record.body)
                        break
    assert (found.tenant, found.consumer, found.code) == (ACME, f"app_acme_{APP}", "no_good")
    assert record.headers["tenant-id"] == ACME


async def test_what_was_handed_out_before_is_written_down_while_it_runs(bus):
    """A second delivery, as after a process that ended: its entry is the app's own, and gone when it has run."""
    begun, go = asyncio.Event(), asyncio.Event()
    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            begun.set()
            await go.wait()

        await bus.say(ACME, "room", "hello")
        await _hand_out_in_vain(bus)
        async with answering(spine, ACME, handle):
            async with asyncio.timeout(30):
                await begun.wait()
            bucket = await bus.core.key_value(suspects.BUCKET)
            (key,) = await bucket.keys()
            assert key.startswith(f"app_acme_{APP}.MESSAGES_INBOUND.")
            go.set()
            async with asyncio.timeout(20):
                while await bucket.keys():
                    await asyncio.sleep(0.05)


async def _hand_out_in_vain(bus) -> None:
    """Every durable gives what it has to somebody who gives it back."""
    for policy in consumer.of_app(ACME, APP).durables():
        got: list[ports.Delivery] = []
        taking = await bus.core.consume(policy, got.append, window=8)
        await asyncio.sleep(0.3)
        for delivery in got:
            await delivery.retry(0)
        await taking.close()
        await bus.core.release(policy.stream, policy.name)
        if got:
            return
    raise AssertionError("nothing was handed out")


async def test_two_replicas_share_the_ranges_within_their_account(bus):
    async def handle(context, delivery):
        return

    async with (
        bus.guest(ACME) as one,
        bus.guest(ACME) as other,
        answering(one, ACME, handle) as first,
        answering(other, ACME, handle) as second,
    ):
        await until(lambda: len(first.ranges) == len(second.ranges) == consumer.RANGES // 2)
        assert not first.ranges & second.ranges


async def test_an_app_outlives_the_server_and_doubts_what_it_held(bus):
    """After a reconnection the core says whether the stream is the same; what was held is settled then."""
    begun, go, heard = asyncio.Event(), asyncio.Event(), []
    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            begun.set()
            await go.wait()
            heard.append(delivery.deliveries)

        async with answering(spine, ACME, handle):
            await bus.say(ACME, "room", "hello")
            async with asyncio.timeout(20):
                await begun.wait()
            async with bus.held.away():
                pass
            go.set()
            async with asyncio.timeout(30):
                while True:
                    states = await bus.core.consumer_states(stream.MESSAGES_INBOUND.name)
                    if states and not any(state.held or state.waiting for state in states):
                        break
                    await asyncio.sleep(0.1)
    assert heard == [1]


async def test_a_durable_deleted_under_an_app_is_made_again_without_a_gap(bus):
    heard: list[str] = []
    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            heard.append(route.INBOUND.decode(delivery.headers, delivery.body).text)

        async with answering(spine, ACME, handle):
            await bus.say(ACME, "room", "before")
            await until(lambda: heard == ["before"])
            names = [policy.name for policy in consumer.of_app(ACME, APP).durables()]
            for name in names:
                await bus.core._calls.api(f"CONSUMER.DELETE.MESSAGES_INBOUND.{name}")
            await bus.say(ACME, "room", "after")
            await until(lambda: "after" in heard)
    assert list(dict.fromkeys(heard)) == ["before", "after"]


async def test_a_tenant_comes_while_others_work(bus):
    """Reloads for each of several tenants: what is said meanwhile is answered once, and no connection is lost."""
    heard: list[tuple[str, int]] = []
    coming = ["hooli", "initech", "umbrella", "vandelay"]
    async with bus.guest(ACME) as spine:

        async def handle(context, delivery):
            heard.append((route.INBOUND.decode(delivery.headers, delivery.body).text, delivery.deliveries))

        async with answering(spine, ACME, handle):
            said, done = 0, asyncio.Event()

            async def talk() -> None:
                nonlocal said
                while not done.is_set():
                    await bus.say(ACME, f"room {said % 50}", str(said))
                    said += 1

            talking = asyncio.create_task(talk())
            for tenant in coming:
                bus.apps[tenant] = set()
                await bus.admit()
                async with bus.link(tenant) as fresh:
                    answer = await fresh.call(f"penstock.join.{tenant}", b"nonsense", 5)
                    assert b"undecodable" in answer.body
            done.set()
            await talking
            await until(lambda: len({text for text, _ in heard}) == said)
            assert spine.connection == bus.core.connection == 1
    assert {deliveries for _, deliveries in heard} == {1}
    assert len(heard) == said


async def test_the_owner_is_no_guest(bus):
    there = spine_nats._address(bus.held.endpoint.url_with_credentials(), name="owner")
    who = nats_guest.desk.Who(ACME, APP)
    spine = await nats_guest.enter(there, who, wait_s=10)
    try:
        assert type(spine) is spine_nats.NatsSpine
        await provision.require_streams(spine)
    finally:
        await spine.close()


async def test_an_app_that_its_account_does_not_know_is_told_so(bus):
    """Without somebody who writes the account anew, as on a server of one's own."""
    bus.apps[ACME] = {"stranger"}  # so that nothing is written when it joins
    there = spine_nats._address(bus.held.endpoint.url, **bus.login(access.of_tenant(ACME)), name="app")
    spine = await nats_guest.enter(there, nats_guest.desk.Who(ACME, "stranger"), wait_s=10)
    try:
        with pytest.raises(errors.Unavailable, match="not_admitted"):
            await spine.desk.join()
    finally:
        await spine.close()


@contextlib.asynccontextmanager
async def role(bus, name):
    """A client of a role's account, as `penstock run` makes one."""
    chosen = settings.NatsSettings(api_prefix=access.API_PREFIX)
    there = spine_nats.NatsSpine.address(bus.held.endpoint.url, chosen, **bus.login(access.ROLES[name]))
    spine = await spine_nats.NatsSpine.connect(there, wait_s=10, deadline_s=3.0)
    try:
        yield spine
    finally:
        await spine.close()


async def test_a_role_apart_sends_what_apps_say(bus):
    """With its imports only: durables, leases, receipts, suspects, quarantine."""
    heard: list[str] = []
    await provision.durable(bus.core, consumer.OUTBOUND)
    async with role(bus, "outbound") as spine:
        assert await provision.streams(spine) == []
        assert not await provision.durable(spine, consumer.OUTBOUND)

        async def handle(context, delivery):
            if delivery.subject.endswith("poison"):
                raise errors.Poisoned("no_good", "nobody can send this")
            heard.append(delivery.subject)
            receipt = outbound_pb2.Receipt(command_id="c", tenant=ACME, account="acc-1", conversation="room")
            await spine.publish(route.RECEIPT.encode(context, receipt))

        made = worker.Worker(spine, consumer.OUTBOUND, handle, lane_of=lambda delivery: delivery.subject)
        await made.start()
        for room in ("room", "poison"):
            command = outbound_pb2.SendCommand(
                command_id=room, tenant=ACME, channel="webhook", account="acc-1", conversation=room
            )
            await bus.core.publish(route.OUTBOUND.encode(contexts.start(ACME), command))
        async with asyncio.timeout(20):
            while True:
                kept = [await bus.core.stream_state(name) for name in ("RECEIPTS", "QUARANTINE")]
                if [state.messages for state in kept if state] == [1, 1]:
                    break
                await asyncio.sleep(0.05)
        watched = suspects.Suspects(spine)
        found = await bus.core.message("MESSAGES_OUTBOUND", 1)
        assert found is not None
        async with watched.watched("outbound", found) as runs:
            assert runs == 0
        await made.drain(5)
    assert len(heard) == 1


async def test_a_role_apart_publishes_what_people_say(bus):
    async with role(bus, "inbound") as spine:
        assert await provision.streams(spine) == []
        message = message_pb2.Message(
            event_id="e", tenant=ACME, channel="webhook", account="acc-1", conversation="room", text="hi"
        )
        stored = await spine.publish(route.INBOUND.encode(contexts.start(ACME), message))
        assert (stored.stream, stored.sequence) == ("MESSAGES_INBOUND", 1)
        found = await spine.message("MESSAGES_INBOUND", 1)
        assert found is not None
        assert route.INBOUND.decode(found.headers, found.body).text == "hi"


@pytest.mark.parametrize("name", sorted(access.ROLES))
async def test_a_role_apart_makes_and_deletes_nothing(bus, name):
    async with role(bus, name) as spine:
        with pytest.raises(errors.PenstockError):
            await spine.create_stream(stream.StreamPolicy("LOOT", ("loot.>",), "what a role may not have"))
        for verb in ("STREAM.DELETE.MESSAGES_INBOUND", "STREAM.PURGE.RECEIPTS", "CONSUMER.DELETE.X.Y"):
            answer = await spine.request(ports.Signal(f"$JS.API.{verb}", {}, b""), timeout_s=5)
            assert b'"err_code":10039' in answer.body
            with pytest.raises(errors.Unavailable, match="no_responders"):
                await spine.request(ports.Signal(f"{access.API_PREFIX}.{verb}", {}, b""), timeout_s=5)
        with pytest.raises(errors.PenstockError):
            await spine.create_consumer(consumer.ConsumerPolicy("loot", "MESSAGES_INBOUND", "tenant.>"))
    names = await bus.core.stream_names()
    assert names == sorted([f"KV_{suspects.BUCKET}", *(policy.name for policy in stream.STREAMS)])


async def test_a_role_apart_waits_for_the_streams_of_the_owner():
    async with testing.held_nats() as held, walls_of(held) as bus, role(bus, "inbound") as spine:
        with pytest.raises(errors.PenstockError):
            await provision.streams(spine)
        await provision.streams(bus.core)
        assert await provision.streams(spine) == []


async def test_streams_that_heed_headers_are_not_run_on():
    """As somebody may have made them: one tenant's roll-up would purge what all others wait for."""
    async with testing.held_nats() as held, walls_of(held, ACME) as bus:
        config = nats_policies.stream_config(stream.MESSAGES_OUTBOUND)
        steered = {**config, **dict.fromkeys(nats_policies.HEEDED, True)}
        del steered["allow_msg_counter"]  # which no server lets stand beside the others
        await bus.core._calls.api(f"STREAM.CREATE.{config['name']}", steered)
        with pytest.raises(errors.Rejected, match=r"heeds is allow_rollup_hdrs allow_msg_ttl .*stream_differs"):
            await provision.streams(bus.core)
