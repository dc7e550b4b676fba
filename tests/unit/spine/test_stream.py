"""The table of streams, and what counts as a difference from it."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spine import stream

POLICY = stream.StreamPolicy("S", ("tenant.*.s.>",), "test", max_age_s=100.0, max_bytes=1000, duplicate_window_s=10.0)

words = st.sampled_from(["a", "b", "c"])
subjects = st.lists(words, min_size=1, max_size=4).map(".".join)
patterns = st.tuples(st.lists(words | st.just("*"), max_size=4), st.booleans()).map(
    lambda parts: ".".join([*parts[0], ">"] if parts[1] or not parts[0] else parts[0])
)


def test_names_are_unique_and_no_two_streams_share_a_subject() -> None:
    assert len({policy.name for policy in stream.STREAMS}) == len(stream.STREAMS)
    for one, other in itertools.combinations(stream.STREAMS, 2):
        for mine, theirs in itertools.product(one.subjects, other.subjects):
            assert not stream.covers(mine, theirs)
            assert not stream.covers(theirs, mine)


def test_every_stream_has_limits_and_says_what_it_is_for() -> None:
    for policy in stream.STREAMS:
        assert policy.purpose
        assert policy.max_age_s > 0
        assert policy.max_bytes > 0
        assert 0 < policy.duplicate_window_s <= policy.max_age_s
        assert policy.retention in {"limits", "workqueue"}
        assert policy.discard in {"old", "new"}
        ours = "$JS.EVENT.ADVISORY." if policy is stream.ADVISORIES else "tenant.*."
        assert all(subject.startswith(ours) for subject in policy.subjects)


def test_a_stream_does_not_differ_from_itself() -> None:
    for policy in stream.STREAMS:
        assert list(stream.differences(policy, policy)) == []


@pytest.mark.parametrize(
    ("field", "found", "says"),
    [
        ("subjects", ("tenant.*.t.>",), "S.subjects is tenant.*.t.>, wanted tenant.*.s.>"),
        ("subjects", (), "S.subjects is none, wanted tenant.*.s.>"),
        ("retention", "workqueue", "S.retention is workqueue, wanted limits"),
        ("discard", "new", "S.discard is new, wanted old"),
        ("replicas", 0, "S.replicas is 0, wanted at least 1"),
        ("max_age_s", 99.0, "S.max_age_s is 99, wanted at least 100"),
        ("max_bytes", 999, "S.max_bytes is 999, wanted at least 1000"),
        ("heeds", ("allow_rollup_hdrs",), "S.heeds is allow_rollup_hdrs, wanted none"),
        ("duplicate_window_s", 0.0, "S.duplicate_window_s is 0, wanted at least 10"),
    ],
)
def test_each_field_that_holds_less_is_told(field: str, found: Any, says: str) -> None:
    different = dataclasses.replace(POLICY, **{field: found})
    assert [str(difference) for difference in stream.differences(POLICY, different)] == [says]


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("subjects", ("tenant.*.t.>", "tenant.*.s.>")),
        ("subjects", (">",)),
        ("max_age_s", 101.0),
        ("max_age_s", 0.0),
        ("max_bytes", 1001),
        ("max_bytes", -1),
        ("duplicate_window_s", 11.0),
        ("replicas", 3),
        ("purpose", "another sentence"),
        ("outsiders", False),
    ],
)
def test_a_field_that_holds_more_is_no_difference(field: str, found: Any) -> None:
    assert list(stream.differences(POLICY, dataclasses.replace(POLICY, **{field: found}))) == []


def test_a_limit_does_not_hold_what_has_none() -> None:
    unlimited = dataclasses.replace(POLICY, max_bytes=-1, max_age_s=0.0)
    told = [difference.field for difference in stream.differences(unlimited, POLICY)]
    assert told == ["max_age_s", "max_bytes"]


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*", "*", True),
        ("a.*", "a.>", False),
        ("a.>", "a.*", True),
        ("a.>", "a.>", True),
        ("a.b", "a.*", False),
        ("a.*.c", "a.>", False),
    ],
)
def test_a_pattern_covers_what_it_matches(pattern: str, subject: str, covered: bool) -> None:
    assert stream.covers(pattern, subject) is covered


@given(patterns, patterns, subjects)
def test_law_what_a_covered_pattern_covers_is_covered(outer: str, inner: str, subject: str) -> None:
    if stream.covers(outer, inner) and stream.covers(inner, subject):
        assert stream.covers(outer, subject)


@given(patterns)
def test_law_every_pattern_covers_itself(pattern: str) -> None:
    assert stream.covers(pattern, pattern)
