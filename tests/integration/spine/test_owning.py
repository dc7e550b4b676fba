"""Whatever happens to the owners of a durable, what one session is handed is whole and in order."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest

from penstock.spine import consumer, ports, provision
from penstock.spine.testing import bench as benches
from tests.conformance import nats_bench

POLICY = consumer.ConsumerPolicy(
    "owned", benches.STREAM.name, "tenant.*.letters.>", ack_wait_s=2.0, pin_timeout_s=0.5, max_ack_pending=64
)
ACTS = 14
LETTERS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nats_bench.Server]:
    with nats_bench.running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def bench(server: nats_bench.Server) -> AsyncIterator[nats_bench.NatsBench]:
    async with nats_bench.empty_bench(server) as bench:
        yield bench


@dataclasses.dataclass(frozen=True)
class Handed:
    """One delivery: to whom (member, subscription, session), which message, and for which time."""

    holder: tuple[int, int, int]
    sequence: int
    deliveries: int


class Member:
    """A client that joins, leaves, is cut off and comes back."""

    def __init__(self, bench: nats_bench.NatsBench, number: int, log: list[Handed], settled: set[int]) -> None:
        self._bench, self.number, self._log, self._settled = bench, number, log, settled
        self._joined = 0
        self.spine: ports.Spine
        self.subscription: ports.Subscription | None = None
        self.is_cut = False

    async def join(self, window: int) -> None:
        self._joined += 1
        joined = self._joined

        def receive(delivery: ports.Delivery) -> None:
            holder = (self.number, joined, delivery.session)
            self._log.append(Handed(holder, delivery.sequence, delivery.deliveries))
            self._bench.start(self._ack(delivery))

        self.subscription = await self.spine.consume(POLICY, receive, window=window)

    async def _ack(self, delivery: ports.Delivery) -> None:
        if delivery.sequence % 5 == 0:
            await asyncio.sleep(0.01)
        await delivery.ack()
        self._settled.add(delivery.sequence)


async def act(bench: nats_bench.NatsBench, member: Member, chance: random.Random) -> None:
    """Do something to a member, or mend what was done."""
    if member.is_cut:
        await bench.mend(member.spine)
        member.is_cut = False
        await bench.until(lambda: member.spine.connected)
    elif member.subscription is None:
        await member.join(chance.choice((1, 3, 20)))
    else:
        match chance.choice(("release", "release", "cut", "leave")):
            case "release":
                await member.spine.release(POLICY.stream, POLICY.name)
            case "cut":
                await bench.cut(member.spine)
                member.is_cut = True
            case _:
                await member.subscription.close()
                member.subscription = None


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_session_is_whole_and_in_order(bench: nats_bench.NatsBench, seed: int) -> None:
    chance, log, settled = random.Random(seed), list[Handed](), set[int]()
    writer, _ = await bench.letters(None)
    await provision.durable(writer, POLICY)
    members = [Member(bench, number, log, settled) for number in range(3)]
    for member in members:
        member.spine = await bench.connect_apart()
        await member.join(chance.choice((1, 3, 20)))
    for number in range(ACTS):
        await benches.write(writer, range(number * LETTERS, (number + 1) * LETTERS))
        await act(bench, chance.choice(members), chance)
    for member in members:
        while member.is_cut or member.subscription is None:
            await act(bench, member, chance)
    await bench.until(lambda: len(settled) == ACTS * LETTERS, within_s=30)
    look(log)


def look(log: list[Handed]) -> None:
    """What a session is handed for the first time comes in order, and none of it is lost on the way.

    That is: of what lies between the first and the last of it, nothing comes for the second time that was never seen.
    """
    first_seen = {handed.sequence: handed for handed in reversed(log)}
    for holder in {handed.holder for handed in log}:
        fresh = [handed.sequence for handed in log if handed.holder == holder and handed.deliveries == 1]
        assert all(a < b for a, b in pairwise(fresh)), holder
        if fresh:
            within = [first_seen[n] for n in range(fresh[0], fresh[-1] + 1)]
            assert [handed for handed in within if handed.holder == holder and handed.deliveries > 1] == []
    assert len({handed.holder for handed in log}) > 3
