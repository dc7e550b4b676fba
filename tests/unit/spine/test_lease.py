"""Leases by our own clock: what has run out is not settled, and what was finished late is not done again."""

import time

import pytest

from penstock.spine import lease, origin
from tests.unit.spine.stage import FakeDelivery, FakeSpine

LEASE_S = 10.0


class Clock:
    """The clock that goes on while the machine sleeps, in the hands of a test."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def read(self, which: int) -> float:
        assert which == time.CLOCK_BOOTTIME
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease.time, "clock_gettime", made.read)
    return made


def holding() -> lease.Holding:
    return lease.Holding(LEASE_S, origin.Origin(FakeSpine(), "S"), changed=lambda: None, lapse=lambda: None)


def held(clock: Clock, delivery: FakeDelivery, within: lease.Holding | None = None) -> lease.Held:
    item = (holding() if within is None else within).add(delivery, clock.now_s)
    assert item is not None
    return item


async def test_a_lease_runs_out_unless_it_is_renewed(clock: Clock) -> None:
    delivery = FakeDelivery()
    item = held(clock, delivery)
    clock.now_s += 9
    await item.extend()
    clock.now_s += 9
    assert not item.lapsed
    clock.now_s += 2
    assert item.lapsed
    assert delivery.extended == 1


async def test_what_has_lapsed_is_not_settled_and_not_given_back(clock: Clock) -> None:
    delivery = FakeDelivery()
    item = held(clock, delivery)
    clock.now_s += LEASE_S + 1
    await item.ack()
    await item.terminate()
    await item.give_back()
    assert delivery.settled == []


async def test_what_was_finished_too_late_is_known_when_it_comes_again(clock: Clock) -> None:
    kept = holding()
    item = held(clock, FakeDelivery(7), kept)
    clock.now_s += LEASE_S + 1
    await item.ack()
    kept.remove(item)
    assert not kept.was_finished(FakeDelivery(8))
    assert kept.was_finished(FakeDelivery(7, deliveries=2))
    assert not kept.was_finished(FakeDelivery(7, deliveries=3)), "it is told once, and then it is the server's word"


async def test_only_so_much_is_remembered(clock: Clock) -> None:
    kept = holding()
    for sequence in range(lease.FINISHED_KEPT + 1):
        kept.finished(held(clock, FakeDelivery(sequence), kept))
    assert not kept.was_finished(FakeDelivery(0))
    assert kept.was_finished(FakeDelivery(1))


async def test_a_copy_brings_its_own_lease_and_is_settled_with_the_rest(clock: Clock) -> None:
    kept = holding()
    first, copy = FakeDelivery(1), FakeDelivery(1, deliveries=2)
    item = held(clock, first, kept)
    clock.now_s += LEASE_S + 1
    assert kept.add(copy, clock.now_s) is None
    assert not item.lapsed
    assert item.latest is copy
    await item.ack()
    assert first.settled == copy.settled == ["ack"]


def test_what_is_due_for_renewal(clock: Clock) -> None:
    kept = holding()
    old, young = held(clock, FakeDelivery(1), kept), FakeDelivery(2)
    clock.now_s += 4
    kept.add(young, clock.now_s)
    assert kept.older_than(3) == [old]
    clock.now_s += 7
    assert old.lapsed
    assert old not in kept.older_than(3), "a lease that has run out is somebody else's to renew"


def test_sequences_and_items_are_those_held(clock: Clock) -> None:
    kept = holding()
    items = [held(clock, FakeDelivery(sequence), kept) for sequence in (9, 3, 5)]
    assert kept.sequences == {3, 5, 9}
    kept.remove(items[0])
    assert kept.sequences == {3, 5}
    assert [item.delivery.sequence for item in kept.items] == [3, 5]


def test_what_is_read_after_a_sleep_is_as_old_as_the_sleep(clock: Clock) -> None:
    pulse = lease.Pulse(0.5)
    for _ in range(4):
        clock.now_s += 0.5
        pulse.beat()
    awake_s = clock.now_s
    assert pulse.awake_at_s == awake_s
    clock.now_s += 30
    assert pulse.awake_at_s == awake_s, "before the first beat"
    pulse.beat()
    assert pulse.awake_at_s == awake_s, "what lay in the socket may be read after the first beat"
    clock.now_s += 0.5
    pulse.beat()
    assert pulse.awake_at_s == clock.now_s
