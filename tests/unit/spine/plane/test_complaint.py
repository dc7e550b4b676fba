"""What each -ERR of nats-server means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spine.plane import complaint
from penstock.spine.plane.complaint import Kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("'Authorization Violation'", Kind.CREDENTIALS),
        ("'authorization violation'", Kind.CREDENTIALS),
        ("'User Authentication Expired'", Kind.CREDENTIALS),
        ("'User Authentication Revoked'", Kind.CREDENTIALS),
        ("'Account Authentication Expired'", Kind.CREDENTIALS),
        ("'Authentication Timeout'", Kind.CREDENTIALS),
        ("'Slow Consumer'", Kind.SLOW),
        ("'Maximum Payload Violation'", Kind.PAYLOAD),
        ("'Stale Connection'", Kind.STALE),
        ("'maximum connections exceeded'", Kind.FULL),
        ("'maximum account active connections exceeded'", Kind.FULL),
        ("'maximum subscriptions exceeded'", Kind.SUBSCRIPTIONS),
        ("'Unknown Protocol Operation'", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_the_reaction_to_each(said, kind):
    assert complaint.read(said.encode()).kind is kind


@pytest.mark.parametrize(
    ("said", "kind", "subject", "queue"),
    [
        ('Permissions Violation for Publish to "a.b"', Kind.PUBLISH, "a.b", ""),
        ('permissions violation for publish to "a.b"', Kind.PUBLISH, "a.b", ""),
        ('Permissions Violation for Publish with Reply of "_INBOX.x.1"', Kind.REPLY, "_INBOX.x.1", ""),
        ('Permissions Violation for Subscription to "a.>"', Kind.SUBSCRIBE, "a.>", ""),
        ('Permissions Violation for Subscription to "a.*" using queue "q"', Kind.SUBSCRIBE, "a.*", "q"),
    ],
)
def test_what_is_not_permitted_is_named(said, kind, subject, queue):
    found = complaint.read(f"'{said}'".encode())
    assert (found.kind, found.subject, found.queue) == (kind, subject, queue)
    refusal = found.refusal()
    assert (refusal.code, refusal.status) == ("not_permitted", 403)
    assert subject in refusal.detail


@given(st.binary(max_size=600))
def test_any_complaint_is_read_and_bounded(said):
    found = complaint.read(said)
    assert len(found.text) <= complaint.DETAIL_LIMIT
    assert len(found.subject) <= complaint.DETAIL_LIMIT
