"""What an acknowledgement says about the stream that gave it."""

import datetime

from penstock.spine import ports, stream
from penstock.state import course, flow, heads, limits

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def on_way(*numbers):
    """A course with these rows sent, and nothing known but that the stream is there."""
    one = course.Course("S", flow.Flow(window=8, capacity=100, attempts=3))
    assert one.flow.shut, "until somebody has verified the stream"
    one.flow.shut = False
    one.adopt(heads.Head(NOW))
    one.flow.reading()
    headers = [{"Nats-Msg-Id": f"acme:{number}"} for number in numbers]
    one.flow.add(
        flow.Row(NOW.date(), number, ports.Outgoing("S", "tenant.acme.s", f"k{number}", each, b""))
        for number, each in zip(numbers, headers, strict=True)
    )
    rows = [one.flow.take(0.0) for _ in numbers]
    return one, rows


def published(sequence, *, duplicate=False):
    return ports.Published("S", sequence, duplicate)


def test_the_head_is_the_highest_place_and_what_took_it():
    one, (first, second) = on_way(1, 2)
    assert (one.head, one.take_head()) == (heads.Head(NOW), None)
    assert one.acknowledged(second, published(8))
    assert one.acknowledged(first, published(7)), "answers may overtake each other"
    expected = heads.Head(NOW, 8, heads.digest({"Nats-Msg-Id": "acme:2"}))
    assert one.take_head() == one.head == expected
    assert one.take_head() is None, "recorded once"
    assert one.take_counts() == [("new", 2)]


def test_a_place_at_or_below_what_was_acknowledged_before_does_not_fit():
    one, (first, second, third) = on_way(1, 2, 3)
    assert one.acknowledged(first, published(10))
    second.above = third.above = one.last
    assert not one.acknowledged(second, published(10))
    assert not one.acknowledged(third, published(1))
    assert one.last == 10
    assert one.flow.unrecorded == 3, "they are there all the same, until the stream is refilled"


def test_what_the_stream_had_before_fits_wherever_it_is():
    one, (first, second) = on_way(1, 2)
    assert one.acknowledged(first, published(10))
    second.above = one.last
    assert one.acknowledged(second, published(3, duplicate=True))
    assert (one.last, one.take_counts()) == (10, [("new", 1), ("duplicate", 1)])
    assert one.take_counts() == []


def test_rows_are_kept_for_as_long_as_any_stream_that_they_fill_keeps_messages():
    longest = max(policy.max_age_s for policy in stream.STREAMS if policy is not stream.QUARANTINE)
    assert limits.PublisherLimits().keep_days * stream.DAY_S >= longest
