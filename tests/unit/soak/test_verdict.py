"""The verdict sees what was lost, doubled and reordered, and excuses only what a row admits."""

import math

import pytest

from penstock.channels.testing import webhook_platform, webhook_sender
from tests.soak import talk, verdict

ROOM, OTHER = "room-0", "room-1"


def said(text: str, room: str = ROOM, *, at_s: float = 0.0, status: int = 200) -> talk.Said:
    posted = webhook_sender.Posted(f"evt-{text}", f"msg-{text}", status, b"", f"hook-{text}", 0.01, 1, b"")
    return talk.Said(room, text, posted, at_s, at_s)


def heard(text: str, *, command: str = "", taken: bool = True, at_s: float = 1.0) -> webhook_platform.Arrival:
    command_id = command or f"command-{text}"
    asked = webhook_platform.Command(command_id, "account", ROOM, text=talk.answer(text))
    status = 200 if taken else 503
    return webhook_platform.Arrival(at_s, command_id, "message.send", asked, False, taken, status, "")


def test_what_was_answered_once_and_in_order_is_good():
    found = verdict.judge([said("a"), said("b"), said("c", OTHER)], [heard("a"), heard("c"), heard("b")])
    assert found.good
    assert str(found) == "0 lost, 0 doubled, 0 reordered"
    assert found.said == 3


def test_a_message_is_lost_when_it_was_taken_and_no_answer_was():
    found = verdict.judge([said("a"), said("b"), said("c", status=503)], [heard("a", taken=False)])
    assert found.lost == ("a", "b")
    assert verdict.judge([said("a")], [], but={"a"}).good


@pytest.mark.parametrize("status", [0, 429, 503])
def test_what_was_refused_may_be_answered_or_not_whenever_it_likes(status: int):
    refused = said("a", status=status)
    assert verdict.judge([refused, said("b")], [heard("b"), heard("a")]).good
    assert verdict.judge([refused, said("b")], [heard("b")]).good


def test_an_answer_under_another_id_is_always_doubled():
    arrivals = [heard("a"), heard("a", command="another")]
    assert verdict.judge([said("a")], arrivals, ambiguous={"command-a", "another"}).doubled == (talk.answer("a"),)


def test_the_same_command_again_is_doubled_unless_its_row_is_ambiguous():
    arrivals = [heard("a"), heard("a")]
    assert verdict.judge([said("a")], arrivals).doubled == (talk.answer("a"),)
    excused = verdict.judge([said("a")], arrivals, ambiguous={"command-a"})
    assert excused.good
    assert excused.excused == 1


def test_what_the_platform_refused_may_come_again():
    assert verdict.judge([said("a")], [heard("a", taken=False), heard("a", taken=False), heard("a")]).good


def test_an_answer_after_that_to_a_later_message_of_its_room_is_reordered():
    found = verdict.judge([said("a"), said("b"), said("c")], [heard("b"), heard("c"), heard("a")])
    assert found.reordered == (talk.answer("a"),)
    rooms = [said("a"), said("b", OTHER)]
    assert verdict.judge(rooms, [heard("b"), heard("a")]).good


def test_a_second_copy_does_not_reorder_what_came_in_order_before():
    found = verdict.judge([said("a"), said("b")], [heard("a"), heard("b"), heard("a")], ambiguous={"command-a"})
    assert found.reordered == ()


def test_verdicts_add_up():
    one = verdict.judge([said("a")], [])
    two = verdict.judge([said("b"), said("c")], [heard("c"), heard("b"), heard("b")])
    assert str(one + two) == "1 lost, 1 doubled, 1 reordered"


def test_recovery_is_told_by_what_was_said_after_the_fault():
    talked = [said("before", at_s=1), said("a", at_s=3), said("b", OTHER, at_s=3), said("c", at_s=4)]
    first = verdict.first_answers(
        [heard("before", at_s=5), heard("c", at_s=6), heard("b", at_s=9), heard("a", at_s=10)]
    )
    assert verdict.recovery_s(talked, first, since_s=2) == (4, 7)
    assert verdict.recovery_s(talked, {}, since_s=2) == (math.inf, math.inf)
    assert verdict.recovery_s(talked[:1], first, since_s=2) == (math.inf, math.inf)
