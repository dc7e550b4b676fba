"""The decisions between a claim and a receipt, case by case and as laws."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.model import command as model
from penstock.channels.model.command import Claimed, Outcome, Refusal, State
from penstock.messages.v1 import message_pb2, outbound_pb2
from tests.unit.channels import fakes

REPORT, RESEND = outbound_pb2.ON_AMBIGUOUS_REPORT, outbound_pb2.ON_AMBIGUOUS_RESEND


def test_the_fingerprint_is_of_what_is_said_and_not_of_when():
    first, again, other = fakes.command(), fakes.command(), fakes.command(text="ho")
    again.created_at.FromDatetime(fakes.NOW + timedelta(hours=1))
    again.expires_at.FromDatetime(fakes.NOW + timedelta(hours=2))
    assert model.fingerprint(first) == model.fingerprint(again) != model.fingerprint(other)


@pytest.mark.parametrize("field", ["command_id", "conversation", "app", "cause_event_id"])
def test_ids_that_cannot_be_stored_poison(field: str):
    for value in ("a\0b", "x" * 513):
        said = fakes.command()
        setattr(said, field, value)
        with pytest.raises(errors.Poisoned, match=field):
            model.check_storable(said)


def test_expiry_includes_its_moment():
    said = fakes.command()
    assert model.expired(said, fakes.NOW) is None
    said.expires_at.FromDatetime(fakes.NOW)
    assert model.expired(said, fakes.NOW - timedelta(milliseconds=1)) is None
    assert model.expired(said, fakes.NOW) == Refusal(
        State.EXPIRED, "expired", "it was to be sent no later than expires_at"
    )


RELATIONS = {
    "reply": message_pb2.Relation(reply=message_pb2.Reply(message_id="m")),
    "edit": message_pb2.Relation(edit=message_pb2.Edit(message_id="m")),
    "deletion": message_pb2.Relation(deletion=message_pb2.Deletion(message_id="m")),
    "reaction": message_pb2.Relation(reaction=message_pb2.Reaction(message_id="m", name="x")),
    "reaction_removed": message_pb2.Relation(reaction_removed=message_pb2.ReactionRemoved(message_id="m", name="x")),
    "pin": message_pb2.Relation(pin=message_pb2.Pin(message_id="m")),
}


@pytest.mark.parametrize("kind", RELATIONS)
def test_a_relation_needs_its_capability(kind: str):
    said = fakes.command(relation=RELATIONS[kind])
    able = outbound_pb2.Capabilities(
        reply=kind == "reply", edit=kind == "edit", deletion=kind == "deletion", reaction=kind.startswith("reaction")
    )
    assert (model.unsupported(said, able) is None) is (kind != "pin")
    refusal = model.unsupported(said, outbound_pb2.Capabilities())
    assert refusal
    assert (refusal.state, refusal.code) == (State.REJECTED, "unsupported")


def test_threads_attachments_and_length_need_theirs():
    none = outbound_pb2.Capabilities(text_limit=3)
    for said in (
        fakes.command(text="hey", thread="t"),
        fakes.command(text="hey", attachments=[message_pb2.Attachment(url="https://x")]),
        fakes.command(text="four"),
    ):
        refusal = model.unsupported(said, none)
        assert refusal
        assert refusal.code == "unsupported"
    assert model.unsupported(fakes.command(text="äöü"), none) is None


def test_nothing_to_say_is_refused_but_a_deletion_says_nothing():
    refusal = model.unsupported(fakes.command(text=""), fakes.ALL)
    assert refusal
    assert refusal.code == "empty"
    assert model.unsupported(fakes.command(text="", relation=RELATIONS["deletion"]), fakes.ALL) is None


@pytest.mark.parametrize(
    ("claimed", "refusal", "on_ambiguous", "expected"),
    [
        (Claimed(1, 0), None, RESEND, None),
        (Claimed(2, 1), None, RESEND, None),
        (Claimed(3, 2), None, RESEND, Outcome(State.UNKNOWN, 2, 2)),
        (Claimed(1, 0), None, REPORT, None),
        (Claimed(2, 1), None, REPORT, Outcome(State.UNKNOWN, 1, 1)),
        (Claimed(0, 0), Refusal(State.EXPIRED, "expired", ""), RESEND, Outcome(State.EXPIRED, 0, 0, code="expired")),
        (Claimed(1, 1), Refusal(State.EXPIRED, "expired", ""), RESEND, Outcome(State.UNKNOWN, 1, 1, code="expired")),
    ],
)
def test_before_sending(claimed: Claimed, refusal: Refusal | None, on_ambiguous: int, expected: Outcome | None):
    found = model.before_sending(fakes.command(on_ambiguous=on_ambiguous), claimed, refusal, resends=1)
    if expected is None:
        assert found is None
    else:
        assert found
        assert (found.state, found.attempts, found.ambiguities) == (
            expected.state,
            expected.attempts,
            expected.ambiguities,
        )


AWAY, LOST, NO = (
    errors.Unavailable("busy", "busy", after_s=7),
    ports.Ambiguous("lost", "lost", after_s=2),
    errors.Rejected("blocked", "blocked"),
)


@pytest.mark.parametrize(
    ("answer", "ambiguities", "on_ambiguous", "state", "after"),
    [
        (ports.Sent("m1"), 0, RESEND, State.SENT, 0),
        (ports.Sent("m1"), 1, RESEND, State.SENT, 1),
        (AWAY, 0, REPORT, State.WAITING, 0),
        (AWAY, 1, RESEND, State.WAITING, 1),
        (NO, 0, RESEND, State.REJECTED, 0),
        (NO, 1, RESEND, State.UNKNOWN, 1),
        (LOST, 0, RESEND, State.WAITING, 1),
        (LOST, 1, RESEND, State.UNKNOWN, 2),
        (LOST, 0, REPORT, State.UNKNOWN, 1),
        (errors.Broken("bug", "bug"), 0, RESEND, State.WAITING, 1),
    ],
)
def test_after_sending(
    answer: ports.Sent | errors.PenstockError, ambiguities: int, on_ambiguous: int, state: State, after: int
):
    said = fakes.command(on_ambiguous=on_ambiguous)
    found = model.after_sending(said, Claimed(1, ambiguities), answer, resends=1)
    assert (found.state, found.ambiguities, found.attempts) == (state, after, 1)
    if answer is AWAY:
        assert found.after_s == 7


@given(
    st.sampled_from([ports.Sent("m"), AWAY, LOST, NO]),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([REPORT, RESEND, outbound_pb2.ON_AMBIGUOUS_UNSPECIFIED]),
)
def test_a_receipt_never_denies_what_may_have_happened(
    answer: ports.Sent | errors.PenstockError, ambiguities: int, resends: int, on_ambiguous: int
):
    said = fakes.command(on_ambiguous=on_ambiguous)
    found = model.after_sending(said, Claimed(ambiguities + 1, ambiguities), answer, resends=resends)
    if found.state.final:
        told = model.receipt(said, found, fakes.NOW)
        assert told.ambiguous is (found.ambiguities > 0)
        assert not (told.ambiguous and found.state in {State.REJECTED, State.EXPIRED})
