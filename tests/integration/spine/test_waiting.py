"""Messages that have to wait, on a real server: for a platform, for a database, for a handler that hangs."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.servers.endpoints import NatsEndpoint
from penstock.spine import ports, provision, stream, worker
from penstock.spine.adapters import spine_nats
from tests.integration.spine import range_member

POLICY = dataclasses.replace(range_member.POLICY, ack_wait_s=2.0, attempts=2, backoff_s=(0.05,), deadline_s=30.0)
MANY_LEASES_S = 6.0


@pytest.fixture
async def spine(fresh_nats: NatsEndpoint) -> AsyncIterator[spine_nats.NatsSpine]:
    made = await spine_nats.NatsSpine.connect(fresh_nats.url_with_credentials())
    await provision.streams(made, [range_member.LETTERS, stream.QUARANTINE])
    try:
        yield made
    finally:
        await made.close()


async def settled(spine: ports.Spine) -> None:
    async with asyncio.timeout(20):
        while any(state.waiting or state.held for state in await spine.consumer_states("LETTERS")):
            await asyncio.sleep(0.05)


async def quarantined(spine: ports.Spine) -> int:
    state = await spine.stream_state("QUARANTINE")
    return state.messages if state is not None else 0


@pytest.mark.parametrize("ranges", [0, 8])
async def test_what_is_put_off_for_many_leases_uses_up_no_delivery_and_nobody_is_quarantined(
    spine: spine_nats.NatsSpine, ranges: int
) -> None:
    policy = dataclasses.replace(POLICY, ranges=ranges)
    await provision.durable(spine, policy)
    loop = asyncio.get_running_loop()
    back_at_s = loop.time() + MANY_LEASES_S
    tries, done = list[int](), list[tuple[str, int]]()

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        tries.append(delivery.deliveries)
        if loop.time() < back_at_s:
            raise errors.Unavailable("too_many_requests", "come back later", after_s=0.3, throttled=True)
        done.append((delivery.subject, int(delivery.body)))

    running = worker.Worker(spine, policy, handle, lane_of=lambda delivery: delivery.subject)
    await running.start()
    for number in range(100):
        await spine.publish(range_member.letter(number, number % 10))
    async with asyncio.timeout(30):
        while len(done) < 100:
            await asyncio.sleep(0.05)
    await settled(spine)
    assert set(tries) == {1}
    assert len(tries) > 100
    for subject in {subject for subject, _ in done}:
        numbers = [number for of, number in done if of == subject]
        assert numbers == sorted(numbers)
    assert await quarantined(spine) == 0
    assert await running.drain(5) == 0


async def test_a_handler_that_hangs_keeps_its_lease_until_its_deadline_ends_it(spine: spine_nats.NatsSpine) -> None:
    policy = dataclasses.replace(POLICY, deadline_s=4.5)
    await provision.durable(spine, policy)
    begun, done = list[int](), list[int]()

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        begun.append(delivery.deliveries)
        if delivery.body == b"7":
            await asyncio.Event().wait()
        done.append(int(delivery.body))

    running = worker.Worker(spine, policy, handle, lane_of=lambda delivery: delivery.subject)
    await running.start()
    for number in range(20):
        await spine.publish(range_member.letter(number, number % 5))
    await settled(spine)
    assert sorted(done) == [number for number in range(20) if number != 7]
    assert await quarantined(spine) == 1
    assert set(begun) == {1}, "the lease was kept: nobody else was handed it"
    assert len(begun) == 19 + policy.attempts
    assert await running.drain(5) == 0


async def test_a_drain_in_the_middle_loses_nothing_and_doubles_nothing(spine: spine_nats.NatsSpine) -> None:
    await provision.durable(spine, POLICY)
    handled = list[int]()

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        await asyncio.sleep(0.005)
        handled.append(int(delivery.body))

    async def one_life(until: int) -> None:
        running = worker.Worker(spine, POLICY, handle, lane_of=lambda delivery: delivery.subject)
        await running.start()
        async with asyncio.timeout(20):
            while len(handled) < until:
                await asyncio.sleep(0.01)
        await running.drain(10)

    for number in range(600):
        await spine.publish(range_member.letter(number, number % 64))
    for until in (100, 300, 600):
        await one_life(until)
    assert sorted(handled) == list(range(600))
    await settled(spine)
