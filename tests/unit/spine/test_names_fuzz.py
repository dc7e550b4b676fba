"""Whatever a tenant, an account, a room or an app is called: a builder refuses it, or keeps it inside its tenant."""

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import message as protobuf
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import heartbeat_pb2, membership_pb2, message_pb2, outbound_pb2, quarantine_pb2
from penstock.spine import access, consumer, payload, porter, route, stream, subject, suspects
from penstock.spine.adapters import acceptance, payload_upload
from tests.unit import names

TOKEN = re.compile(r"[A-Za-z0-9_-]+")
LIMIT_BYTES = 1 << 20

SUBJECTS: dict[str, tuple[Callable[..., str], int]] = {
    "inbound": (subject.inbound, 4),
    "outbound": (subject.outbound, 4),
    # The third part only chooses the partition.
    "receipts": (lambda tenant, account: subject.receipts(tenant, account, "room"), 2),
    "aggregate": (subject.aggregate, 3),
    "jobs": (subject.jobs, 2),
    "results": (subject.results, 2),
    "quarantine": (subject.quarantine, 3),
    "join": (subject.join, 1),
    "desk": (subject.desk, 2),
    "heartbeat": (subject.heartbeat, 2),
    "membership": (subject.membership, 2),
    "roll_call": (subject.roll_call, 1),
}
"""Builders of subjects that are published to, and how many names each is told."""

PATTERNS: dict[str, Callable[[str], str]] = {
    "conversations": lambda tenant: subject.conversations(tenant, "in"),
    "all_receipts": subject.all_receipts,
    "of_tenant": lambda tenant: subject.of_tenant("tenant.*.messages.in.>", tenant),
}
"""Builders of what one listens to, of one tenant."""

OF_NOBODY = {"heartbeats", "memberships", "conversation_partition", "tenant_of"}
"""Of no tenant, or no builder of subjects."""


def test_every_builder_of_subjects_is_tried() -> None:
    public = {
        name
        for name, each in vars(subject).items()
        if callable(each) and not name.startswith("_") and inspect.getmodule(each) is subject
    }
    assert public == {*SUBJECTS, *PATTERNS, *OF_NOBODY}


@pytest.mark.parametrize("name", SUBJECTS)
@given(st.data())
def test_law_a_subject_is_of_its_tenant_and_of_nothing_else(name: str, data: st.DataObject) -> None:
    builder, size = SUBJECTS[name]
    one, other = data.draw(names.tuples(size))
    built, too = names.built(builder, one), names.built(builder, other)
    for parts, made in ((one, built), (other, too)):
        if made is None:
            continue
        words = made.split(".")
        assert all(TOKEN.fullmatch(word) for word in words), made
        if words[0] == "tenant":
            assert (words[1], subject.tenant_of(made)) == (parts[0], parts[0])
        else:
            assert words[0] == "penstock"
    assert (built == too) == (one == other) or None in (built, too)


@pytest.mark.parametrize("name", PATTERNS)
@given(names.names, names.names, names.names)
def test_law_a_pattern_covers_one_tenant(name: str, tenant: str, other: str, room: str) -> None:
    pattern = names.built(PATTERNS[name], (tenant,))
    foreign = names.built(
        subject.receipts if name == "all_receipts" else subject.inbound,
        ((other, "acc-1", room) if name == "all_receipts" else (other, "webhook", "acc-1", room)),
    )
    if pattern is not None and foreign is not None:
        acceptance.pattern(pattern)
        assert stream.covers(pattern, foreign) == (tenant == other)


@given(names.names, names.names, names.names, names.names)
def test_law_a_chosen_conversation_is_that_one(channel: str, account: str, conversation: str, other: str) -> None:
    """An empty name means any; whatever else is named is one token, whatever it looks like."""
    if not (channel and account and conversation):
        return
    chosen = {"channel": channel, "account": account, "conversation": conversation}
    try:
        pattern = subject.conversations("acme", "in", **chosen)
    except errors.Rejected:
        return
    heard = subject.inbound("acme", channel, account, other)
    assert stream.covers(pattern, heard) == (conversation == other)


@given(names.tuples(2))
def test_law_durables_of_two_apps_share_no_name_and_no_message(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    policies = [names.built(consumer.of_app, parts) for parts in pair]
    known: list[set[str]] = []
    for parts, policy in zip(pair, policies, strict=True):
        if policy is None:
            continue
        durables = policy.durables()
        known.append({policy.name, *(each.name for each in durables)})
        assert all(TOKEN.fullmatch(name) for name in known[-1])
        assert {consumer.consumer_of(each.name) for each in durables} == {policy.name}
        assert porter.apps_of([each.name for each in durables]) == {parts[0]: {parts[1]}}
        filters = [pattern for each in durables for pattern in each.filters]
        assert all(pattern.startswith(f"tenant.{parts[0]}.messages.in.p") for pattern in filters)
    if len(known) == 2 and pair[0] != pair[1]:
        assert known[0].isdisjoint(known[1])


@given(names.tuples(2), st.integers(1, 1 << 60))
def test_law_a_suspect_is_written_down_under_a_key_of_its_apps_alone(
    pair: tuple[tuple[str, str], tuple[str, str]], sequence: int
) -> None:
    """The porter lets an app at keys that begin with its consumer's name and a dot."""
    one, other = (names.built(consumer.of_app, parts) for parts in pair)
    if one is None:
        return
    delivery = SimpleNamespace(stream=one.stream, sequence=sequence, at=datetime.now(UTC))
    key = suspects._key(one.name, delivery)  # type: ignore[arg-type]
    acceptance.key(key)
    assert key.startswith(f"{one.name}.")
    assert other is None or key.startswith(f"{other.name}.") == (pair[0] == pair[1])


@given(names.tuples(2))
def test_law_accounts_of_two_tenants_share_nothing(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    made = [names.built(lambda tenant, app: access.of_tenant(tenant, [app]), parts) for parts in pair]
    if None in made or pair[0][0] == pair[1][0]:
        return
    one, other = made
    assert one.name != other.name
    assert one.login != other.login
    assert {each.subject for each in one.imports}.isdisjoint(each.subject for each in other.imports)


@given(names.names, names.names)
def test_law_a_bucket_is_one_token_and_one_components(one: str, other: str) -> None:
    built = [names.built(payload.bucket_of, (component,)) for component in (one, other)]
    assert (built[0] == built[1]) == (one == other) or None in built
    for bucket in built:
        if bucket is not None:
            acceptance.bucket(bucket)
            name = payload.new_name("acme")
            for place in (payload_upload.chunk_subject(bucket, name), payload_upload.description_subject(bucket, name)):
                assert place.startswith(f"$O.{bucket}.")
                assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", word) for word in place.split(".")[1:])


@given(names.names, names.names, names.names)
def test_law_a_payload_is_its_tenants_alone(tenant: str, owner: str, name: str) -> None:
    def refused(stored: str) -> bool:
        reference = payload.Reference("jobs_x", stored, 0, "", datetime.now(UTC), b"")
        try:
            payload.check_owner(tenant, reference)
        except errors.Rejected:
            return True
        return False

    made = names.built(payload.new_name, (owner,))
    if made is not None:
        assert refused(made) == (tenant != owner)
    if not refused(name):
        assert TOKEN.fullmatch(name)
        assert name.startswith(f"{tenant}_")


text = names.names
messages: dict[str, st.SearchStrategy[protobuf.Message]] = {
    "inbound": st.builds(
        message_pb2.Message, tenant=text, channel=text, account=text, conversation=text, event_id=text
    ),
    "outbound": st.builds(
        outbound_pb2.SendCommand, tenant=text, channel=text, account=text, conversation=text, command_id=text
    ),
    "receipt": st.builds(
        outbound_pb2.Receipt, tenant=text, channel=text, account=text, conversation=text, command_id=text
    ),
    "quarantined": st.builds(
        quarantine_pb2.Quarantined, tenant=text, stream=text, consumer=text, sequence=st.integers(0, 9)
    ),
    "heartbeat": st.builds(heartbeat_pb2.Heartbeat, component=text, instance=text),
    "membership": st.builds(membership_pb2.Membership, consumer=text, instance=text),
}
IDENTITY = {
    "inbound": ("tenant", "account", "event_id"),
    "outbound": ("tenant", "command_id"),
    "receipt": ("tenant", "command_id"),
    "quarantined": ("tenant", "stream", "consumer", "sequence"),
    "heartbeat": ("component", "instance"),
    "membership": ("consumer", "instance"),
}
"""What makes a message the same one: two that differ in it have two ids."""


def test_every_route_is_tried() -> None:
    assert [each.name for each in route.ROUTES] == list(messages) == list(IDENTITY)


def _encoded(which: route.Route[Any], message: protobuf.Message) -> Any:
    try:
        made = which.encode(contexts.start(ids.tenant_id("acme")), message)
    except (errors.Rejected, errors.Broken):  # Broken: of another tenant than the one that is bound
        return None
    block = acceptance.message(made, LIMIT_BYTES)
    assert block.count(b"\r\n") == len(made.headers) + 2
    return made


@pytest.mark.parametrize("which", route.ROUTES, ids=[each.name for each in route.ROUTES])
@settings(max_examples=150)
@given(st.data())
def test_law_a_message_is_published_inside_its_tenant_under_an_id_of_its_own(
    which: route.Route[Any], data: st.DataObject
) -> None:
    one, other = data.draw(messages[which.name]), data.draw(messages[which.name])
    for message in (one, other):
        if "tenant" in IDENTITY[which.name] and data.draw(st.booleans()):
            message.tenant = "acme"  # type: ignore[attr-defined]
    made = [_encoded(which, message) for message in (one, other)]
    for outgoing in made:
        if outgoing is not None:
            assert outgoing.subject.startswith(("tenant.acme.", "penstock."))
            assert outgoing.headers[contexts.MESSAGE_ID].startswith(("acme:", "penstock:"))
    if None not in made:
        same = all(getattr(one, field) == getattr(other, field) for field in IDENTITY[which.name])
        assert (made[0].headers[contexts.MESSAGE_ID] == made[1].headers[contexts.MESSAGE_ID]) == same
