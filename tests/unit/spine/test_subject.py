"""Subjects: one grammar, nothing of the outside gets in unescaped, and the tenant can always be read back."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, ids
from penstock.spine import stream, subject

GRAMMAR = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

anything = st.text(st.characters(codec=None), max_size=100)
slugs = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)?", fullmatch=True).filter(lambda value: len(value) <= ids.SLUG_LENGTH)
tokens = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


def test_a_conversation_has_its_place_in_a_partition() -> None:
    partition = ids.partition_token(subject.conversation_partition("acme", "acc1", "room 7"))
    encoded = ids.encode_token("room 7")
    assert subject.inbound("acme", "slack", "acc1", "room 7") == (
        f"tenant.acme.messages.in.{partition}.slack.acc1.{encoded}"
    )
    assert subject.outbound("acme", "slack", "acc1", "room 7") == (
        f"tenant.acme.messages.out.{partition}.slack.acc1.{encoded}"
    )
    assert subject.receipts("acme", "acc1", "room 7") == f"tenant.acme.receipts.{partition}.acc1"


def test_the_other_subjects() -> None:
    partition = ids.partition_token(ids.partition("acme", "order", "o.1"))
    assert subject.aggregate("acme", "order", "o.1") == (
        f"tenant.acme.aggregate.{partition}.order.{ids.encode_token('o.1')}"
    )
    assert subject.jobs("acme", "extract.pdf") == "tenant.acme.jobs.extract.pdf"
    assert subject.results("acme", "extract.pdf") == "tenant.acme.results.extract.pdf"
    assert subject.quarantine("acme", "RECEIPTS", "app_acme_echo") == "tenant.acme.quarantine.RECEIPTS.app_acme_echo"
    assert subject.heartbeat("core", "host-1_42") == "penstock.heartbeat.core.host-1_42"


@given(slugs, slugs, tokens, anything)
def test_law_whatever_a_conversation_is_called_its_subjects_keep_the_grammar(
    tenant: str, channel: str, account: str, conversation: str
) -> None:
    for built, policy in (
        (subject.inbound(tenant, channel, account, conversation), stream.MESSAGES_INBOUND),
        (subject.outbound(tenant, channel, account, conversation), stream.MESSAGES_OUTBOUND),
        (subject.receipts(tenant, account, conversation), stream.RECEIPTS),
    ):
        assert GRAMMAR.fullmatch(built)
        assert subject.tenant_of(built) == tenant
        assert [p.name for p in stream.STREAMS if any(stream.covers(s, built) for s in p.subjects)] == [policy.name]


@given(slugs, slugs, tokens, anything, anything)
def test_law_two_conversations_never_share_a_subject(
    tenant: str, channel: str, account: str, first: str, second: str
) -> None:
    same = subject.inbound(tenant, channel, account, first) == subject.inbound(tenant, channel, account, second)
    assert same == (first == second)


@given(slugs, tokens, anything)
def test_law_both_ways_of_a_conversation_are_in_one_partition(tenant: str, account: str, conversation: str) -> None:
    ways = [
        subject.inbound(tenant, "slack", account, conversation).split(".")[4],
        subject.outbound(tenant, "slack", account, conversation).split(".")[4],
        subject.receipts(tenant, account, conversation).split(".")[3],
    ]
    assert len(set(ways)) == 1
    assert re.fullmatch(r"p[0-6]\d", ways[0])


BAD = ["", "a.b", "*", ">", "a b", "a\r\nb", "a\0", "é", "../a", "$JS"]


@pytest.mark.parametrize("value", [*BAD, "ACME", "a_b", "a--b", "x" * 41])
def test_a_hostile_tenant_is_rejected_everywhere(value: str) -> None:
    builders: list[Callable[[], str]] = [
        lambda: subject.inbound(value, "slack", "a", "c"),
        lambda: subject.outbound(value, "slack", "a", "c"),
        lambda: subject.receipts(value, "a", "c"),
        lambda: subject.aggregate(value, "order", "1"),
        lambda: subject.jobs(value, "extract"),
        lambda: subject.results(value, "extract"),
        lambda: subject.quarantine(value, "S", "c"),
        lambda: subject.of_tenant("tenant.*.messages.in.>", value),
    ]
    for build in builders:
        with pytest.raises(errors.Rejected) as refused:
            build()
        assert refused.value.field == "tenant"


@pytest.mark.parametrize("value", BAD)
def test_other_hostile_tokens_are_rejected_by_name(value: str) -> None:
    for field, build in {
        "channel": lambda: subject.inbound("acme", value, "a", "c"),
        "account": lambda: subject.receipts("acme", value, "c"),
        "type": lambda: subject.aggregate("acme", value, "1"),
        "stream": lambda: subject.quarantine("acme", value, "c"),
        "consumer": lambda: subject.quarantine("acme", "S", value),
        "component": lambda: subject.heartbeat(value, "i"),
        "instance": lambda: subject.heartbeat("core", value),
    }.items():
        with pytest.raises(errors.Rejected) as refused:
            build()
        assert refused.value.field == field


@pytest.mark.parametrize("kind", ["", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b"])
def test_a_hostile_kind_of_job_is_rejected(kind: str) -> None:
    for build in (subject.jobs, subject.results):
        with pytest.raises(errors.Rejected) as refused:
            build("acme", kind)
        assert refused.value.field == "kind"


@pytest.mark.parametrize("value", ["", "tenant", "tenant.acme", "penstock.heartbeat.a.b", "tenant..x", "tenant.A.x"])
def test_a_subject_outside_every_tenant_has_no_tenant(value: str) -> None:
    with pytest.raises(errors.Rejected):
        subject.tenant_of(value)


def test_a_stream_is_narrowed_to_one_tenant() -> None:
    narrowed = subject.of_tenant("tenant.*.messages.in.>", "acme")
    assert narrowed == "tenant.acme.messages.in.>"
    assert stream.covers(narrowed, subject.inbound("acme", "slack", "a", "c"))
    assert not stream.covers(narrowed, subject.inbound("acme-2", "slack", "a", "c"))
