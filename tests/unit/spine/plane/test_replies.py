"""Calls in flight: each gets its own answer, or one error, and is forgotten."""

import asyncio

import pytest

from penstock.base import errors
from penstock.spine.plane.message import Message
from penstock.spine.plane.replies import Replies


@pytest.fixture
async def replies():
    return Replies("_MINE.u")


def answer(replies, inbox, body=b""):
    replies.receive(Message(inbox, "", b"", body))


def away():
    return errors.Unavailable("disconnected", "away")


async def test_each_call_gets_its_own_answer_once(replies):
    calls = [replies.expect("a", 10, 1) for _ in range(100)]
    assert len({inbox for inbox, _ in calls}) == 100
    assert all(inbox.startswith("_MINE.u.") and inbox.count(".") == 3 for inbox, _ in calls)
    for number, (inbox, _) in reversed(list(enumerate(calls))):
        answer(replies, inbox, b"%d" % number)
        answer(replies, inbox, b"again")
    assert [(await future).body for _, future in calls] == [b"%d" % number for number in range(100)]
    assert len(replies) == 0


async def test_answers_that_nobody_waits_for_are_dropped(replies):
    inbox, future = replies.expect("a", 10, 1)
    replies.forget(inbox)
    for subject in (inbox, "", "elsewhere", f"{replies.inbox}.999"):
        answer(replies, subject)
    assert not future.done()
    inbox, future = replies.expect("a", 10, 1)
    future.cancel()
    answer(replies, inbox)
    assert len(replies) == 0


async def test_two_do_not_share_an_inbox():
    assert Replies("_INBOX").inbox != Replies("_INBOX").inbox


async def test_what_was_asked_on_a_connection_that_ended_fails_alone(replies):
    (_, first), (_, second) = replies.expect("a", 10, 1), replies.expect("a", 10, 2)
    assert replies.in_flight(1) == [first]
    replies.fail_connection(1, away)
    with pytest.raises(errors.Unavailable):
        await first
    assert replies.in_flight(2) == [second]
    replies.fail(away)
    with pytest.raises(errors.Unavailable):
        await second
    assert len(replies) == 0


async def test_a_subject_and_an_inbox_fail_alone(replies):
    (_, first), (inbox, second), (_, third) = (replies.expect(subject, 10, 1) for subject in ("a", "b", "b.c"))
    replies.fail_subject("a", away)
    replies.fail_reply(inbox, away)
    replies.fail_reply("elsewhere", away)
    assert (first.done(), second.done(), third.done()) == (True, True, False)
    for future in (first, second):
        with pytest.raises(errors.Unavailable):
            await future


async def test_each_waits_for_as_long_as_it_said(replies):
    """A short wait that begins after a long one ends before it, and one timer is enough."""
    order = []
    for name, timeout_s in (("long", 0.3), ("short", 0.02), ("middle", 0.15)):
        _, future = replies.expect("a", timeout_s, 1)
        future.add_done_callback(lambda _, name=name: order.append(name))
    inbox, _ = replies.expect("a", 0.01, 1)
    answer(replies, inbox)
    futures = replies.in_flight(1)
    ended = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10)
    assert order == ["short", "middle", "long"]
    assert {error.code for error in ended} == {"timeout"}
    assert len(replies) == 0


async def test_calls_that_were_given_up_are_forgotten_when_the_next_deadline_comes(replies):
    _, kept = replies.expect("a", 0.02, 1)
    for _ in range(10):
        _, future = replies.expect("a", 3600, 1)
        future.cancel()
    with pytest.raises(errors.Unavailable):
        await asyncio.wait_for(kept, 10)
    assert len(replies) == 0
