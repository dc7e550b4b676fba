"""What an adapter may not choose is filled in; what cannot be stored is refused; repetition and change differ."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.model import event
from tests.unit.channels import fakes


def test_the_service_chooses_tenant_channel_account_and_time():
    said = fakes.message(tenant="beta", channel="slack", account="other")
    found = event.complete(said, fakes.account(), fakes.NOW).message
    assert (found.tenant, found.channel, found.account) == ("acme", "webhook", fakes.account_id())
    assert found.received_at.ToDatetime(tzinfo=fakes.NOW.tzinfo) == fakes.NOW


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", "a\0b"),
        ("event_id", "e" * 513),
        ("conversation", ""),
        ("conversation", "a\0b"),
        ("conversation", "ü" * 257),
    ],
)
def test_ids_that_cannot_be_stored_are_refused(field: str, value: str):
    said = fakes.message()
    setattr(said, field, value)
    with pytest.raises(errors.Rejected, match=field):
        event.complete(said, fakes.account(), fakes.NOW)


def test_a_sender_may_be_missing_but_not_endless():
    said = fakes.message()
    said.ClearField("sender")
    assert event.complete(said, fakes.account(), fakes.NOW)
    said.sender.id = "x" * 513
    with pytest.raises(errors.Rejected, match="sender"):
        event.complete(said, fakes.account(), fakes.NOW)


@given(st.integers(0, 10**6), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_the_fingerprint_forgets_when_and_only_when(later_s: int, attributes: dict[str, str]):
    first = event.complete(fakes.message(attributes=attributes), fakes.account(), fakes.NOW)
    backwards = dict(reversed(attributes.items()))
    again = event.complete(fakes.message(attributes=backwards), fakes.account(), fakes.NOW + timedelta(seconds=later_s))
    other = event.complete(fakes.message(attributes={**attributes, "new key": "x"}), fakes.account(), fakes.NOW)
    assert first.body_hash == again.body_hash != other.body_hash


def test_one_request_holds_an_event_once():
    events = [event.complete(fakes.message(i, t), fakes.account(), fakes.NOW) for i, t in ("ax", "by", "az")]
    assert [(e.message.event_id, e.message.text) for e in event.distinct(events)] == [("a", "x"), ("b", "y")]
