"""What of a tenant's conversations is listened to, and what strangers' messages are read as."""

import dataclasses

import pytest

from penstock.app import messages
from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports, route

CONTEXT = contexts.start(ids.TenantId("acme"), correlation_id="c-1")


def signal(known, message) -> ports.Signal:
    outgoing = known.encode(CONTEXT, message)
    return ports.Signal(outgoing.subject, outgoing.headers, outgoing.body)


def said(**more) -> message_pb2.Message:
    made = {"tenant": "acme", "channel": "webhook", "account": "acc-1", "conversation": "room/1", "event_id": "e-1"}
    return message_pb2.Message(**{**made, "text": "A dog", **more})


def test_patterns_are_as_narrow_as_the_choice():
    assert messages.Chosen("acme").patterns() == [
        "tenant.acme.messages.in.*.*.*.*",
        "tenant.acme.messages.out.*.*.*.*",
        "tenant.acme.receipts.*.*",
    ]
    chosen = messages.Chosen("acme", "webhook", "acc-1", "room/1", "in")
    (pattern,) = chosen.patterns()
    subject = signal(route.INBOUND, said()).subject.split(".")
    assert [token for token in pattern.split(".") if token != "*"] == [*subject[:4], *subject[5:]]
    assert messages.Chosen("acme", account="acc-1", direction="receipts").patterns() == ["tenant.acme.receipts.*.acc-1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "*"},
        {"tenant": "acme.>"},
        {"tenant": ""},
        {"account": "*"},
        {"account": "a.b"},
        {"channel": ">"},
        {"direction": "up"},
    ],
)
def test_a_choice_cannot_reach_beyond_its_tenant(wrong):
    with pytest.raises(errors.Rejected):
        messages.Chosen(**{"tenant": "acme", **wrong}).patterns()


def test_each_kind_is_read_as_what_it_is():
    command = outbound_pb2.SendCommand(
        command_id="c", tenant="acme", channel="webhook", account="acc-1", conversation="room/1", text="Hi", app="echo"
    )
    receipt = outbound_pb2.Receipt(
        command_id="c",
        tenant="acme",
        channel="webhook",
        account="acc-1",
        conversation="room/1",
        code="no",
        detail="why",
    )
    receipt.status = outbound_pb2.RECEIPT_STATUS_REJECTED
    heard = [
        messages.read(signal(known, message))
        for known, message in ((route.INBOUND, said()), (route.OUTBOUND, command), (route.RECEIPT, receipt))
    ]
    assert [(each.direction, each.kind, each.text, each.who) for each in heard] == [
        ("in", "message", "A dog", ""),
        ("out", "message", "Hi", "echo"),
        ("receipts", "rejected", "", ""),
    ]
    assert {(each.conversation, each.correlation_id, each.trace_id) for each in heard} == {
        ("room/1", "c-1", CONTEXT.trace_id)
    }


def test_what_cannot_be_read_is_passed_over():
    good = signal(route.INBOUND, said())
    assert messages.read(dataclasses.replace(good, body=b"\xff")) is None
    assert messages.read(dataclasses.replace(good, headers={})) is None
    assert messages.read(dataclasses.replace(good, subject="other.acme")) is None
    assert messages.read(dataclasses.replace(good, headers={**good.headers, "tenant-id": "globex"})) is None
    late = said()
    late.received_at.seconds = 10**15
    assert messages.read(signal(route.INBOUND, late)).at.year == 1970


def test_a_text_is_found_in_any_case_and_in_the_reason_of_a_refusal():
    heard = messages.read(signal(route.INBOUND, said(text="Ein STRASSE")))
    assert messages.Chosen("acme", text="straße").wants(heard)
    assert not messages.Chosen("acme", text="cat").wants(heard)
    assert messages.Chosen("acme", text="too long").wants(dataclasses.replace(heard, detail="Too long"))
    assert not messages.Chosen("acme", channel="slack").wants(heard)
    assert not messages.Chosen("acme", conversation="room/2").wants(heard)
