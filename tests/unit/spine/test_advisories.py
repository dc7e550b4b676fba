"""What the server says about messages it gave up: read, recorded for the right tenant, or told to be nobody's."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import advisories, consumer, ports, provision, stream, worker
from penstock.spine.adapters import spine_memory
from tests.unit.spine.stage import FakeDelivery, FakeSpine, until

LETTERS = stream.StreamPolicy("LETTERS", ("tenant.*.letters.>",), "what was given up")
CONTEXT = contexts.start(worker.NOBODY)


def advisory(name: str = "app_acme_mute_r3", **changes: Any) -> FakeDelivery:
    said = {"stream": "LETTERS", "consumer": name, "stream_seq": 1, "deliveries": 2} | changes
    return FakeDelivery(
        subject=f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.LETTERS.{name}", body=json.dumps(said).encode()
    )


@pytest.fixture
async def spine() -> AsyncIterator[spine_memory.MemorySpine]:
    made = spine_memory.MemorySpine()
    await provision.streams(made, [*stream.STREAMS, LETTERS])
    yield made
    await made.close()


async def records(spine: ports.Spine) -> list[quarantine_pb2.Quarantined]:
    state = await spine.stream_state("QUARANTINE")
    assert state is not None
    found = [await spine.message("QUARANTINE", sequence) for sequence in range(1, state.last + 1)]
    return [quarantine_pb2.Quarantined.FromString(each.body) for each in found if each is not None]


async def test_a_message_is_recorded_whole_and_freed(spine: spine_memory.MemorySpine) -> None:
    freed: list[ports.Signal] = []

    async def hear(signal: ports.Signal) -> None:
        freed.append(signal)

    await spine.listen("$JS.ACK.>", hear)
    await spine.publish(ports.Outgoing("LETTERS", "tenant.acme.letters.a", "a", {"Nats-Msg-Id": "m"}, b"hello"))
    await advisories.Advisories(spine).handle(CONTEXT, advisory())
    (record,) = await records(spine)
    assert (record.tenant, record.consumer, record.subject, record.body, record.attempts) == (
        "acme",
        "app_acme_mute",
        "tenant.acme.letters.a",
        b"hello",
        2,
    )
    await until(lambda: bool(freed))
    assert (freed[0].subject, freed[0].body) == ("$JS.ACK.LETTERS.app_acme_mute_r3.2.1.0.0.0", b"+TERM")


async def test_one_that_is_gone_belongs_to_the_tenant_of_its_durable(spine: spine_memory.MemorySpine) -> None:
    ranged = consumer.ConsumerPolicy("app_acme_mute", "LETTERS", "tenant.acme.letters.>", ranges=8)
    await provision.durable(spine, ranged)
    await advisories.Advisories(spine).handle(CONTEXT, advisory())
    (record,) = await records(spine)
    assert (record.tenant, record.consumer, record.sequence, record.subject) == ("acme", "app_acme_mute", 1, "")


@pytest.mark.parametrize("name", ["everybody", "unknown"])
async def test_one_that_is_gone_and_of_no_known_tenant_is_only_told(spine: spine_memory.MemorySpine, name: str) -> None:
    await provision.durable(spine, consumer.ConsumerPolicy("everybody", "LETTERS", "tenant.*.letters.>"))
    await advisories.Advisories(spine).handle(CONTEXT, advisory(name))
    assert await records(spine) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"stream": "S", "consumer": "c", "stream_seq": "x"}'])
async def test_what_is_no_advisory_is_poison(body: bytes) -> None:
    with pytest.raises(errors.Poisoned):
        advisories.Advisory.read(body)


async def test_poison_of_the_server_is_dropped_and_not_quarantined() -> None:
    fake = FakeSpine()
    running = worker.Worker(fake, consumer.ADVISORIES, advisories.Advisories(fake).handle)  # type: ignore[arg-type]
    await running.start()
    delivery = FakeDelivery(subject="$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.c", body=b"nothing")
    fake.receive(delivery)
    await until(lambda: delivery.settled == ["terminate"])
    assert fake.published == []
    await running.drain(1)
