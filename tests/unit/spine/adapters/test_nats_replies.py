"""Answers find who waits for them; a lost connection fails all at once, and time runs out."""

import asyncio

import pytest
from nats.aio.msg import Msg

from penstock.base import errors
from penstock.spine.adapters import nats_replies


def answer(replies: nats_replies.Replies, token: str, body: bytes = b"") -> Msg:
    return Msg(None, f"{replies.inbox}.{token}", "", body)  # type: ignore[arg-type]


async def test_each_answer_finds_who_waits_for_it() -> None:
    replies = nats_replies.Replies()
    assert replies.renew() == f"{replies.inbox}.*"
    waiting = [replies.expect(5) for _ in range(10)]
    for number, (token, _) in reversed(list(enumerate(waiting))):
        await replies.receive(answer(replies, token, str(number).encode()))
    assert [int((await future).data) for _, future in waiting] == list(range(10))


async def test_answers_that_nobody_waits_for_are_dropped() -> None:
    replies = nats_replies.Replies()
    token, future = replies.expect(5)
    replies.forget(token)
    await replies.receive(answer(replies, token))
    await replies.receive(answer(replies, "never asked"))
    assert not future.done()


async def test_who_gave_up_does_not_mind_the_answer() -> None:
    replies = nats_replies.Replies()
    token, future = replies.expect(5)
    future.cancel()
    await replies.receive(answer(replies, token))
    replies.fail("disconnected", "gone")
    assert future.cancelled()


async def test_a_lost_connection_fails_everybody_at_once() -> None:
    replies = nats_replies.Replies()
    waiting = [replies.expect(60)[1] for _ in range(5)]
    replies.fail("disconnected", "the connection was lost")
    for future in waiting:
        with pytest.raises(errors.Unavailable) as failed:
            await future
        assert failed.value.code == "disconnected"


async def test_time_runs_out_for_each_on_its_own() -> None:
    replies = nats_replies.Replies()
    (_, soon), (token, late) = replies.expect(0.01), replies.expect(60)
    with pytest.raises(errors.Unavailable) as failed:
        await asyncio.wait_for(soon, 5)
    assert failed.value.code == "timeout"
    assert not late.done()
    await replies.receive(answer(replies, token))
    assert late.done()
