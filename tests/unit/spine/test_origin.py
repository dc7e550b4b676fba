"""A stream that lost something gives its places again: what came from before is checked before it counts."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from penstock.base import errors
from penstock.spine import effects, lease, origin, ports
from tests.unit.spine.stage import FakeDelivery, FakeSpine

LATER = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
ANSWER = ports.Outgoing("S", "tenant.acme.x", "x", {"Nats-Msg-Id": "acme:1"}, b"answer")


class Away(FakeSpine):
    """A transport that nobody answers."""

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        raise errors.Unavailable("disconnected", "nobody answers")


def held(spine: FakeSpine, *deliveries: FakeDelivery) -> list[lease.Held]:
    holding = lease.Holding(1e9, origin.Origin(spine, "S"), changed=lambda: None, lapse=lambda: None)
    return [item for each in deliveries if (item := holding.add(each, 0.0)) is not None]


async def test_on_the_connection_that_brought_it_nothing_is_asked() -> None:
    delivery = FakeDelivery()
    (item,) = held(Away(), delivery)
    assert not item.doubtful
    await item.ack()
    assert delivery.settled == ["ack"]


async def test_what_the_stream_still_keeps_is_settled_on_the_next_connection() -> None:
    spine, delivery = FakeSpine(), FakeDelivery()
    spine.kept[1] = dataclasses.replace(delivery, at=delivery.at + timedelta(microseconds=1))
    (item,) = held(spine, delivery)
    spine.connection = 2
    assert item.doubtful
    await item.ack()
    assert delivery.settled == ["ack"]
    assert not item.doubtful


@pytest.mark.parametrize("now", [None, FakeDelivery(at=LATER)], ids=["nothing", "another message"])
async def test_what_lost_its_place_settles_nobody(now: FakeDelivery | None) -> None:
    spine, delivery = FakeSpine(), FakeDelivery()
    if now is not None:
        spine.kept[1] = now
    (item,) = held(spine, delivery)
    spine.connection = 2
    await item.ack()
    await item.terminate()
    await item.give_back()
    assert delivery.settled == []
    assert len(item.holding) == 0
    assert item.holding.sequences == frozenset()


async def test_a_new_session_is_reason_enough_to_doubt() -> None:
    spine = FakeSpine()
    (item,) = held(spine, FakeDelivery())
    item.holding.origin.arrive(7)
    assert item.doubtful
    await item.holding.verify()
    assert item.dropped


async def test_what_a_stream_loses_is_its_end_so_one_question_tells() -> None:
    asked: list[int] = []

    class Counting(FakeSpine):
        async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
            asked.append(sequence)
            return await super().message(stream, sequence)

    spine = Counting()
    items = held(spine, *(FakeDelivery(sequence=number) for number in range(1, 6)))
    spine.kept |= {number: FakeDelivery(sequence=number) for number in (1, 2, 3)}
    spine.connection = 2
    await items[0].holding.verify()
    assert asked == [5, 4, 3]
    assert [item.dropped for item in items] == [False, False, False, True, True]
    assert not any(item.doubtful for item in items[:3])


async def test_what_is_kept_says_nothing_about_what_an_earlier_session_brought() -> None:
    spine = FakeSpine()
    (earlier,) = held(spine, FakeDelivery(sequence=3))
    earlier.holding.origin.arrive(1)
    later = earlier.holding.add(FakeDelivery(sequence=5, at=LATER), 0.0)
    spine.kept[5] = FakeDelivery(sequence=5, at=LATER)
    spine.connection = 2
    await earlier.holding.verify()
    assert later is not None
    assert (earlier.dropped, later.dropped) == (True, False)


async def test_what_a_handler_has_is_let_go_when_that_has_ended() -> None:
    (item,) = held(FakeSpine(), FakeDelivery())
    item.running = True
    item.holding.origin.arrive(7)
    await item.holding.verify()
    assert (item.dropped, len(item.holding), item.holding.sequences) == (True, 1, frozenset())


async def test_while_nobody_can_say_a_message_that_is_done_is_remembered() -> None:
    spine, delivery = Away(), FakeDelivery()
    (item,) = held(spine, delivery)
    spine.connection = 2
    await item.ack()
    assert delivery.settled == []
    assert item.holding.was_finished(delivery)


async def test_an_answer_leaves_once_its_message_was_found_in_its_place() -> None:
    spine, delivery = FakeSpine(), FakeDelivery()
    spine.kept[1] = delivery
    (item,) = held(spine, delivery)
    token = effects.begin(item)
    spine.connection = 2
    await effects.Effects(spine).publish(ANSWER)  # pyright: ignore[reportArgumentType]
    effects.end(token)
    assert spine.published == [ANSWER]


async def test_an_answer_to_a_message_that_is_gone_does_not_leave() -> None:
    spine = FakeSpine()
    (item,) = held(spine, FakeDelivery())
    token = effects.begin(item)
    spine.connection = 2
    with pytest.raises(errors.Unavailable) as raised:
        await effects.Effects(spine).publish(ANSWER)  # pyright: ignore[reportArgumentType]
    assert raised.value.code == "message_gone"
    effects.end(token)
    await effects.Effects(spine).publish(ANSWER)  # pyright: ignore[reportArgumentType]
    assert spine.published == [ANSWER], "outside a handler nothing is answered, so nothing is asked"
