"""Policies survive the way into JetStream's words and back."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from penstock.spine import consumer, stream
from penstock.spine.adapters import nats_policies

durations = st.floats(0, 10**7).map(lambda value: round(value, 3))

streams = st.builds(
    stream.StreamPolicy,
    name=st.just("S"),
    subjects=st.lists(st.sampled_from(["tenant.*.a.>", "tenant.*.b.>"]), min_size=1, unique=True).map(tuple),
    purpose=st.text(max_size=10),
    retention=st.sampled_from(["limits", "workqueue"]),
    max_age_s=durations,
    max_bytes=st.integers(1, 1 << 50) | st.just(-1),
    discard=st.sampled_from(["old", "new"]),
    duplicate_window_s=durations,
    replicas=st.sampled_from([1, 3, 5]),
)
consumers = st.builds(
    consumer.ConsumerPolicy,
    name=st.just("c"),
    stream=st.just("S"),
    filter=st.sampled_from(["tenant.*.a.>", ">"]),
    concurrency=st.just(1),
    max_ack_pending=st.integers(1, 10_000),
    ack_wait_s=durations.filter(lambda value: value >= 1),
    max_deliver=st.integers(1, 10_000),
    deliver_new=st.booleans(),
)


@given(streams)
def test_law_a_stream_survives(policy: stream.StreamPolicy) -> None:
    back = nats_policies.stream_policy(nats_policies.stream_config(policy))
    assert back == dataclasses.replace(policy, outsiders=True)


@given(consumers)
def test_law_a_consumer_survives(policy: consumer.ConsumerPolicy) -> None:
    back = nats_policies.consumer_policy("S", nats_policies.consumer_config(policy))
    assert list(consumer.differences(policy, back)) == list(consumer.differences(back, policy)) == []
    assert back.deliver_new == policy.deliver_new


def test_every_policy_of_the_tables_survives() -> None:
    for policy in stream.STREAMS:
        back = nats_policies.stream_policy(nats_policies.stream_config(policy))
        assert list(stream.differences(policy, back)) == []
    for each in (*consumer.CONSUMERS, consumer.of_app("acme", "echo")):
        back = nats_policies.consumer_policy(each.stream, nats_policies.consumer_config(each))
        assert list(consumer.differences(each, back)) == []


def test_what_others_made_is_described_too() -> None:
    bare = nats_policies.stream_policy({"name": "theirs", "subjects": None})
    assert (bare.subjects, bare.max_bytes, bare.max_age_s) == ((), -1, 0.0)
    steered = {"name": "theirs", "allow_rollup_hdrs": True, "allow_msg_schedules": True, "allow_direct": True}
    assert nats_policies.stream_policy(steered).heeds == ("allow_rollup_hdrs", "allow_msg_schedules")
    several = {"name": "theirs", "filter_subjects": ["a", "b"], "max_ack_pending": -1, "ack_wait": 1}
    assert nats_policies.consumer_policy("S", several).filter == "a b"


def test_durations_are_nanoseconds() -> None:
    assert nats_policies.nanoseconds(1.5) == 1_500_000_000
    assert nats_policies.seconds(250_000_000) == 0.25
