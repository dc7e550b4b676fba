"""Routes: the tenant is bound, a second copy has the same id, and what cannot be read is poison."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import route, stream, subject

ACME = ids.tenant_id("acme")
CONTEXT = contexts.Context(ACME, "c1", "a" * 32, "b" * 16)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def said(**changes: str) -> message_pb2.Message:
    fields = {
        "event_id": "e1",
        "tenant": "acme",
        "channel": "slack",
        "account": "acc1",
        "conversation": "room 7",
        "text": "hello",
    }
    return message_pb2.Message(**{**fields, **changes})


def test_a_message_is_made_ready_to_travel() -> None:
    outgoing = route.INBOUND.encode(CONTEXT, said())
    assert outgoing.stream == "MESSAGES_INBOUND"
    assert outgoing.subject == subject.inbound("acme", "slack", "acc1", "room 7")
    assert outgoing.key == "acme/acc1/room 7"
    assert outgoing.headers == {
        "tenant-id": "acme",
        "x-correlation-id": "c1",
        "correlation-id": "c1",
        "traceparent": CONTEXT.traceparent,
        "trace-id": "a" * 32,
        "Nats-Msg-Id": "acme:acc1:e1",
        "penstock-type": "penstock.v1.Message",
    }
    assert route.INBOUND.decode(outgoing.headers, outgoing.body) == said()


def test_a_message_of_another_tenant_than_the_bound_one_is_our_bug() -> None:
    for tenant in ("globex", "acme-2"):
        with pytest.raises(errors.Broken) as broken:
            route.INBOUND.encode(CONTEXT, said(tenant=tenant))
        assert broken.value.code == "foreign_tenant"


def test_a_message_without_a_tenant_is_rejected() -> None:
    with pytest.raises(errors.Rejected):
        route.INBOUND.encode(CONTEXT, said(tenant=""))


@given(texts, texts)
def test_law_two_events_share_an_id_only_when_they_are_one(first: str, second: str) -> None:
    ids_of = [route.INBOUND.encode(CONTEXT, said(event_id=event)).headers["Nats-Msg-Id"] for event in (first, second)]
    assert (ids_of[0] == ids_of[1]) == (first == second)
    assert all(each.startswith("acme:") and each.isascii() and " " not in each for each in ids_of)


@given(texts, texts)
def test_law_body_and_conversation_survive(text: str, conversation: str) -> None:
    message = said(text=text, conversation=conversation)
    outgoing = route.INBOUND.encode(CONTEXT, message)
    assert route.INBOUND.decode(outgoing.headers, outgoing.body) == message
    assert outgoing.key == f"acme/acc1/{conversation}"


def test_receipts_of_one_command_have_an_id_for_each_end() -> None:
    ends = {
        route.RECEIPT.encode(
            CONTEXT,
            outbound_pb2.Receipt(command_id="k", tenant="acme", account="a", conversation="c", status=status),
        ).headers["Nats-Msg-Id"]
        for status in outbound_pb2.ReceiptStatus.values()
    }
    assert len(ends) == len(outbound_pb2.ReceiptStatus.values())


def test_a_body_of_another_type_is_poison() -> None:
    headers = {"penstock-type": "penstock.v1.Receipt"}
    with pytest.raises(errors.Poisoned) as poisoned:
        route.INBOUND.decode(headers, said().SerializeToString())
    assert poisoned.value.code == "wrong_type"


def test_a_body_without_a_type_is_read_as_its_streams() -> None:
    assert route.INBOUND.decode({}, said().SerializeToString()) == said()


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a\x01\xff"])
def test_a_body_that_does_not_parse_is_poison(body: bytes) -> None:
    with pytest.raises(errors.Poisoned) as poisoned:
        route.INBOUND.decode({}, body)
    assert poisoned.value.code == "undecodable"


@given(st.binary(max_size=200))
def test_law_any_body_is_read_or_poison(body: bytes) -> None:
    for each in route.ROUTES:
        with contextlib.suppress(errors.Poisoned):
            assert isinstance(each.decode({}, body), each.message_type)


def test_every_route_has_a_name_of_its_own_and_a_stream_that_takes_it() -> None:
    assert len({each.name for each in route.ROUTES}) == len(route.ROUTES)
    for each in route.ROUTES:
        assert each.stream is None or each.stream in stream.STREAMS
