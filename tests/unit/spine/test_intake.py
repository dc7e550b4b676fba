"""One durable as a process takes from it: held back at the gate, dropped when leases ran out, let go of in order."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penstock.base import errors
from penstock.spine import consumer, intake, lease, ports
from tests.unit.spine.stage import FakeDelivery, FakeSpine, FakeSubscription, until

POLICY = consumer.ConsumerPolicy("reader_r1", "S", "tenant.*.x", ack_wait_s=1.0, pin_timeout_s=2.0)


class Server(FakeSpine):
    """A transport that also says where the durable is: by default, that exactly what it handed over is un-acked."""

    def __init__(self) -> None:
        super().__init__()
        self.floor_is = 0
        self.elsewhere = 0
        self.handed: list[FakeDelivery] = []
        self.subscriptions: list[FakeSubscription] = []
        self.asked = 0
        self.away: list[Exception] = []

    async def consume(self, _: Any, receive: Callable[[ports.Delivery], None], *, window: int) -> FakeSubscription:
        if self.away:
            raise self.away.pop()
        self.receive, self.window = receive, window
        self.subscriptions.append(FakeSubscription())
        return self.subscriptions[-1]

    def hand_over(self, *deliveries: FakeDelivery) -> None:
        for delivery in deliveries:
            self.handed.append(delivery)
            self.receive(delivery)

    async def floor(self, _: str, __: str) -> int:
        self.asked += 1
        if self.away:
            raise self.away.pop()
        return self.floor_is

    async def backlog(self, _: str, __: str) -> tuple[int, int]:
        un_acked = {delivery.sequence for delivery in self.handed if "ack" not in delivery.settled}
        return 0, len(un_acked) + self.elsewhere


@dataclasses.dataclass
class Stage:
    """An intake, its server, what it handed on, and the clock behind its pulse."""

    server: Server
    intake: intake.Intake
    passed: list[lease.Held]
    pulse: lease.Pulse

    @property
    def sequences(self) -> list[int]:
        return [item.delivery.sequence for item in self.passed]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    server, passed, pulse = Server(), list[lease.Held](), lease.Pulse(0.05)
    made = intake.Intake(server, POLICY, passed.append, window=8, is_stuck=lambda item: False, pulse=pulse)  # type: ignore[arg-type]
    await made.start()
    yield Stage(server, made, passed, pulse)
    await made.close()


def lapse(*items: lease.Held) -> None:
    for item in items:
        item.leased_at -= POLICY.ack_wait_s + 1


async def test_nothing_passes_before_the_server_says_that_all_un_acked_is_here(stage: Stage) -> None:
    stage.server.elsewhere = 1
    stage.server.hand_over(FakeDelivery(9), FakeDelivery(7))
    await until(lambda: stage.server.asked >= 3)
    assert stage.passed == []
    stage.server.elsewhere = 0
    stage.server.hand_over(FakeDelivery(5, deliveries=2))
    await until(lambda: stage.sequences == [5, 7, 9])
    stage.server.hand_over(FakeDelivery(11))
    assert stage.sequences == [5, 7, 9, 11], "an open gate holds nothing back"


async def test_a_new_session_holds_back_again_also_when_it_begins_with_a_copy(stage: Stage) -> None:
    stage.server.hand_over(FakeDelivery(5))
    await until(lambda: stage.sequences == [5])
    stage.server.elsewhere = 1
    stage.server.hand_over(FakeDelivery(5, deliveries=2, session=2), FakeDelivery(8, session=2))
    asked = stage.server.asked
    await until(lambda: stage.server.asked >= asked + 3)
    assert stage.sequences == [5]
    stage.server.elsewhere = 0
    await until(lambda: stage.sequences == [5, 8])


async def test_a_session_that_begins_just_when_the_gate_has_opened_is_asked_for_too() -> None:
    """In the turn of the loop in which whoever asked has ended, and nobody has noticed yet."""
    server, passed = Server(), list[int]()
    loop = asyncio.get_running_loop()

    def hand_on(item: lease.Held) -> None:
        passed.append(item.delivery.sequence)
        item.holding.remove(item)
        if len(passed) == 1:
            server.handed.clear()
            loop.call_soon(server.hand_over, FakeDelivery(8, session=2))

    made = intake.Intake(server, POLICY, hand_on, window=8, is_stuck=lambda item: False, pulse=lease.Pulse(0.05))  # type: ignore[arg-type]
    await made.start()
    server.hand_over(FakeDelivery(5))
    await until(lambda: passed == [5, 8])
    await made.close()


async def test_a_server_that_does_not_answer_is_asked_again(stage: Stage) -> None:
    stage.server.away = [errors.Unavailable("away", "no server"), RuntimeError("a bug of an adapter")]
    stage.server.hand_over(FakeDelivery(5))
    await until(lambda: stage.sequences == [5])


async def test_a_message_that_nobody_can_tell_about_costs_no_other_its_lease(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise errors.Unavailable("away", "no server")

    before, after = FakeDelivery(1), FakeDelivery(2, session=2)
    stage.server.hand_over(before)
    await until(lambda: stage.sequences == [1])
    monkeypatch.setattr(stage.server, "message", away)
    stage.server.hand_over(after)
    for item in stage.intake.held.items:
        item.leased_at -= POLICY.ack_wait_s / 2
    await stage.intake.keep_leases()
    assert (before.extended, after.extended) == (0, 1)


async def test_who_cannot_ask_anew_tries_again_whatever_went_wrong(stage: Stage) -> None:
    stage.server.hand_over(FakeDelivery(1))
    await until(lambda: stage.sequences == [1])
    stage.server.away = [RuntimeError("a bug of an adapter"), errors.Unavailable("away", "no server")]
    lapse(*stage.passed)
    stage.intake.look_at_leases()
    await until(lambda: len(stage.server.subscriptions) == 2)


async def test_what_lapsed_before_it_was_begun_is_dropped_with_all_that_waits_and_asked_for_anew(stage: Stage) -> None:
    deliveries = [FakeDelivery(n) for n in (1, 2, 3)]
    stage.server.hand_over(*deliveries)
    await until(lambda: stage.sequences == [1, 2, 3])
    stage.passed[0].running = True
    lapse(*stage.passed[:2])
    stage.intake.look_at_leases()
    assert [item.dropped for item in stage.passed] == [False, True, True]
    await until(lambda: len(stage.server.subscriptions) == 2)
    assert stage.server.subscriptions[0].calls == ["close"]
    assert [delivery.settled for delivery in deliveries] == [[], [], ["retry 0"]], "what is not ours is not given back"
    assert stage.intake.held.items == [stage.passed[0]], "what is being handled may end"
    assert stage.intake.held.sequences == frozenset(), "but nobody counts on it"


async def test_what_an_old_subscription_brings_is_nobodys(stage: Stage) -> None:
    old = stage.server.receive
    stage.server.hand_over(FakeDelivery(1))
    await until(lambda: stage.sequences == [1])
    lapse(stage.passed[0])
    stage.intake.look_at_leases()
    old(FakeDelivery(2))
    await until(lambda: len(stage.server.subscriptions) == 2)
    old(FakeDelivery(3))
    assert len(stage.intake.held) == 0


async def test_asking_anew_goes_on_until_it_works(stage: Stage) -> None:
    stage.server.hand_over(FakeDelivery(1))
    await until(lambda: stage.sequences == [1])
    stage.server.away = [errors.Unavailable("away", "no server")]
    lapse(stage.passed[0])
    stage.intake.look_at_leases()
    await until(lambda: len(stage.server.subscriptions) == 2)


async def test_leases_are_not_taken_for_renewed_while_nobody_hears_it(stage: Stage) -> None:
    delivery = FakeDelivery(1)
    stage.server.hand_over(delivery)
    await until(lambda: stage.sequences == [1])
    stage.passed[0].leased_at -= POLICY.ack_wait_s / 2
    stage.server.connected = False
    await stage.intake.keep_leases()
    assert delivery.extended == 0
    stage.server.connected = True
    await stage.intake.keep_leases()
    assert delivery.extended == 1


async def test_what_was_finished_too_late_is_acked_when_it_comes_again(stage: Stage) -> None:
    stage.server.hand_over(FakeDelivery(1))
    await until(lambda: stage.sequences == [1])
    item = stage.passed[0]
    lapse(item)
    await item.ack()
    stage.intake.held.remove(item)
    again = FakeDelivery(1, deliveries=2)
    stage.server.hand_over(again)
    await until(lambda: again.settled == ["ack"])
    assert stage.sequences == [1]


async def test_more_held_than_un_acked_for_long_is_dropped_and_asked_for_anew(stage: Stage) -> None:
    stage.server.elsewhere = -1
    stage.server.hand_over(FakeDelivery(5), FakeDelivery(7))
    await until(lambda: len(stage.server.subscriptions) == 2)
    assert stage.passed == []


async def test_what_waits_for_longer_than_any_handler_may_take_is_given_back(stage: Stage) -> None:
    hasty = dataclasses.replace(POLICY, deadline_s=0.05)
    impatient = intake.Intake(
        stage.server,  # type: ignore[arg-type]
        hasty,
        stage.passed.append,
        window=8,
        is_stuck=lambda item: False,
        pulse=stage.pulse,
    )
    await impatient.start()
    stage.server.elsewhere = 1
    delivery = FakeDelivery(5)
    stage.server.hand_over(delivery)
    await until(lambda: delivery.settled == ["retry 0"])
    assert stage.passed == []
    await impatient.close()


async def test_letting_go_waits_for_a_gate_that_is_about_to_open(stage: Stage) -> None:
    delivery = FakeDelivery(5)
    stage.server.hand_over(delivery)
    assert await stage.intake.stop_asking() == 0
    assert stage.sequences == [5]
    assert stage.server.subscriptions[0].calls == ["pause", "close"]


async def test_letting_go_gives_back_what_waits_for_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "GATE_PATIENCE_S", 0.02)
    stage.server.elsewhere = 1
    delivery = FakeDelivery(5)
    stage.server.hand_over(delivery)
    assert await stage.intake.stop_asking() == 1
    assert delivery.settled == ["retry 0"]
    assert len(stage.intake.held) == 0
    asked = stage.server.asked
    await asyncio.sleep(0.05)
    assert stage.server.asked <= asked + 1, "nobody asks about what is not asked for"


async def test_finishing_waits_for_handlers_and_gives_back_what_they_put_off(stage: Stage) -> None:
    deliveries = [FakeDelivery(n) for n in (1, 2)]
    stage.server.hand_over(*deliveries)
    await until(lambda: len(stage.passed) == 2)
    for item in stage.passed:
        item.running = True
    await stage.intake.stop_asking()
    finishing = asyncio.create_task(stage.intake.finish())
    await asyncio.sleep(0)
    stage.intake.held.remove(stage.passed[0])
    await asyncio.sleep(0)
    assert not finishing.done()
    stage.passed[1].running = False
    stage.intake.held.changed()
    async with asyncio.timeout(5):
        await finishing
    assert [delivery.settled for delivery in deliveries] == [[], ["retry 0"]]


async def test_what_is_read_late_is_as_old_as_the_sleep_before_it(stage: Stage) -> None:
    stage.intake.lapse()
    await until(lambda: len(stage.server.subscriptions) == 2)
    stage.server.hand_over(FakeDelivery(1))
    assert not stage.intake.held.items[0].lapsed, "what a new subscription brings was asked for after the sleep"
