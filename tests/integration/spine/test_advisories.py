"""What a real server gives up at its own limit ends in quarantine, and nothing of it stays with the durable."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

import pytest

from penstock.base import context as contexts
from penstock.messages.v1 import quarantine_pb2
from penstock.servers.endpoints import NatsEndpoint
from penstock.spine import advisories, consumer, ports, provision, stream, worker
from penstock.spine.adapters import spine_nats

LETTERS = stream.StreamPolicy("LETTERS", ("tenant.*.letters.>",), "what nobody answers")
WORK = stream.StreamPolicy("WORK", ("tenant.*.work.>",), "jobs that nobody does", retention="workqueue", discard="new")
IMPATIENT = consumer.ConsumerPolicy(
    "app_acme_mute_r3", "LETTERS", "tenant.acme.letters.>", ack_wait_s=1.0, max_deliver=2
)


@pytest.fixture
async def spine(fresh_nats: NatsEndpoint) -> AsyncIterator[spine_nats.NatsSpine]:
    made = await spine_nats.NatsSpine.connect(fresh_nats.url_with_credentials())
    await provision.streams(made, [*stream.STREAMS, LETTERS, WORK])
    await provision.durable(made, consumer.ADVISORIES)
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def reading(spine: ports.Spine) -> AsyncIterator[None]:
    """The backstop at work."""
    running = worker.Worker(spine, consumer.ADVISORIES, advisories.Advisories(spine).handle)
    await running.start()
    try:
        yield
    finally:
        await running.drain(1)


async def ignore(spine: ports.Spine, policy: consumer.ConsumerPolicy, times: int) -> None:
    """Take deliveries and settle none, until they were handed out `times` times."""
    seen: list[ports.Delivery] = []
    subscription = await spine.consume(policy, seen.append, window=10)
    await until(lambda: len(seen) == times)
    await subscription.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def first_record(spine: ports.Spine) -> quarantine_pb2.Quarantined:
    browsed = spine.browse("QUARANTINE", "tenant.acme.quarantine.>", after=0)
    async with asyncio.timeout(20), contextlib.aclosing(browsed):
        return quarantine_pb2.Quarantined.FromString((await anext(browsed)).body)


async def state(spine: ports.Spine, policy: consumer.ConsumerPolicy) -> ports.ConsumerState:
    return next(each for each in await spine.consumer_states(policy.stream) if each.policy.name == policy.name)


def letter(body: bytes = b"hello", subject: str = "tenant.acme.letters.a", to: str = "LETTERS") -> ports.Outgoing:
    return ports.Outgoing(to, subject, "a", {contexts.MESSAGE_ID: f"m {body!r}"}, body)


async def test_what_nobody_answers_is_quarantined_for_its_consumer_and_freed(spine: spine_nats.NatsSpine) -> None:
    await provision.durable(spine, IMPATIENT)
    await spine.publish(letter())
    async with reading(spine):
        await ignore(spine, IMPATIENT, 2)
        # The server notices when it looks for something to deliver.
        await spine.consume(IMPATIENT, lambda _: None, window=10)
        record = await first_record(spine)
    assert (record.tenant, record.stream, record.consumer, record.sequence) == ("acme", "LETTERS", "app_acme_mute", 1)
    assert (record.subject, record.body, record.attempts) == ("tenant.acme.letters.a", b"hello", 2)
    assert (record.reason, record.code) == (quarantine_pb2.QUARANTINE_REASON_EXHAUSTED, "max_deliveries")
    assert (await state(spine, IMPATIENT)).held == 0


async def test_a_message_that_is_gone_is_recorded_by_what_the_advisory_says(spine: spine_nats.NatsSpine) -> None:
    await provision.durable(spine, IMPATIENT)
    await spine.publish(letter())
    await ignore(spine, IMPATIENT, 2)
    await spine.consume(IMPATIENT, lambda _: None, window=10)
    async with asyncio.timeout(20):
        while (await spine.backlog(stream.ADVISORIES.name, consumer.ADVISORIES.name))[0] == 0:
            await asyncio.sleep(0.05)
    await spine.update_stream(dataclasses.replace(LETTERS, max_age_s=1.0, duplicate_window_s=1.0))
    async with asyncio.timeout(20):
        while await spine.message("LETTERS", 1) is not None:
            await asyncio.sleep(0.05)
    async with reading(spine):
        record = await first_record(spine)
    assert (record.tenant, record.consumer, record.sequence, record.subject) == ("acme", "app_acme_mute", 1, "")
    assert "not in its stream any more" in record.detail


async def test_a_work_queue_forgets_what_was_given_up(spine: spine_nats.NatsSpine) -> None:
    jobs = dataclasses.replace(IMPATIENT, name="jobs", stream="WORK", filter="tenant.*.work.>")
    await provision.durable(spine, jobs)
    await spine.publish(letter(subject="tenant.acme.work.a", to="WORK"))
    async with reading(spine):
        await ignore(spine, jobs, 2)
        await spine.consume(jobs, lambda _: None, window=10)
        record = await first_record(spine)
        assert record.body == b"hello"
        async with asyncio.timeout(20):
            while await spine.message("WORK", 1) is not None:
                await asyncio.sleep(0.05)
