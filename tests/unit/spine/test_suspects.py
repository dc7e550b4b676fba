"""Suspects: a turnstile that starves nobody, and a count of runs that only a process's death leaves behind."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import consumer, ports, suspects, worker
from penstock.spine.adapters import spine_memory
from tests.unit.spine.stage import FakeDelivery, FakeSpine, until

POLICY = consumer.ConsumerPolicy(
    "test", "S", "tenant.*.x", concurrency=4, max_ack_pending=16, attempts=3, backoff_s=(0.001,), ack_wait_s=1.0
)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def spine() -> AsyncIterator[spine_memory.MemorySpine]:
    made = spine_memory.MemorySpine(deadline_s=0.2)
    yield made
    await made.close()


async def test_many_are_inside_together_and_one_alone() -> None:
    turnstile = suspects.Turnstile()
    await turnstile.enter()
    await turnstile.enter()
    alone = asyncio.create_task(turnstile.enter(alone=True))
    await turns()
    assert not alone.done()
    turnstile.leave()
    await turns()
    assert not alone.done()
    turnstile.leave()
    await alone
    beside = asyncio.create_task(turnstile.enter())
    await turns()
    assert not beside.done()
    turnstile.leave()
    await beside


async def test_whoever_comes_after_one_that_wants_to_be_alone_waits_behind_it() -> None:
    turnstile = suspects.Turnstile()
    await turnstile.enter()
    alone = asyncio.create_task(turnstile.enter(alone=True))
    await turns()
    late = asyncio.create_task(turnstile.enter())
    await turns()
    assert not late.done()
    turnstile.leave()
    await alone
    assert not late.done()
    turnstile.leave()
    await late


async def test_one_that_gives_up_waiting_lets_the_others_in() -> None:
    turnstile = suspects.Turnstile()
    await turnstile.enter()
    alone = asyncio.create_task(turnstile.enter(alone=True))
    await turns()
    late = asyncio.create_task(turnstile.enter())
    await turns()
    alone.cancel()
    await late
    turnstile.leave()
    turnstile.leave()
    await turnstile.enter(alone=True)


@given(st.lists(st.tuples(st.sampled_from(["together", "alone", "leave", "cancel"]), st.integers(0, 9)), max_size=60))
def test_law_whoever_is_alone_is_alone_and_everybody_gets_in(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        turnstile = suspects.Turnstile()
        inside: list[bool] = []
        waiting: list[asyncio.Task[None]] = []

        async def enter(*, alone: bool) -> None:
            await turnstile.enter(alone=alone)
            inside.append(alone)
            assert len(inside) == 1 or not any(inside)

        def leave() -> None:
            inside.pop()
            turnstile.leave()

        for what, number in steps:
            if what == "leave":
                if inside:
                    leave()
            elif what == "cancel":
                if waiting:
                    waiting[number % len(waiting)].cancel()
            else:
                waiting.append(asyncio.create_task(enter(alone=what == "alone")))
            await turns(2)
        async with asyncio.timeout(5):
            while inside or not all(task.done() for task in waiting):
                if inside:
                    leave()
                await turns(3)
        assert not [error for task in waiting if not task.cancelled() and (error := task.exception())]

    asyncio.run(play())


DEAD: list[Any] = []
"""What dead processes were at: kept, because a run that is forgotten is ended by the event loop."""


async def die(spine: ports.Spine, name: str, delivery: FakeDelivery) -> int:
    """A process of its own that ends while it has the message."""
    DEAD.append(suspects.Suspects(spine).watched(name, delivery))
    return await DEAD[-1].__aenter__()


async def test_a_run_that_ends_leaves_nothing_behind_whichever_way(spine: spine_memory.MemorySpine) -> None:
    made = suspects.Suspects(spine)
    delivery = FakeDelivery(7)
    async with made.watched("c", delivery) as runs:
        assert runs == 0
        bucket = await spine.key_value(suspects.BUCKET)
        assert len(await bucket.keys()) == 1

    async def fail() -> None:
        async with made.watched("c", delivery):
            raise ValueError("on its own")

    with pytest.raises(ValueError, match="on its own"):
        await fail()
    running = asyncio.Event()

    async def told_to_stop() -> None:
        async with made.watched("c", delivery):
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(told_to_stop())
    await running.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await bucket.keys() == []


async def test_runs_that_never_ended_are_counted_for_each_message_and_consumer(
    spine: spine_memory.MemorySpine,
) -> None:
    assert [await die(spine, "c", FakeDelivery(7)) for _ in range(5)] == [0, 0, 1, 2, 2]
    later = dataclasses.replace(FakeDelivery(7), at=FakeDelivery(7).at.replace(year=2027))
    for name, delivery in (("c", FakeDelivery(8)), ("d", FakeDelivery(7)), ("c", later)):
        made = suspects.Suspects(spine)
        async with made.watched(name, delivery) as runs:
            assert runs == 0
            async with asyncio.timeout(10):
                await made.turnstile.enter()


async def test_what_a_process_died_of_runs_alone(spine: spine_memory.MemorySpine) -> None:
    await die(spine, "c", FakeDelivery(7))
    made = suspects.Suspects(spine)
    async with made.watched("c", FakeDelivery(7)):
        beside = asyncio.create_task(made.turnstile.enter())
        await turns(20)
        assert not beside.done()
    await beside


async def test_an_entry_that_could_not_be_deleted_counts_for_nothing_here(
    spine: spine_memory.MemorySpine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, delivery = suspects.Suspects(spine), FakeDelivery(7)
    monkeypatch.setattr(suspects, "CLEAR_TIMEOUT_S", 0.05)
    async with made.watched("c", delivery):
        spine.disconnect()
    spine.reconnect()
    await made.turnstile.enter()
    async with asyncio.timeout(10), made.watched("c", delivery) as runs:
        assert runs == 0


async def test_without_the_bucket_nothing_runs(spine: spine_memory.MemorySpine) -> None:
    made = suspects.Suspects(spine)
    spine.disconnect()
    with pytest.raises(errors.Unavailable):
        await made.watched("c", FakeDelivery(7)).__aenter__()
    async with asyncio.timeout(10):
        await made.turnstile.enter(alone=True)


class Stage(FakeSpine):
    """The worker's fake transport, with the buckets of a real one."""

    def __init__(self, buckets: spine_memory.MemorySpine) -> None:
        super().__init__()
        self._buckets = buckets

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> ports.KeyValue:
        return await self._buckets.key_value(bucket, history=history, max_age_s=max_age_s)


async def test_a_worker_runs_a_suspect_alone_and_its_neighbours_wait(spine: spine_memory.MemorySpine) -> None:
    stage, release, running = Stage(spine), asyncio.Event(), set[int]()
    await die(spine, "test", FakeDelivery(2))
    together: list[set[int]] = []

    async def handle(_: Any, delivery: ports.Delivery) -> None:
        running.add(delivery.sequence)
        together.append(set(running))
        if delivery.sequence == 1:
            await release.wait()
        running.discard(delivery.sequence)

    made = worker.Worker(stage, POLICY, handle)  # type: ignore[arg-type]
    await made.start()
    deliveries = [FakeDelivery(1), FakeDelivery(2, deliveries=POLICY.watched_from), FakeDelivery(3)]
    stage.receive(deliveries[0])
    await until(lambda: bool(running))
    stage.receive(deliveries[1])
    await turns(20)
    stage.receive(deliveries[2])
    await turns(20)
    assert running == {1}
    release.set()
    await until(lambda: all(delivery.settled == ["ack"] for delivery in deliveries))
    assert {2} in together
    assert not [seen for seen in together if 2 in seen and len(seen) > 1]
    await made.drain(1)


async def test_what_two_processes_died_of_alone_is_quarantined_unhandled(spine: spine_memory.MemorySpine) -> None:
    stage, delivery = Stage(spine), FakeDelivery(1, deliveries=5)
    for _ in range(1 + suspects.SOLO_RUNS):
        await die(spine, "test", delivery)

    async def handle(_: Any, __: ports.Delivery) -> None:
        raise AssertionError("not a third time")

    made = worker.Worker(stage, POLICY, handle)  # type: ignore[arg-type]
    await made.start()
    stage.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    record = quarantine_pb2.Quarantined.FromString(stage.published[0].body)
    assert (record.code, record.attempts) == ("kills_process", suspects.SOLO_RUNS)
    await made.drain(1)


async def test_what_only_waited_in_a_process_that_died_runs_beside_others(spine: spine_memory.MemorySpine) -> None:
    stage, running, release = Stage(spine), set[int](), asyncio.Event()

    async def handle(_: Any, delivery: ports.Delivery) -> None:
        running.add(delivery.sequence)
        await release.wait()

    made = worker.Worker(stage, POLICY, handle)  # type: ignore[arg-type]
    await made.start()
    for number in range(POLICY.concurrency):
        stage.receive(FakeDelivery(number, deliveries=7))
    await until(lambda: len(running) == POLICY.concurrency)
    release.set()
    await made.drain(1)


async def test_a_suspect_waits_for_the_bucket(spine: spine_memory.MemorySpine) -> None:
    stage, delivery = Stage(spine), FakeDelivery(1, deliveries=3)
    tries: list[int] = []

    async def handle(_: Any, delivery: ports.Delivery) -> None:
        tries.append(delivery.sequence)

    made = worker.Worker(stage, POLICY, handle)  # type: ignore[arg-type]
    await made.start()
    spine.disconnect()
    stage.receive(delivery)
    await turns(50)
    assert tries == []
    spine.reconnect()
    await until(lambda: delivery.settled == ["ack"])
    assert tries == [1]
    await made.drain(1)


async def test_a_drain_that_cuts_a_suspect_short_is_no_death(spine: spine_memory.MemorySpine) -> None:
    stage, delivery, running = Stage(spine), FakeDelivery(1, deliveries=3), asyncio.Event()

    async def handle(_: Any, __: ports.Delivery) -> None:
        running.set()
        await asyncio.Event().wait()

    made = worker.Worker(stage, POLICY, handle)  # type: ignore[arg-type]
    await made.start()
    stage.receive(delivery)
    await running.wait()
    assert await made.drain(0.01) == 1
    assert delivery.settled == ["retry 0"]
    assert await (await spine.key_value(suspects.BUCKET)).keys() == []
