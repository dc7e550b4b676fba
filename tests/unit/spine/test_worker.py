"""The worker contract: what happens to a delivery for each way in which a handler can end."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import consumer, ports, reaction, worker
from tests.unit.spine.stage import FakeDelivery, FakeSpine, until

POLICY = consumer.ConsumerPolicy(
    "test", "S", "tenant.*.x", concurrency=4, max_ack_pending=16, attempts=3, backoff_s=(0.001,), ack_wait_s=1.0
)


@pytest.fixture
async def running() -> AsyncIterator[Callable[..., Awaitable[tuple[FakeSpine, worker.Worker]]]]:
    started: list[worker.Worker] = []

    async def start(handle: worker.Handler, **options: Any) -> tuple[FakeSpine, worker.Worker]:
        spine = FakeSpine()
        made = worker.Worker(spine, options.pop("policy", POLICY), handle, **options)  # type: ignore[arg-type]
        await made.start()
        started.append(made)
        return spine, made

    yield start
    for made in started:
        await made.drain(0)


async def test_a_handler_that_returns_acks_and_gets_a_bound_context(running: Any) -> None:
    seen: list[contexts.Context] = []

    async def handle(context: contexts.Context, _: ports.Delivery) -> None:
        seen.append(context)

    spine, _ = await running(handle)
    delivery = FakeDelivery(headers={"X-Correlation-Id": "c1", "Traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["ack"])
    assert (seen[0].tenant, seen[0].correlation_id, seen[0].trace_id) == ("acme", "c1", "a" * 32)


async def test_rejected_is_acked_after_its_negative_answer(running: Any) -> None:
    told: list[str] = []

    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise errors.Rejected("no", "not like this")

    async def refuse(_: contexts.Context, __: ports.Delivery, error: errors.Rejected) -> None:
        told.append(error.code)

    spine, _ = await running(handle, on_rejected=refuse)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["ack"])
    assert told == ["no"]
    assert spine.published == []


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (errors.Rejected("no", "not like this"), quarantine_pb2.QUARANTINE_REASON_REJECTED, "no"),
        (errors.Poisoned("bad", "never"), quarantine_pb2.QUARANTINE_REASON_POISONED, "bad"),
        (ValueError("the words of a person"), quarantine_pb2.QUARANTINE_REASON_EXHAUSTED, "handler_failed"),
    ],
)
async def test_what_cannot_be_handled_is_published_whole_and_then_terminated(
    running: Any, error: Exception, reason: int, code: str
) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise error

    spine, _ = await running(handle)
    delivery = FakeDelivery(headers={"Nats-Msg-Id": "m1"})
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    (outgoing,) = spine.published
    record = quarantine_pb2.Quarantined.FromString(outgoing.body)
    assert outgoing.subject == "tenant.acme.quarantine.S.test"
    assert (record.reason, record.code, record.body) == (reason, code, b"body")
    assert [(h.name, h.value) for h in record.headers] == [("Nats-Msg-Id", "m1")]
    assert "words of a person" not in record.detail


async def test_a_handler_gets_its_attempts_before_quarantine(running: Any) -> None:
    tries: list[int] = []

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        tries.append(delivery.sequence)
        if len(tries) < POLICY.attempts:
            raise ValueError

    spine, _ = await running(handle)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: bool(delivery.settled))
    assert delivery.settled == ["ack"]
    assert len(tries) == POLICY.attempts


async def test_unavailable_keeps_the_lane_in_order_and_uses_up_no_attempt(running: Any) -> None:
    handled: list[int] = []
    away = POLICY.attempts * 3

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        nonlocal away
        if delivery.sequence == 1 and away:
            away -= 1
            raise errors.Unavailable("slow", "come back", after_s=0.001)
        handled.append(delivery.sequence)

    spine, _ = await running(handle, lane_of=lambda delivery: delivery.subject)
    deliveries = [FakeDelivery(1), FakeDelivery(2), FakeDelivery(3, subject="tenant.acme.y")]
    for delivery in deliveries:
        spine.receive(delivery)
    await until(lambda: all(d.settled == ["ack"] for d in deliveries))
    assert handled == [3, 1, 2]
    assert spine.published == []


async def test_without_lanes_unavailable_pauses_the_consumer(running: Any) -> None:
    first = True

    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        nonlocal first
        if first:
            first = False
            raise errors.Unavailable("slow", "come back", after_s=0.001)

    spine, _ = await running(handle)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["ack"])
    assert spine.subscription.calls[:2] == ["pause", "resume"]
    assert spine.window == POLICY.concurrency


async def test_a_quarantine_stream_that_is_away_makes_the_delivery_wait(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise errors.Poisoned("bad", "never")

    spine, _ = await running(handle)
    spine.refuse = [errors.Unavailable("away", "no server", after_s=0.001)]
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert len(spine.published) == 1


async def test_a_body_too_large_to_travel_twice_is_named_only(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise errors.Poisoned("bad", "never")

    spine, _ = await running(handle)
    spine.refuse = [errors.Rejected("too_large", "over the limit")]
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    record = quarantine_pb2.Quarantined.FromString(spine.published[0].body)
    assert record.body == b""
    assert "too large" in record.detail


@pytest.mark.parametrize(
    ("subject", "headers"),
    [("tenant.acme.x", {"tenant-id": "other"}), ("tenant.acme.x", {"Tenant-Id": "ACME"})],
)
async def test_a_header_that_names_another_tenant_is_poison(
    running: Any, subject: str, headers: dict[str, str]
) -> None:
    calls: list[str] = []

    async def handle(context: contexts.Context, _: ports.Delivery) -> None:
        calls.append(context.tenant)

    spine, _ = await running(handle)
    delivery = FakeDelivery(subject=subject, headers=headers)
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert calls == []
    assert quarantine_pb2.Quarantined.FromString(spine.published[0].body).code == "tenant_mismatch"


async def test_what_is_redriven_to_another_consumer_is_skipped(running: Any) -> None:
    calls: list[int] = []

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        calls.append(delivery.sequence)

    spine, _ = await running(handle)
    others, ours = FakeDelivery(1, headers={contexts.ONLY: "else"}), FakeDelivery(2, headers={contexts.ONLY: "test"})
    spine.receive(others)
    spine.receive(ours)
    await until(lambda: others.settled == ["ack"] and ours.settled == ["ack"])
    assert calls == [2]


async def test_a_handler_that_outlives_its_deadline_fails(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        await asyncio.Event().wait()

    spine, _ = await running(handle, policy=dataclasses.replace(POLICY, deadline_s=0.01))
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert quarantine_pb2.Quarantined.FromString(spine.published[0].body).attempts == POLICY.attempts


async def test_a_long_handler_keeps_its_lease(running: Any) -> None:
    release = asyncio.Event()

    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        await release.wait()

    spine, _ = await running(handle)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.extended >= 2)
    release.set()
    await until(lambda: delivery.settled == ["ack"])


async def test_drain_finishes_what_is_held_and_gives_back_the_rest_in_order(running: Any) -> None:
    release = asyncio.Event()

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        if delivery.sequence > 1:
            await release.wait()

    spine, made = await running(handle, lane_of=lambda delivery: delivery.subject)
    deliveries = [FakeDelivery(n) for n in (1, 2, 3)]
    for delivery in deliveries:
        spine.receive(delivery)
    assert await made.drain(0.05) == 2
    assert [d.settled for d in deliveries] == [["ack"], ["retry 0"], ["retry 0"]]
    assert spine.subscription.calls == ["close"]


async def test_a_settle_that_fails_does_not_stop_the_lane(running: Any) -> None:
    class Stubborn(FakeDelivery):
        async def ack(self) -> None:
            if not self.settled:
                self.settled.append("lost")
                raise errors.Unavailable("away", "no server")
            await super().ack()

    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        return

    spine, _ = await running(handle, lane_of=lambda delivery: delivery.subject)
    first, second = Stubborn(1), FakeDelivery(2)
    spine.receive(first)
    spine.receive(second)
    await until(lambda: second.settled == ["ack"])
    assert first.settled == ["lost", "ack"]


async def test_a_cancellation_of_the_handlers_own_is_a_failure_and_not_the_end_of_its_lane(running: Any) -> None:
    policy = dataclasses.replace(POLICY, concurrency=1)

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        if delivery.sequence == 1:
            inner = asyncio.create_task(asyncio.Event().wait())
            inner.cancel()
            await inner

    spine, _ = await running(handle, policy=policy, lane_of=lambda delivery: delivery.subject)
    first, second = FakeDelivery(1), FakeDelivery(2)
    spine.receive(first)
    spine.receive(second)
    await until(lambda: second.settled == ["ack"])
    assert first.settled == ["terminate"]
    assert quarantine_pb2.Quarantined.FromString(spine.published[0].body).code == "handler_cancelled"


async def test_what_is_delivered_again_while_it_is_held_is_handled_once_and_in_its_place(running: Any) -> None:
    handled: list[int] = []
    release = asyncio.Event()

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        await release.wait()
        handled.append(delivery.sequence)

    spine, made = await running(handle, lane_of=lambda delivery: delivery.subject)
    deliveries = [FakeDelivery(n, deliveries=tries) for tries in (1, 2) for n in (1, 2, 3)]
    for delivery in deliveries:
        spine.receive(delivery)
    assert made.holding == 3
    release.set()
    # Each delivery is settled, so that the transport knows that it has room again.
    await until(lambda: all(delivery.settled == ["ack"] for delivery in deliveries))
    assert handled == [1, 2, 3]


async def test_the_same_sequence_of_a_stream_that_was_made_again_is_another_message(running: Any) -> None:
    bodies: list[bytes] = []

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        bodies.append(delivery.body)

    spine, made = await running(handle, lane_of=lambda delivery: delivery.subject)
    old = FakeDelivery(1, body=b"old")
    new = FakeDelivery(1, body=b"new", at=datetime(2026, 1, 2, tzinfo=UTC))
    spine.receive(old)
    spine.receive(new)
    await until(lambda: old.settled == new.settled == ["ack"])
    assert bodies == [b"old", b"new"]
    assert made.holding == 0


async def test_what_is_given_back_is_given_back_with_its_copies(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        await asyncio.Event().wait()

    spine, made = await running(handle)
    deliveries = [FakeDelivery(1), FakeDelivery(1, deliveries=2)]
    for delivery in deliveries:
        spine.receive(delivery)
    assert await made.drain(0.01) == 1
    assert [delivery.settled for delivery in deliveries] == [["retry 0"], ["retry 0"]]


async def test_a_message_of_no_tenant_is_dropped_and_not_tried_for_ever(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise AssertionError

    spine, _ = await running(handle, lane_of=lambda delivery: delivery.subject)
    delivery = FakeDelivery(subject="tenant.BAD.x")
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert spine.published == []


async def test_a_negative_answer_that_never_succeeds_ends_in_quarantine(running: Any) -> None:
    told: list[str] = []

    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise errors.Rejected("no", "not like this")

    async def refuse(_: contexts.Context, __: ports.Delivery, error: errors.Rejected) -> None:
        told.append(error.code)
        raise ValueError

    spine, _ = await running(handle, on_rejected=refuse)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert len(told) == POLICY.attempts


async def test_a_consumer_stays_paused_until_the_last_delivery_that_waits_may_go(running: Any) -> None:
    waits = {1: 0.05, 2: 0.001}

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        if pause_s := waits.pop(delivery.sequence, 0.0):
            raise errors.Unavailable("slow", "come back", after_s=pause_s)

    spine, _ = await running(handle)
    deliveries = [FakeDelivery(1), FakeDelivery(2)]
    for delivery in deliveries:
        spine.receive(delivery)
    await until(lambda: all(delivery.settled == ["ack"] for delivery in deliveries))
    assert spine.subscription.calls == ["pause", "pause", "resume"]


@pytest.mark.parametrize("detail", ["x" * 2_000_000, "half a pair: \ud800"])
async def test_what_an_error_says_never_keeps_it_out_of_quarantine(running: Any, detail: str) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        raise errors.Poisoned("bad", detail)

    spine, _ = await running(handle)
    delivery = FakeDelivery()
    spine.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert len(spine.published[0].body) < 2000


async def test_drain_does_not_wait_for_what_stands_behind_a_pause(running: Any) -> None:
    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        if delivery.sequence == 1:
            raise errors.Unavailable("slow", "come back in ten minutes", after_s=600)

    spine, made = await running(handle, lane_of=lambda delivery: delivery.subject)
    deliveries = [FakeDelivery(1), FakeDelivery(2), FakeDelivery(3, subject="tenant.acme.y")]
    for delivery in deliveries:
        spine.receive(delivery)
    await until(lambda: deliveries[2].settled == ["ack"])
    async with asyncio.timeout(5):
        assert await made.drain(60) == 2
    assert [d.settled for d in deliveries[:2]] == [["retry 0"], ["retry 0"]]


async def test_no_replica_fetches_more_than_it_may_soon_handle(running: Any) -> None:
    async def handle(_: contexts.Context, __: ports.Delivery) -> None:
        return

    wide = dataclasses.replace(POLICY, concurrency=2, max_ack_pending=1000)
    spine, _ = await running(handle, policy=wide, lane_of=lambda delivery: delivery.subject)
    assert spine.window == 2 * worker.PREFETCH


@pytest.mark.parametrize("after_s", [0.0, -1.0, float("inf"), float("nan"), 1e12])
def test_a_pause_is_never_none_and_never_without_end(after_s: float) -> None:
    pause_s = reaction.pause_of(errors.Unavailable("slow", "come back", after_s=after_s))
    assert reaction.SHORTEST_PAUSE_S <= pause_s <= reaction.LONGEST_PAUSE_S
