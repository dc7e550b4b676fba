"""The law of floors: a refill never begins later than something that is not settled was stored."""

import bisect
import datetime
import random

from hypothesis import given
from hypothesis import strategies as st

from penstock.state import floors

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def at(seconds):
    return BEGIN + datetime.timedelta(seconds=seconds)


@given(st.integers(0, 2**32))
def test_what_is_above_a_floor_was_stored_at_its_time_or_later(seed):
    chance, now, stored, marks = random.Random(seed), 0.0, [], floors.Marks()
    for _ in range(chance.randint(1, 1500)):
        now += chance.choice([0.0, 0.1, 1.0, 50.0])
        if chance.random() < 0.5:
            stored.append(now)
        else:
            marks.note(at(now), len(stored))
    for floor in range(0, len(stored) + 1, 7):
        found = marks.settled_before(floor)
        assert found is None or floor == len(stored) or at(stored[floor]) >= found


def test_marks_of_the_last_minutes_are_close_and_old_ones_stay():
    marks = floors.Marks()
    for second in range(20_000):
        marks.note(at(second), second * 10)
    assert marks.settled_before(19_000 * 10 + 5) == at(19_000), "within a second"
    old = marks.settled_before(50_000)
    assert at(4900) < old <= at(5000), "hours ago: within a minute or so"
    assert marks.settled_before(0) == at(0)
    assert len(marks._at) < 3000
    assert floors.Marks().settled_before(5) is None


def test_a_mark_of_a_time_to_come_is_forgotten():
    marks = floors.Marks()
    for seconds, last in [(0, 10), (3600, 20), (3601, 25), (5, 30)]:
        marks.note(at(seconds), last)
    assert marks.settled_before(27) == at(0), "the clock was wrong for two looks"


def test_a_stream_that_stands_still_is_settled_up_to_the_last_look():
    marks = floors.Marks()
    for second in range(10):
        marks.note(at(second), 7)
    assert (marks.settled_before(7), marks.settled_before(6)) == (at(9), None)


def life(began, looked, ended=None, oldest=None):
    return floors.Life(at(began), at(looked), ended and at(ended), oldest and at(oldest))


def test_floors_from_before_the_loss_count_and_those_of_dealt_with_losses_do_not():
    assert floors.oldest([], at(100)) is None
    assert floors.oldest([life(0, 99, oldest=40)], at(100)) == at(40)
    assert floors.oldest([life(0, 99)], at(100)) == at(99), "nobody had anything to settle"
    noticed_first_by_the_keeper = [life(0, 100, ended=101, oldest=40), life(101, 102, oldest=102)]
    assert floors.oldest(noticed_first_by_the_keeper, at(100)) == at(40)
    long_ago = [life(0, 100, ended=101, oldest=40), life(101, 5000, oldest=4990)]
    assert floors.oldest(long_ago, at(5000)) == at(4990)
    assert floors.oldest([life(101, 102, oldest=102)], at(100)) is None, "nobody had looked before the loss"


def test_a_refill_begins_ten_minutes_before_the_oldest_floor_of_all():
    assert floors.since([at(5000), at(4000)]) == at(4000 - 600)
    assert floors.since([at(5000), None]) is None
    assert floors.since([]) is None


@given(st.integers(0, 2**32))
def test_thinning_keeps_marks_in_order(seed):
    chance, marks, last = random.Random(seed), floors.Marks(), 0
    for second in range(3000):
        last += chance.choice([0, 0, 1, 100])
        marks.note(at(second), last)
    found = [marks.settled_before(floor) for floor in range(0, last, 97)]
    known = [one for one in found if one is not None]
    assert known == sorted(known)
    assert found[bisect.bisect_left([one is not None for one in found], True) :] == known
