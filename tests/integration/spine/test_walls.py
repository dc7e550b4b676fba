"""An app's whole life in its tenant's account: what it may do itself, and what it asks the core for."""

import asyncio
import contextlib

import pytest

from penstock.base import errors
from penstock.messages.v1 import outbound_pb2, quarantine_pb2
from penstock.spine import access, consumer, ports, provision, route, stream, suspects
from penstock.spine.adapters import nats_guest, spine_nats
from tests.integration.spine.walls_stage import ACME, APP, GLOBEX, answering, until, walled


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

    async with bus.guest(ACME) as one, bus.guest(ACME) as other:
        async with answering(one, ACME, handle) as first, answering(other, ACME, handle) as second:
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

        async with answering(spine, ACME, handle, ack_wait_s=60.0):
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
                    assert b"no question" in answer.body
            done.set()
            await talking
            await until(lambda: len({text for text, _ in heard}) == said)
            assert spine.connection == bus.core.connection == 1
    assert {deliveries for _, deliveries in heard} == {1}
    assert len(heard) == said


async def test_the_owner_is_no_guest(bus):
    there = spine_nats._address(bus.held.endpoint.url_with_credentials(), name="owner")
    who = nats_guest.desk.Who(ACME, APP)
    spine = await nats_guest.GuestSpine.enter(there, who, wait_s=10)
    try:
        assert type(spine) is spine_nats.NatsSpine
        await provision.require_streams(spine)
    finally:
        await spine.close()


async def test_an_app_that_its_account_does_not_know_is_told_so(bus):
    """Without somebody who writes the account anew, as on a server of one's own."""
    bus.apps[ACME] = {"stranger"}  # so that nothing is written when it joins
    there = spine_nats._address(bus.held.endpoint.url, **bus.login(access.of_tenant(ACME)), name="app")
    spine = await nats_guest.GuestSpine.enter(there, nats_guest.desk.Who(ACME, "stranger"), wait_s=10)
    try:
        with pytest.raises(errors.Unavailable, match="not_admitted"):
            await spine.desk.join()
    finally:
        await spine.close()


async def test_an_app_says_what_it_lacks_without_a_core(bus):
    async with bus.guest(ACME) as spine:
        pass
    assert quarantine_pb2.Quarantined.DESCRIPTOR.full_name == "penstock.v1.Quarantined"
    async with bus.link("globex") as link:
        answer = await link.call("penstock.desk.globex.echo.ask", b"", 5)
        assert answer.status == "503"
    del spine
