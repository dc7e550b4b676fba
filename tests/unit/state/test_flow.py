"""The laws of an outbox's flow, under any mixture of answers, refusals, silences and late readings."""

import datetime
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.spine import ports
from penstock.state import flow

DAY = datetime.date(2026, 1, 1)


def row(seq, key="k", body=b""):
    return flow.Row(DAY, seq, ports.Outgoing("S", f"tenant.acme.{seq}", key, {}, body))


def made(**kinds):
    return flow.Flow(**{"window": 8, "capacity": 100, "attempts": 3} | kinds)


def take_all(flowing, now=0.0):
    taken = []
    while (one := flowing.take(now)) is not None:
        taken.append(one.seq)
    return taken


def read(flowing, *rows):
    flowing.reading()
    flowing.add(rows)
    return rows


def test_rows_of_one_key_leave_one_at_a_time_in_order():
    flowing = made()
    first, second = read(flowing, row(1), row(2))
    assert take_all(flowing) == [1]
    flowing.published(first, 1)
    assert take_all(flowing) == [2]
    flowing.published(second, 2)
    assert [done.row.seq for done in flowing.take_settled()] == [1, 2]
    assert flowing.space == 64


def test_keys_leave_side_by_side_up_to_the_window():
    flowing = made(window=3)
    read(flowing, *(row(seq, key=f"k{seq}") for seq in range(10)))
    assert take_all(flowing) == [0, 1, 2]
    assert flowing.in_flight == 3


def test_a_silent_stream_is_probed_with_one_message_and_opens_by_doubling():
    flowing = made(window=8)
    rows = read(flowing, *(row(seq, key=f"k{seq}") for seq in range(16)))
    assert take_all(flowing) == list(range(8))
    for one in rows[:8]:
        flowing.unavailable(one, 0.0)
    assert take_all(flowing, 0.0) == []
    due = flowing.next_due_s()
    assert 0 < due <= 0.1
    assert len(probe := take_all(flowing, due)) == 1
    flowing.published(rows[probe[0]], 1)
    assert len(take_all(flowing, due)) == 2


def test_a_silent_stream_takes_little_memory():
    flowing = made(window=8, capacity=1000)
    assert flowing.space == 64
    (first,) = read(flowing, row(1))
    take_all(flowing)
    flowing.unavailable(first, 0.0)
    assert flowing.space == 7, "one of eight is there"
    assert take_all(flowing, flowing.next_due_s()) == [1]
    flowing.published(first, 1)
    flowing.take_settled()
    assert flowing.space == 16


def test_large_rows_take_the_place_of_many():
    flowing = made(capacity=10, capacity_bytes=5000)
    read(flowing, *(row(seq, f"k{seq}", body=b"x" * 2000) for seq in range(2)))
    assert flowing.space == 0
    taken = [flowing.take(0.0), flowing.take(0.0)]
    flowing.published(taken[0], 1)
    flowing.take_settled()
    assert flowing.space == 9


def test_nothing_leaves_while_it_is_shut():
    flowing = made()
    first, other = read(flowing, row(1), row(2, "other"))
    flowing.shut = True
    assert (take_all(flowing), flowing.space) == ([], 0)
    flowing.shut = False
    assert take_all(flowing) == [1, 2]
    flowing.published(other, 1)
    flowing.shut = True
    flowing.unavailable(first, 0.0)
    assert take_all(flowing, 100.0) == []
    flowing.shut = False
    assert take_all(flowing, 100.0) == [1]


def test_what_somebody_else_found_out_ends_a_pause():
    flowing = made()
    (first,) = read(flowing, row(1))
    take_all(flowing)
    flowing.unavailable(first, 0.0)
    assert take_all(flowing, 0.0) == []
    flowing.probe()
    assert take_all(flowing, 0.0) == [1]


def test_what_is_forgotten_is_read_again_and_what_was_being_read_is_not_taken_in():
    flowing = made()
    first, _, third = read(flowing, row(5), row(6), row(7, "other"))
    take_all(flowing)
    flowing.published(first, 1)
    flowing.refused(third, "wrong_stream", 0.0)
    flowing.reading()
    flowing.empty()
    flowing.add([row(8)])
    assert (take_all(flowing, 100.0), flowing.next_due_s()) == ([], None)
    assert [done.row.seq for done in flowing.take_settled()] == [5]
    assert flowing.reading() == ([], [])
    flowing.add([row(1), row(6)])
    assert take_all(flowing) == [1]


def test_a_refused_row_keeps_its_place_and_only_itself_in_memory():
    flowing = made()
    first, *_ = read(flowing, row(1), row(2), row(3))
    assert take_all(flowing) == [1]
    assert flowing.refused(first, "wrong_stream", 0.0) is False
    assert flowing.reading() == ([1], ["k"])
    flowing.add([row(4)])
    assert take_all(flowing, 0.0) == []
    assert take_all(flowing, flowing.next_due_s()) == [1]
    flowing.published(first, 1)
    assert flowing.reading()[1] == []
    flowing.add([row(2), row(3), row(4)])
    assert take_all(flowing) == [2]


def test_what_a_read_brings_of_a_key_that_got_stuck_and_free_meanwhile_is_ignored():
    flowing = made()
    first, _ = read(flowing, row(1), row(2))
    take_all(flowing)
    held, stuck = flowing.reading()
    assert (held, stuck) == ([1, 2], [])
    flowing.refused(first, "wrong_stream", 0.0)
    take_all(flowing, flowing.next_due_s())
    flowing.published(first, 1)
    flowing.add([row(3)])
    assert take_all(flowing, 100.0) == [], "row 2 was left out of the read, and comes first"


def test_a_row_is_given_up_after_its_attempts_and_its_key_goes_on():
    flowing = made(attempts=2)
    (first,) = read(flowing, row(1))
    take_all(flowing)
    assert flowing.refused(first, "wrong_stream", 0.0) is False
    take_all(flowing, flowing.next_due_s())
    assert flowing.refused(first, "wrong_stream", 1.0) is True
    assert [(done.row.seq, done.failure) for done in flowing.take_settled()] == [(1, "wrong_stream")]
    read(flowing, row(2))
    assert take_all(flowing, 1.0) == [2]


@pytest.mark.parametrize("code", sorted(flow.HOPELESS))
def test_a_row_that_can_never_leave_is_given_up_at_once(code):
    flowing = made()
    first, _ = read(flowing, row(1), row(2))
    take_all(flowing)
    assert flowing.refused(first, code, 0.0) is True
    assert take_all(flowing) == [2]


class Table:
    """An outbox table and a server, with which a flow is driven through chance."""

    def __init__(self, chance):
        self.chance, self.now, self.seq = chance, 0.0, 0
        self.waiting, self.acked, self.given_up, self.keys = {}, [], [], {}
        self.flowing = made(window=chance.randint(1, 8), capacity=chance.randint(2, 30), attempts=chance.randint(1, 4))
        self.on_way = []

    def append(self):
        for _ in range(self.chance.randint(0, 12)):
            self.seq += 1
            name = self.chance.choice("abcd")
            self.keys[self.seq] = f"k{name}"
            self.waiting[self.seq] = row(self.seq, f"k{name}")

    def exchange(self, between):
        """Record and read as `relay` does; `between` happens while the statement is on its way."""
        for done in self.flowing.take_settled():
            del self.waiting[done.row.seq]
        held, stuck = self.flowing.reading()
        limit = self.flowing.space
        found = [one for seq, one in sorted(self.waiting.items()) if seq not in held and one.outgoing.key not in stuck]
        between()
        self.flowing.add([row(one.seq, one.outgoing.key) for one in found[:limit]])

    def pump(self):
        while (one := self.flowing.take(self.now)) is not None:
            key = one.outgoing.key
            assert key not in [other.outgoing.key for other in self.on_way], "two of one key on their way"
            before = [seq for seq, other in self.waiting.items() if seq < one.seq and other.outgoing.key == key]
            assert not set(before) - set(self.acked) - set(self.given_up), "a row was overtaken"
            self.on_way.append(one)

    def land(self, calm=False):
        for one in self.chance.sample(self.on_way, self.chance.randint(0, len(self.on_way))):
            self.on_way.remove(one)
            fate = 1.0 if calm else self.chance.random()
            if fate > 0.4:
                assert one.seq not in self.acked
                self.acked.append(one.seq)
                self.flowing.published(one, one.seq)
            elif fate > 0.2:
                self.flowing.unavailable(one, self.now)
            elif self.flowing.refused(one, self.chance.choice(["wrong_stream", "too_large"]), self.now):
                self.given_up.append(one.seq)

    def lose(self):
        """The stream lost some of what it had: what is on its way lands, and rows wait again."""
        self.flowing.shut = True
        while self.on_way:
            self.land(calm=True)
            self.pump()
        for done in self.flowing.take_settled():
            del self.waiting[done.row.seq]
        self.flowing.empty()
        for seq in self.chance.sample(self.acked, self.chance.randint(0, len(self.acked))):
            self.acked.remove(seq)
            self.waiting[seq] = row(seq, self.keys[seq])
        self.flowing.shut = False

    def step(self, calm=False):
        self.now += self.chance.choice([0.0, 0.01, 0.2, 5.0])
        if not calm:
            self.append()
            if self.chance.random() < 0.1:
                self.lose()
            self.flowing.shut = self.chance.random() < 0.2
        else:
            self.flowing.shut = False
        self.exchange(lambda: (self.land(calm), self.pump()) if self.chance.random() < 0.5 else None)
        self.pump()
        self.land(calm)
        self.pump()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_is_lost_doubled_or_overtaken_whatever_happens(seed):
    table = Table(random.Random(seed))
    for _ in range(30):
        table.step()
    for _ in range(2000):
        if not table.waiting:
            break
        table.step(calm=True)
    assert not table.waiting, "everything is settled once the world is calm"
    assert sorted(table.acked + table.given_up) == list(range(1, table.seq + 1))
