"""Unknown events are kept whole within bounds, whatever a platform calls them."""

import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.model import unknown
from tests.unit.channels import fakes


def kept(event_id: str = "u1", kind: str = "call.started", body: bytes = b"{}") -> unknown.Kept:
    (one,) = unknown.kept([ports.UnknownEvent(event_id, kind, body)], fakes.NOW)
    return one


def test_it_is_kept_as_it_came():
    one = kept(body=b"\xff\x00 anything")
    assert (one.body, one.size_bytes, one.whole, one.received_at) == (b"\xff\x00 anything", 11, True, fakes.NOW)


def test_a_large_one_is_cut_and_says_so():
    one = kept(body=b"x" * (unknown.BODY_BYTES + 1))
    assert (len(one.body), one.size_bytes, one.whole) == (unknown.BODY_BYTES, unknown.BODY_BYTES + 1, False)
    assert kept(body=b"x" * unknown.BODY_BYTES).whole


@pytest.mark.parametrize(("kind", "shown"), [("", "unnamed"), ("a\nb\0c\x1b", "a�b�c�"), ("é" * 300, "é" * 200)])
def test_its_name_is_one_short_line(kind: str, shown: str):
    assert kept(kind=kind).kind == shown


@pytest.mark.parametrize("event_id", ["", "x" * 513, "é" * 257, "a\0b"])
def test_an_id_that_cannot_be_stored_is_refused(event_id: str):
    with pytest.raises(errors.Rejected, match="bad_event"):
        kept(event_id)


def test_an_id_stands_for_one_event_of_a_request():
    events = [ports.UnknownEvent("u1", "first", b"1"), ports.UnknownEvent("u1", "second", b"2")]
    assert [one.kind for one in unknown.kept(events, fakes.NOW)] == ["first"]
