"""Pseudonyms, portions, and reading whose a message is: laws, without any server."""

import base64
import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2, quarantine_pb2
from penstock.spine import quarantine, route
from penstock.state import erasures, personal, personal_reading

ACME = ids.tenant_id("acme")
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(seconds=1)
PSEUDONYMS = erasures.Pseudonyms(ACME, b"k" * 32)
ANA = PSEUDONYMS.person("webhook", "acc-1", "U1")
TRAIL = personal.Trail(ANA, NOW, {"dm": "erased-dm"})
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20)


def message(sender="U1", event="e", account="acc-1", conversation="room", at=NOW):
    said = message_pb2.Message(
        event_id=event, tenant="acme", channel="webhook", account=account, conversation=conversation
    )
    said.sender.id = sender
    said.received_at.FromDatetime(at)
    return said


def command(cause="e", conversation="room", account="acc-1", at=None):
    said = outbound_pb2.SendCommand(
        command_id="c",
        tenant="acme",
        channel="webhook",
        account=account,
        conversation=conversation,
        cause_event_id=cause,
        text="hello",
    )
    if at is not None:
        said.created_at.FromDatetime(at)
    return said


def clue(route_of, said):
    outgoing = route_of.encode(contexts.start(ACME), said)
    return personal_reading.read(outgoing.subject, outgoing.headers, outgoing.body)


@given(st.lists(st.integers(0, 3 << 20), max_size=40))
def test_portions_are_all_there_is_in_order_and_small(sizes):
    keys = list(personal.portions(enumerate(sizes)))
    assert [key for portion in keys for key in portion] == list(range(len(sizes)))
    for portion in keys:
        assert len(portion) == 1 or sum(sizes[key] for key in portion) <= personal.PORTION_BYTES


def test_portions_are_not_long_either():
    assert [len(portion) for portion in personal.portions((key, 0) for key in range(450))] == [200, 200, 50]


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_a_pseudonym_is_one_persons_for_ever(one, other):
    names = [PSEUDONYMS.person(*who).pseudonym for who in (one, other, one)]
    assert names[0] == names[2]
    assert (names[0] == names[1]) == (one == other)
    assert names[0] != erasures.Pseudonyms(ids.tenant_id("globex"), b"k" * 32).person(*one).pseudonym
    assert names[0] != erasures.Pseudonyms(ACME, b"l" * 32).person(*one).pseudonym
    assert names[0] != PSEUDONYMS.conversation(*one)


@pytest.mark.parametrize("sender", ["", "a\0b", "x" * 513])
def test_a_sender_that_nobody_can_have_is_refused(sender):
    with pytest.raises(errors.Rejected, match="bad_sender"):
        PSEUDONYMS.person("webhook", "acc-1", sender)


def test_a_person_does_not_print():
    assert "U1" not in repr(ANA)


@pytest.mark.parametrize(
    ("said", "theirs"),
    [
        (message(), True),
        (message(sender=ANA.pseudonym), True),
        (message(sender="U12"), False),
        (message(account="acc-2"), False),
        (message(at=LATER), False),
        (message(sender="U2", conversation="dm"), False),
    ],
)
def test_what_somebody_said_is_theirs(said, theirs):
    found = clue(route.INBOUND, said)
    assert personal_reading.is_theirs(found, TRAIL, frozenset({"e"})) is theirs
    given_up = contexts.start(ACME)
    record = quarantine.describe(given_up, Delivered(said), errors.Poisoned("x", "y"), 1)
    assert personal_reading.is_theirs(clue(route.QUARANTINED, record), TRAIL, frozenset({"e"})) is theirs


class Delivered:
    """A delivery, as far as quarantine looks at it."""

    def __init__(self, said):
        outgoing = route.INBOUND.encode(contexts.start(ACME), said)
        self.stream, self.consumer, self.sequence = outgoing.stream, "app_acme_echo", 1
        self.subject, self.headers, self.body = outgoing.subject, outgoing.headers, outgoing.body


@pytest.mark.parametrize(
    ("said", "theirs"),
    [
        (command(), True),
        (command(cause="other"), False),
        (command(cause="other", conversation="dm"), True),
        (command(cause="other", conversation="dm", at=LATER), False),
        (command(conversation="dm", at=LATER), True),
        (command(cause="", conversation="dm"), True),
        (command(cause=""), False),
        (command(account="acc-2"), False),
    ],
)
def test_what_answers_somebody_is_theirs(said, theirs):
    assert personal_reading.is_theirs(clue(route.OUTBOUND, said), TRAIL, frozenset({"e"})) is theirs
    told = outbound_pb2.Receipt(
        command_id="c",
        tenant="acme",
        account=said.account,
        conversation=said.conversation,
        cause_event_id=said.cause_event_id,
        at=said.created_at,
    )
    assert personal_reading.is_theirs(clue(route.RECEIPT, told), TRAIL, frozenset({"e"})) is theirs


def test_a_body_that_nobody_can_read_is_theirs_by_its_event_or_by_the_id_in_it():
    outgoing = route.INBOUND.encode(contexts.start(ACME), message(event="an event / of theirs"))
    for body, theirs in ((b"\xff\xff", frozenset({"an event / of theirs"})), (b"\xff U1 \xff", frozenset())):
        found = personal_reading.read(outgoing.subject, outgoing.headers, body)
        assert (found.kind, found.event) == ("unreadable", "an event / of theirs")
        assert personal_reading.is_theirs(found, TRAIL, theirs)
    strange = personal_reading.read(outgoing.subject, outgoing.headers, b"\xff\xff")
    assert not personal_reading.is_theirs(strange, TRAIL, frozenset())


@pytest.mark.parametrize(
    ("sender", "body", "theirs"),
    [
        ("7", b"\xff at 17:07 \xff", False),
        ("7", b"\xff 7 \xff", True),
        ("U1", b'\xff "U12" \xff', False),
        ("U1", b'\xff "U1" \xff', True),
        ("a.b", b"\xff axb \xff", False),
        ("\udcff", b"\xff", False),
    ],
)
def test_an_id_counts_in_what_nobody_can_read_if_it_stands_by_itself(sender, body, theirs):
    outgoing = route.INBOUND.encode(contexts.start(ACME), message())
    found = personal_reading.read(outgoing.subject, outgoing.headers, body)
    trail = personal.Trail(PSEUDONYMS.person("webhook", "acc-1", sender), NOW)
    assert personal_reading.is_theirs(found, trail, frozenset()) is theirs


@pytest.mark.parametrize("year", [2026, 20_000_000])
def test_what_nobody_can_read_is_named_and_not_shown_nor_in_a_quarantine_record(year):
    delivered = Delivered(message(event="e-1"))
    delivered.body = b"\xff U1 said to somebody else: a private matter"
    found = personal_reading.read(delivered.subject, delivered.headers, delivered.body)
    assert personal_reading.record(found, NOW).said == {"said": {"event_id": "e-1", "size_bytes": len(delivered.body)}}
    kept = quarantine.describe(contexts.start(ACME), delivered, errors.Poisoned("x", "y"), 1)
    kept.at.seconds = (year - 1970) * 31_557_600
    quarantined = clue(route.QUARANTINED, kept)
    assert personal_reading.is_theirs(quarantined, TRAIL, frozenset())
    shown = personal_reading.record(quarantined, NOW).said["said"]
    assert shown["body"] == {"size_bytes": len(delivered.body)}
    assert base64.b64encode(delivered.body)[:40].decode() not in json.dumps(shown)


def test_quarantine_records_in_each_other_are_read_as_deep_as_is_sane():
    """Apps may put anything into quarantine: it must not hold up what is known about somebody."""
    delivered = Delivered(message())
    for depth in range(1, 1001):
        kept = quarantine_pb2.Quarantined(tenant="acme", subject=delivered.subject, body=delivered.body)
        delivered.subject, delivered.body = "tenant.acme.quarantine.x", kept.SerializeToString()
        if depth in {1, 2, 3, 4, 5, 1000}:
            found = personal_reading.read(delivered.subject, {}, delivered.body)
            assert personal_reading.is_theirs(found, TRAIL, frozenset()) is (depth <= personal_reading.NESTED)
            assert ("sender" in repr(personal_reading.record(found, NOW).said)) is (depth <= personal_reading.NESTED)


def test_a_header_of_an_app_hides_nothing():
    """Apps write the headers of what they say: no such header makes it a tombstone, or somebody else's."""
    for name in (ANA.pseudonym, "erased-other", "x"):
        for said, hit in ((command(), True), (command(cause="other"), False)):
            outgoing = route.OUTBOUND.encode(contexts.start(ACME), said)
            headers = {**outgoing.headers, personal_reading.TOMBSTONE.title(): name}
            found = personal_reading.read(outgoing.subject, headers, outgoing.body)
            assert personal_reading.is_theirs(found, TRAIL, frozenset({"e"})) is hit
            assert personal_reading.record(found, NOW).said["said"]["text"] == "hello"
    outgoing = route.INBOUND.encode(contexts.start(ACME), message())
    empty = personal_reading.read(outgoing.subject, {**outgoing.headers, personal_reading.TOMBSTONE: "x"}, b"")
    assert personal_reading.is_theirs(empty, TRAIL, frozenset({"e"}))


def test_a_tombstone_is_theirs_by_its_pseudonym_and_shows_nothing():
    for name, theirs in ((ANA.pseudonym, True), ("erased-other", False)):
        found = personal_reading.read("tenant.acme.x", {personal_reading.TOMBSTONE: name}, b"")
        assert personal_reading.is_theirs(found, TRAIL, frozenset()) is theirs
        assert personal_reading.record(found, NOW) is None


@given(
    st.text(max_size=60),
    st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4),
    st.binary(max_size=200),
)
def test_reading_never_fails(subject, headers, body):
    types = ["", *(kind.DESCRIPTOR.full_name for kind in (message_pb2.Message, quarantine_pb2.Quarantined))]
    for kind in types:
        found = personal_reading.read(subject, {**headers, contexts.MESSAGE_TYPE: kind}, body)
        assert isinstance(personal_reading.is_theirs(found, TRAIL, frozenset()), bool)
        assert found.erased or personal_reading.record(found, NOW) is not None
