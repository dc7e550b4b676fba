"""The table of consumers: leases, attempts, names that never meet."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, ids
from penstock.spine import consumer, stream

POLICY = consumer.ConsumerPolicy("c", "S", "tenant.*.s.>", backoff_s=(0.1, 1.0, 5.0))

slugs = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)


def test_every_consumer_reads_a_stream_that_has_what_it_asks() -> None:
    by_name = {policy.name: policy for policy in stream.STREAMS}
    for policy in consumer.CONSUMERS:
        assert any(stream.covers(subject, policy.filter) for subject in by_name[policy.stream].subjects)
        ids.token(policy.name, "consumer")
        assert policy.max_deliver > 10 * policy.attempts
    assert len({(p.stream, p.name) for p in consumer.CONSUMERS}) == len(consumer.CONSUMERS)


@pytest.mark.parametrize(
    "changes",
    [
        {"concurrency": 0},
        {"concurrency": 257},
        {"max_ack_pending": 31},
        {"attempts": 0},
        {"backoff_s": ()},
        {"backoff_s": (-1.0,)},
        {"ack_wait_s": 0.5},
    ],
)
def test_a_policy_that_cannot_work_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.Rejected) as refused:
        dataclasses.replace(POLICY, **changes)
    assert refused.value.code == "bad_consumer"
    assert "consumer c" in refused.value.detail


def test_the_last_pause_repeats() -> None:
    assert [POLICY.pause_s(failures) for failures in (1, 2, 3, 4, 99)] == [0.1, 1.0, 5.0, 5.0, 5.0]


def test_an_app_has_a_durable_of_its_own_in_its_tenant_alone() -> None:
    policy = consumer.of_app("acme", "echo", concurrency=2, max_ack_pending=4)
    assert (policy.name, policy.stream, policy.filter) == (
        "app_acme_echo",
        "MESSAGES_INBOUND",
        "tenant.acme.messages.in.>",
    )
    assert (policy.concurrency, policy.max_ack_pending, policy.deliver_new) == (2, 4, True)


@pytest.mark.parametrize(("tenant", "app"), [("a_b", "c"), ("a", "b_c"), ("", "a"), ("a", ""), ("A", "b"), ("*", ">")])
def test_hostile_names_of_apps_are_rejected(tenant: str, app: str) -> None:
    with pytest.raises(errors.Rejected):
        consumer.of_app(tenant, app)


@given(slugs, slugs, slugs, slugs)
def test_law_two_apps_never_share_a_durable(tenant: str, app: str, other_tenant: str, other_app: str) -> None:
    same = consumer.of_app(tenant, app).name == consumer.of_app(other_tenant, other_app).name
    assert same == ((tenant, app) == (other_tenant, other_app))
    assert consumer.of_app(tenant, app).name not in {policy.name for policy in consumer.CONSUMERS}


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("stream", "T"),
        ("filter", "tenant.*.t.>"),
        ("max_ack_pending", 255),
        ("ack_wait_s", 31.0),
        ("max_deliver", 999),
    ],
)
def test_each_field_that_differs_is_told(field: str, found: Any) -> None:
    different = dataclasses.replace(POLICY, **{field: found})
    told = list(consumer.differences(POLICY, different))
    assert [str(each) for each in told] == [f"c.{field} is {found}, wanted {getattr(POLICY, field)}"]


@pytest.mark.parametrize(
    ("field", "found"), [("concurrency", 1), ("attempts", 9), ("backoff_s", (9.0,)), ("deadline_s", 1.0)]
)
def test_what_the_server_does_not_know_is_no_difference(field: str, found: Any) -> None:
    assert list(consumer.differences(POLICY, dataclasses.replace(POLICY, **{field: found}))) == []


def test_several_differences_are_told_together() -> None:
    fields = {"filter": ">", "max_ack_pending": 1024, "ack_wait_s": 60.0}
    for size in range(len(fields) + 1):
        for names in itertools.combinations(fields, size):
            different = dataclasses.replace(POLICY, **{name: fields[name] for name in names})
            assert [each.field for each in consumer.differences(POLICY, different)] == list(names)


@given(st.sampled_from([1, 2, 4, 8, 16, 64]), st.integers(0, ids.PARTITIONS - 1), st.integers(1, 2000))
def test_law_every_partition_is_in_exactly_one_range_and_shares_add_up(ranges: int, partition: int, held: int) -> None:
    policy = dataclasses.replace(POLICY, ranges=ranges, concurrency=1, max_ack_pending=held)
    durables = policy.durables()
    subject = f"tenant.acme.s.{ids.partition_token(partition)}.a"
    taking = [each for each in durables if any(stream.covers(pattern, subject) for pattern in each.filters)]
    assert [consumer.consumer_of(each.name) for each in taking] == ["c"]
    assert len({each.name for each in durables}) == ranges
    assert all(each.pin_timeout_s and not each.ranges for each in durables)
    assert sum(each.max_ack_pending for each in durables) <= max(held, ranges)


def test_a_consumer_without_ranges_is_its_own_durable() -> None:
    assert POLICY.durables() == (POLICY,)
    assert consumer.consumer_of("outbound") == "outbound"
    assert consumer.consumer_of("app_acme_r2-d2_r7") == "app_acme_r2-d2"


def test_order_matters_to_conversations() -> None:
    assert consumer.OUTBOUND.ranges == consumer.of_app("acme", "echo").ranges == consumer.RANGES
    assert consumer.QUARANTINE.ranges == consumer.ADVISORIES.ranges == 0
