"""A consumer in ranges over the in-memory transport: who owns what, take-over, hand-over, and order throughout."""

import asyncio
import collections
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import membership_pb2
from penstock.spine import consumer, ports, provision, stream, worker
from penstock.spine.adapters import spine_memory
from tests.unit.spine.stage import until

LETTERS = stream.StreamPolicy("LETTERS", ("tenant.*.letters.>",), "what is read in ranges")
POLICY = consumer.ConsumerPolicy(
    "reader", "LETTERS", "tenant.*.letters.>", concurrency=8, max_ack_pending=64, ack_wait_s=1.0, ranges=8
)
POLICY = dataclasses.replace(POLICY, filter="tenant.acme.letters.>")


def letter(number: int, key: int) -> ports.Outgoing:
    """A message of one of 64 keys, each in a partition of its own."""
    partition = ids.partition_token(key)
    return ports.Outgoing(
        "LETTERS", f"tenant.acme.letters.{partition}.k{key}", f"k{key}", {"Nats-Msg-Id": f"m{number}"}, b"%d" % number
    )


@dataclasses.dataclass
class Member:
    """One process's worker on a connection of its own."""

    name: str
    spine: spine_memory.MemorySpine
    worker: worker.Worker
    seen: list[tuple[str, int]]


class Company:
    """The processes that share the consumer, and what was handled by whom, in the order of time."""

    def __init__(self) -> None:
        self.server = spine_memory.MemoryServer()
        self.spine = spine_memory.MemorySpine(self.server)
        self.handled: list[tuple[str, str, int]] = []
        self.members: list[Member] = []
        self.before: Callable[[str, ports.Delivery], Any] | None = None
        self._number = 0

    async def open(self) -> None:
        await provision.streams(self.spine, [LETTERS])
        await provision.durable(self.spine, POLICY)

    async def join(self, name: str) -> Member:
        spine = spine_memory.MemorySpine(self.server)
        seen: list[tuple[str, int]] = []

        async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
            key, number = delivery.subject.rsplit(".", 1)[1], int(delivery.body)
            seen.append((key, number))
            self.handled.append((name, key, number))
            if self.before is not None:
                await self.before(name, delivery)

        made = worker.Worker(spine, POLICY, handle, lane_of=lambda delivery: delivery.subject)  # type: ignore[arg-type]
        await made.start()
        member = Member(name, spine, made, seen)
        self.members.append(member)
        return member

    async def write(self, count: int, keys: Collection[int] = range(64)) -> None:
        chosen = list(keys)
        for _ in range(count):
            self._number += 1
            await self.spine.publish(letter(self._number, chosen[self._number % len(chosen)]))

    @property
    def numbers(self) -> set[int]:
        return {number for _, _, number in self.handled}

    def assert_ordered(self) -> None:
        """The first time that each message was handled is in the order of its key."""
        first: dict[str, list[int]] = collections.defaultdict(list)
        for _, key, number in self.handled:
            if number not in first[key]:
                first[key].append(number)
        assert all(numbers == sorted(numbers) for numbers in first.values())

    async def owns(self, *counts: int) -> None:
        await until(lambda: [len(member.worker.ranges) for member in self.members] == list(counts), within_s=15)

    async def close(self) -> None:
        for member in self.members:
            await member.worker.drain(0)
            await member.spine.close()
        await self.spine.close()
        self.server.stop()


@pytest.fixture
async def company() -> AsyncIterator[Company]:
    made = Company()
    await made.open()
    yield made
    await made.close()


async def test_whoever_is_alone_owns_everything_at_once(company: Company) -> None:
    first = await company.join("first")
    assert first.worker.ranges == frozenset(range(8))
    await company.write(200)
    await until(lambda: len(company.numbers) == 200)
    company.assert_ordered()


async def test_ranges_are_shared_evenly_and_handed_over_in_order(company: Company) -> None:
    await company.join("first")
    writing = asyncio.create_task(company.write(3000))
    await company.join("second")
    await company.owns(4, 4)
    await company.join("third")
    await until(lambda: sorted(len(member.worker.ranges) for member in company.members) == [2, 3, 3], within_s=15)
    await writing
    await until(lambda: len(company.numbers) == 3000)
    company.assert_ordered()
    assert len(company.handled) == 3000


async def test_who_drains_hands_over_at_once(company: Company) -> None:
    first, second = await company.join("first"), await company.join("second")
    await company.owns(4, 4)
    await company.write(200)
    assert await first.worker.drain(5) == 0
    await until(lambda: len(second.worker.ranges) == 8, within_s=2)
    await company.write(200)
    await until(lambda: len(company.numbers) == 400)
    company.assert_ordered()
    assert len(company.handled) == 400


async def test_a_range_waits_for_what_a_dead_owner_held(company: Company) -> None:
    first = await company.join("first")
    stuck = asyncio.Event()

    async def hang(name: str, _: ports.Delivery) -> None:
        if name == "first":
            await stuck.wait()

    company.before = hang
    await company.write(64)
    await until(lambda: len(first.seen) == POLICY.concurrency)
    first.spine.disconnect()
    second = await company.join("second")
    await company.write(64)
    await until(lambda: len({number for _, number in second.seen}) == 128, within_s=30)
    company.assert_ordered()
    assert second.worker.ranges == frozenset(range(8))
    stuck.set()


async def test_older_messages_find_room_although_newer_ones_fill_everything(company: Company) -> None:
    first = await company.join("first")
    stuck = asyncio.Event()

    async def hang(name: str, _: ports.Delivery) -> None:
        if name == "first":
            await stuck.wait()

    company.before = hang
    await company.write(3, keys=[0])
    await until(lambda: first.worker.holding == 3)
    first.spine.disconnect()
    second = await company.join("second")
    # More than a range may hold, than the window of its owner, and than the server hands out un-acked.
    await company.write(4 * POLICY.max_ack_pending, keys=[0, 1])
    await until(lambda: len(company.numbers) == 3 + 4 * POLICY.max_ack_pending, within_s=30)
    company.assert_ordered()
    assert {number for _, number in second.seen} == set(range(1, 4 + 4 * POLICY.max_ack_pending))
    stuck.set()


async def test_one_that_was_away_comes_back_and_yields(company: Company) -> None:
    first, second = await company.join("first"), await company.join("second")
    await company.owns(4, 4)
    first.spine.disconnect()
    await until(lambda: len(second.worker.ranges) == 8, within_s=15)
    await company.write(100)
    await until(lambda: len(second.seen) == 100, within_s=15)
    first.spine.reconnect()
    await company.owns(4, 4)
    await company.write(100)
    await until(lambda: len(company.numbers) == 200, within_s=15)
    company.assert_ordered()


async def test_what_a_platform_puts_off_is_given_back_when_its_range_moves(company: Company) -> None:
    await company.join("first")

    async def put_off(name: str, _: ports.Delivery) -> None:
        if name == "first":
            raise errors.Unavailable("busy", "in ten minutes", after_s=600)

    company.before = put_off
    await company.write(64)
    await until(lambda: len(company.members[0].seen) == 64)
    second = await company.join("second")
    await company.owns(4, 4)
    await until(lambda: len(second.seen) == 32, within_s=15)
    company.assert_ordered()


async def test_a_strange_signal_changes_nothing(company: Company) -> None:
    first = await company.join("first")
    for body in (b"\xff\xff", membership_pb2.Membership(consumer="other", instance="x").SerializeToString()):
        await company.spine.emit(ports.Signal("penstock.membership.reader.stranger", {}, body))
    await company.write(8)
    await until(lambda: len(company.numbers) == 8)
    assert first.worker.ranges == frozenset(range(8))
