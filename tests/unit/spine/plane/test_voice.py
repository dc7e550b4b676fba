"""Words about a delivery are said on another connection only once its stream has proved to be the same."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from penstock.base import errors
from penstock.spine.plane import delivery as deliveries
from penstock.spine.plane import message, voice

SECOND_NS = 1_000_000_000
AT_NS = 1_800_000_000 * SECOND_NS


def reply(sequence):
    return f"$JS.ACK.ORDERS.shipper.1.{sequence}.{sequence}.{AT_NS + sequence * SECOND_NS}.0"


class FakeLink:
    """A connection with a number, and a stream with one message a second; `published` is what left."""

    def __init__(self):
        self.connection, self.published = 1, []
        self.stored = {sequence: AT_NS + sequence * SECOND_NS for sequence in range(1, 11)}
        self.away = False

    def publish(self, subject, body, *, reply="", headers_block=b"", keep=False):
        self.published.append((int(subject.split(".")[5]), body))

    def call(self, subject, body, timeout_s, *, headers_block=b""):
        assert subject == "$JS.API.STREAM.MSG.GET.ORDERS"
        answer = asyncio.get_running_loop().create_future()
        sequence = json.loads(body)["seq"]
        if self.away:
            answer.set_exception(errors.Unavailable("timeout", "no answer"))
        elif sequence in self.stored:
            at = datetime.fromtimestamp(self.stored[sequence] / SECOND_NS, UTC).isoformat()
            answer.set_result(message.Message("inbox", "", b"", json.dumps({"message": {"time": at}}).encode()))
        else:
            answer.set_result(message.Message("inbox", "", b"", b'{"error": {"code": 404}}'))
        return answer


@pytest.fixture
def link():
    return FakeLink()


@pytest.fixture
def room():
    return []


@pytest.fixture
def held(link, room):
    """The voice of a connection that brought messages 1 to 5; its deliveries by sequence."""
    speaks = voice.Voice(link, "shipper", lambda: room.append(1))
    found = {}
    for sequence in range(1, 6):
        found[sequence] = deliveries.Delivery(message.Message("orders.new", reply(sequence), b"", b""), speaks)
        speaks.heard(found[sequence])
    return speaks, found


async def reconnected(link, speaks):
    link.connection += 1
    speaks.prove()
    await judged(speaks)


async def judged(speaks):
    async with asyncio.timeout(5):
        while speaks.waits:
            await asyncio.sleep(0.01)


async def test_on_its_own_connection_it_speaks_at_once(link, held, room):
    _, found = held
    await found[2].ack()
    assert link.published == [(2, deliveries.ACK)]
    assert room == [1]


async def test_in_an_outage_words_wait_and_the_room_is_free_at_once(link, held, room):
    speaks, found = held
    speaks.hold()
    await found[2].ack()
    await found[3].extend()
    assert link.published == []
    assert room == [1]
    await reconnected(link, speaks)
    assert link.published == [(2, deliveries.ACK), (3, deliveries.EXTEND)]
    await found[4].retry(0)
    assert link.published[2:] == [(4, deliveries.NAK)]


@pytest.mark.parametrize("stored", [{}, {1: AT_NS + SECOND_NS}, {5: AT_NS + 500 * SECOND_NS}], ids=str)
async def test_of_another_stream_nothing_is_said(link, held, room, stored):
    speaks, found = held
    speaks.hold()
    await found[2].ack()
    link.stored = stored
    await reconnected(link, speaks)
    await found[1].ack()
    await found[3].extend()
    await found[4].retry(0)
    assert link.published == []
    assert room == [1, 1, 1], "room is free for what comes again"


async def test_who_cannot_be_asked_is_asked_again(link, held):
    speaks, found = held
    speaks.hold()
    await found[2].ack()
    link.away = True
    link.connection += 1
    speaks.prove()
    await asyncio.sleep(0)
    assert link.published == []
    link.away = False
    await judged(speaks)
    assert link.published == [(2, deliveries.ACK)]


async def test_who_left_is_heard_on_the_connection_that_stood_and_on_no_other(link, held):
    speaks, found = held
    speaks.leave()
    await found[1].ack()
    link.connection += 1
    await found[2].ack()
    assert link.published == [(1, deliveries.ACK)]
