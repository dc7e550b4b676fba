"""What a plan tells apart: what can be changed, what would lose, what cannot, and whose durables are not ours."""

import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spine import consumer, plan, ports, stream

POLICY = stream.StreamPolicy("S", ("tenant.*.s.>",), "test", max_age_s=100.0, max_bytes=1000, duplicate_window_s=10.0)
READER = consumer.ConsumerPolicy("reader", "S", "tenant.*.s.>")
RANGED = consumer.ConsumerPolicy("ranged", "S", "tenant.*.s.>", ranges=8)
CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
STATE = ports.StreamState(CREATED, first=11, last=20, messages=10, size_bytes=500)


def durable(policy: consumer.ConsumerPolicy, *, waiting: int = 0, held: int = 0) -> ports.ConsumerState:
    return ports.ConsumerState(policy, 0, waiting, held)


def steps_for(found: plan.Found, *consumers: consumer.ConsumerPolicy, **changes: Any) -> list[plan.Step]:
    wanted = plan.Wanted((dataclasses.replace(POLICY, **changes),), consumers)
    return plan.steps(wanted, {"S": found})


def test_what_is_as_asked_needs_no_step() -> None:
    there = plan.Found(POLICY, STATE, tuple(map(durable, (READER, *RANGED.durables()))))
    assert steps_for(there, READER, RANGED) == []


def test_what_is_missing_is_created_with_all_its_durables() -> None:
    told = plan.steps(plan.Wanted((POLICY,), (READER, RANGED)), {})
    assert {step.verdict for step in told} == {plan.Verdict.CREATE}
    assert [step.name for step in told] == ["S", "S/reader", *(f"S/ranged_r{number}" for number in range(8))]


@pytest.mark.parametrize(
    ("field", "value", "verdict", "found", "wanted"),
    [
        ("subjects", ("tenant.*.s.>", "tenant.*.t.>"), "update", "tenant.*.s.>", "tenant.*.s.> tenant.*.t.>"),
        ("retention", "workqueue", "refused", "limits", "workqueue"),
        ("discard", "new", "update", "old", "new"),
        ("max_age_s", 200.0, "update", "100", "200"),
        ("max_age_s", 0.0, "update", "100", "none"),
        ("max_age_s", 50.0, "update", "100", "50"),
        ("max_bytes", 2000, "update", "1000", "2000"),
        ("max_bytes", -1, "update", "1000", "none"),
        ("max_bytes", 500, "update", "1000", "500"),
        ("max_bytes", 499, "loses", "1000", "499"),
        ("duplicate_window_s", 5.0, "update", "10", "5"),
        ("replicas", 3, "update", "1", "3"),
    ],
)
def test_each_field_has_its_verdict(field: str, value: Any, verdict: str, found: str, wanted: str) -> None:
    (step,) = steps_for(plan.Found(POLICY, STATE), **{field: value})
    assert (step.name, step.field, step.verdict, step.found, step.wanted) == ("S", field, verdict, found, wanted)


def test_what_an_age_would_drop_is_counted() -> None:
    (step,) = steps_for(plan.Found(POLICY, STATE, kept_from=15), max_age_s=50.0)
    assert (step.verdict, step.messages, step.size_bytes) == (plan.Verdict.LOSES, 4, 200)
    assert step.why == "drops about 4 messages, 200 bytes"
    (all_of_it,) = steps_for(plan.Found(POLICY, STATE, kept_from=21), max_age_s=50.0)
    assert all_of_it.messages == 10


def test_what_a_size_would_drop_is_counted_unless_the_stream_refuses() -> None:
    (step,) = steps_for(plan.Found(POLICY, STATE), max_bytes=320)
    assert (step.verdict, step.messages, step.size_bytes) == (plan.Verdict.LOSES, 4, 180)
    refuses = plan.Found(dataclasses.replace(POLICY, discard="new"), STATE)
    (kept,) = steps_for(refuses, max_bytes=320, discard="new")
    assert (kept.verdict, kept.messages) == (plan.Verdict.UPDATE, 0)


def test_no_limit_and_no_limit_are_the_same() -> None:
    assert steps_for(plan.Found(dataclasses.replace(POLICY, max_bytes=0), STATE), max_bytes=-1) == []


def test_a_subject_that_would_no_longer_be_taken_is_named() -> None:
    have = dataclasses.replace(POLICY, subjects=("tenant.*.s.>", "tenant.*.old"))
    (step,) = steps_for(plan.Found(have, STATE))
    assert step.why == "no longer taken: tenant.*.old"
    assert step.verdict is plan.Verdict.UPDATE


PEERS = (ports.Peer("b", True, 0), ports.Peer("c", False, 7))


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({}, False),
        ({"peers": PEERS}, False),
        ({"peers": tuple(dataclasses.replace(peer, current=True) for peer in PEERS)}, True),
        ({"peers": tuple(dataclasses.replace(p, current=True) for p in PEERS), "moving": "choosing servers"}, False),
    ],
)
def test_copies_that_are_under_way_are_waited_for(changes: Any, settled: bool) -> None:
    state = dataclasses.replace(STATE, **changes)
    told = steps_for(plan.Found(dataclasses.replace(POLICY, replicas=3), state), replicas=3)
    assert [step.verdict for step in told] == ([] if settled else [plan.Verdict.WAIT])
    assert plan.settled(state, 3) is settled


@pytest.mark.parametrize(
    ("field", "value"), [("max_ack_pending", 300), ("ack_wait_s", 31.0), ("max_deliver", 7), ("pin_timeout_s", 2.0)]
)
def test_a_durables_limits_can_be_changed(field: str, value: Any) -> None:
    have = dataclasses.replace(READER, **{field: value})
    (step,) = steps_for(plan.Found(POLICY, STATE, (durable(have, waiting=5),)), READER)
    assert (step.name, step.field, step.verdict) == ("S/reader", field, plan.Verdict.UPDATE)
    assert plan.durable_target(READER, have, [step]) == dataclasses.replace(READER, concurrency=1)


def test_a_filter_may_widen_and_loses_when_it_leaves_what_waits() -> None:
    narrow = dataclasses.replace(READER, filter="tenant.acme.s.>")
    (wider,) = steps_for(plan.Found(POLICY, STATE, (durable(narrow, waiting=5),)), READER)
    assert (wider.verdict, wider.messages) == (plan.Verdict.UPDATE, 0)
    (narrower,) = steps_for(plan.Found(POLICY, STATE, (durable(READER, waiting=5, held=2),)), narrow)
    assert (narrower.verdict, narrower.messages) == (plan.Verdict.LOSES, 7)
    (idle,) = steps_for(plan.Found(POLICY, STATE, (durable(READER),)), narrow)
    assert idle.verdict is plan.Verdict.UPDATE


def test_the_order_of_patterns_does_not_matter() -> None:
    have = dataclasses.replace(READER, filter="tenant.*.s.b tenant.*.s.a")
    asked = dataclasses.replace(READER, filter="tenant.*.s.a tenant.*.s.b")
    assert steps_for(plan.Found(POLICY, STATE, (durable(have),)), asked) == []


INBOUND = stream.MESSAGES_INBOUND
APP = consumer.of_app("acme", "echo", max_ack_pending=77)


def of_inbound(*durables: ports.ConsumerState) -> tuple[plan.Wanted, dict[str, plan.Found]]:
    return plan.Wanted((INBOUND,)), {INBOUND.name: plan.Found(INBOUND, STATE, durables)}


def test_an_apps_durables_are_held_to_the_table_but_for_what_it_may_hold() -> None:
    ours = APP.durables()
    assert plan.steps(*of_inbound(*map(durable, ours))) == []
    shorter = dataclasses.replace(ours[0], ack_wait_s=5.0)
    told = plan.steps(*of_inbound(durable(shorter), *map(durable, ours[1:])))
    assert [(step.durable, step.field, step.verdict) for step in told] == [(ours[0].name, "ack_wait_s", "update")]
    assert plan.strangers(*of_inbound(*map(durable, ours))) == []


def test_a_durable_that_nothing_asks_for_is_a_stranger_and_no_difference() -> None:
    old = dataclasses.replace(APP, name="app_acme_echo_r99", ranges=0)
    found = of_inbound(durable(old), durable(dataclasses.replace(old, name="mine")))
    assert plan.steps(*found) == []
    assert plan.strangers(*found) == ["MESSAGES_INBOUND/app_acme_echo_r99", "MESSAGES_INBOUND/mine"]


def test_what_loses_needs_permission_and_what_is_refused_never_gets_it() -> None:
    told = steps_for(plan.Found(POLICY, STATE), max_bytes=10, retention="workqueue", discard="old", max_age_s=500.0)
    may, left = plan.divided(told, allow_loss=False)
    assert ([step.field for step in may], [step.field for step in left]) == (["max_age_s"], ["retention", "max_bytes"])
    may, left = plan.divided(told, allow_loss=True)
    assert ([s.field for s in may], [s.field for s in left]) == (["max_age_s", "max_bytes"], ["retention"])


def test_what_headers_steer_is_for_whoever_switched_it_on() -> None:
    told = plan.steps(
        plan.Wanted((POLICY,)), {POLICY.name: plan.Found(dataclasses.replace(POLICY, heeds=("allow_msg_ttl",)), STATE)}
    )
    assert [(step.field, step.found, step.wanted, step.verdict) for step in told] == [
        ("heeds", "allow_msg_ttl", "none", plan.Verdict.REFUSED)
    ]


limits = st.sampled_from([-1, 0, 400, 500, 1000])
policies = st.builds(
    stream.StreamPolicy,
    st.just("S"),
    st.sampled_from([("tenant.*.s.>",), ("tenant.*.s.a", "tenant.*.s.b")]),
    st.just("test"),
    max_age_s=st.sampled_from([0.0, 50.0, 100.0]),
    max_bytes=limits,
    discard=st.sampled_from(["old", "new"]),
    duplicate_window_s=st.sampled_from([5.0, 10.0]),
)


@given(policies, policies)
def test_law_after_every_step_nothing_is_left_to_do(wanted: stream.StreamPolicy, have: stream.StreamPolicy) -> None:
    told = plan.steps(plan.Wanted((wanted,)), {"S": plan.Found(have, STATE, kept_from=15)})
    changed = plan.target(wanted, have, told)
    assert plan.steps(plan.Wanted((wanted,)), {"S": plan.Found(changed, STATE)}) == []


@given(policies, policies)
def test_law_what_holds_less_than_asked_is_always_a_step(
    wanted: stream.StreamPolicy, have: stream.StreamPolicy
) -> None:
    told = {step.field for step in plan.steps(plan.Wanted((wanted,)), {"S": plan.Found(have, STATE)})}
    assert {difference.field for difference in stream.differences(wanted, have)} <= told
