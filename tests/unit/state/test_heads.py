"""The law of losses: a stream is judged to have lost something exactly if it did, whatever happened to it."""

import dataclasses
import datetime
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spine import ports, stream
from penstock.spine.adapters import spine_memory
from penstock.state import heads

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def state(first=1, last=10, created=NOW):
    return ports.StreamState(created, first, last, last - first + 1, 0)


OURS = heads.digest({"Nats-Msg-Id": "acme:1"})
HEAD = heads.Head(NOW, 10, OURS)


@pytest.mark.parametrize(
    ("there", "found", "why"),
    [
        (state(), OURS, ""),
        (state(last=12), OURS, ""),
        (state(last=9), None, "shortened"),
        (state(last=0, first=0), None, "shortened"),
        (state(created=NOW + datetime.timedelta(microseconds=1)), OURS, "recreated"),
        (state(last=12), heads.digest({"Nats-Msg-Id": "acme:2"}), "replaced"),
        (state(first=11, last=12), None, ""),
        (state(first=3, last=12), None, ""),
    ],
)
def test_what_was_acknowledged_is_held_against_what_is_there(there, found, why):
    assert heads.judge(HEAD, there, found) == why


def test_a_stream_that_nothing_is_known_of_has_lost_nothing():
    assert heads.judge(heads.Head(NOW), state(created=NOW + datetime.timedelta(1)), None) == ""
    gone = heads.Head(NOW, 10)
    assert heads.judge(gone, state(), OURS) == "", "what was at the head had aged out before it could be known"


def test_messages_are_known_by_their_id_and_without_one_by_what_they_say():
    assert heads.digest({"Nats-Msg-Id": "a"}, b"x") == heads.digest({"Nats-Msg-Id": "a"}, b"y")
    assert heads.digest({}, b"x") != heads.digest({}, b"y")


class Store:
    """A stream in pure Python, with an operator, strangers, and a disk that is swapped for an older copy."""

    def __init__(self, chance):
        self.chance, self.created, self.number = chance, NOW, 0
        self.messages, self.first, self.last = {}, 1, 0
        self.head, self.copy, self.lost = None, None, False

    def publish(self, ours):
        self.number += 1
        self.last += 1
        self.messages[self.last] = heads.digest({"Nats-Msg-Id": f"acme:{self.number}"})
        if ours:
            self.head = heads.Head(self.created, self.last, self.messages[self.last])

    def forget(self):
        """By age, by size, or because somebody purged it."""
        self.first = self.chance.randint(self.first, self.last + 1)
        self.messages = {place: one for place, one in self.messages.items() if place >= self.first}

    def save(self):
        self.copy = (self.created, dict(self.messages), self.first, self.last)

    def restore(self):
        if self.copy:
            self.created, messages, self.first, self.last = self.copy
            self.messages = dict(messages)

    def recreate(self):
        self.created += datetime.timedelta(seconds=1)
        self.messages, self.first, self.last = {}, 1, 0

    def holds_what_it_acknowledged(self):
        """Up to the head it is the very stream that gave it out."""
        head = self.head
        return (
            head.created == self.created
            and head.last <= self.last
            and (self.messages.get(head.last, head.digest) == head.digest)
        )

    def judged(self):
        there = ports.StreamState(self.created, self.first, self.last, len(self.messages), 0)
        return heads.judge(self.head, there, self.messages.get(self.head.last))


@given(st.integers(0, 2**32))
def test_a_loss_is_noticed_exactly_when_there_is_one(seed):
    chance = random.Random(seed)
    store = Store(chance)
    store.publish(ours=True)
    for _ in range(40):
        chance.choice([store.forget, store.save, lambda: store.publish(ours=True), store.save])()
        assert store.judged() == "", "a stream that was left alone, or purged, has lost nothing"
    before = store.head
    for _ in range(chance.randint(1, 6)):
        chance.choice([store.restore, store.recreate, lambda: store.publish(ours=False)])()
    assert bool(store.judged()) is not store.holds_what_it_acknowledged()
    assert store.head == before


async def test_a_look_at_a_stream_as_transports_answer_it():
    spine, policy = spine_memory.MemorySpine(), stream.StreamPolicy("S", ("tenant.*.s.>",), "a test")
    assert await heads.look(spine, "S", None) == heads.Look(None)
    await spine.create_stream(policy)
    empty = await spine.stream_state("S")
    assert (await heads.look(spine, "S", None)).state == empty
    assert await heads.head_of(spine, "S", empty) == heads.Head(empty.created)
    for number in range(3):
        await spine.publish(outgoing(number))
    there = await spine.stream_state("S")
    head = await heads.head_of(spine, "S", there)
    assert head == heads.Head(there.created, 3, heads.digest(outgoing(2).headers))
    assert (await heads.look(spine, "S", head)).why == ""
    other = dataclasses.replace(head, digest=heads.digest(outgoing(7).headers))
    assert (await heads.look(spine, "S", other)).why == "replaced"
    assert (await heads.look(spine, "S", dataclasses.replace(head, last=4))).why == "shortened"
    await spine.close()


def outgoing(number):
    return ports.Outgoing("S", "tenant.acme.s.x", "k", {"Nats-Msg-Id": f"acme:{number}"}, b"")
