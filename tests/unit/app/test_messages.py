"""What of a tenant's conversations is listened to, and what strangers' messages are read as."""

import contextlib
import dataclasses
import datetime
import types
from typing import Any

import pytest

from penstock.app import messages
from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports, provision, route
from penstock.spine.adapters import spine_memory
from penstock.state import quarantine

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


class Installation:
    """As much of an installation as a speaker asks: an account, no command taken up, and a quarantine."""

    def __init__(self, *given_up: quarantine.Quarantined) -> None:
        self.tenancy = self.accounts = self.channels = self.quarantine = self
        self.database: Any = None
        self.given_up = given_up

    async def require_active(self, tenant: str) -> None:
        assert tenant == "acme"

    async def show(self, tenant: str, account: str) -> Any:
        return types.SimpleNamespace(account=types.SimpleNamespace(channel="webhook"))

    async def end(self, tenant: str, command_id: str) -> None:
        return None

    async def list(self, tenant: str, chosen: quarantine.Filter) -> list[quarantine.Quarantined]:
        assert (tenant, chosen.stream, chosen.redriven) == ("acme", "MESSAGES_OUTBOUND", False)
        return list(self.given_up)


def given_up(sequence: int) -> quarantine.Quarantined:
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    place = ("MESSAGES_OUTBOUND", "outbound_r1", "tenant.acme.messages.out.x", sequence, "acme:c")
    return quarantine.Quarantined(
        "acme", f"id-{sequence}", *place, {}, b"", "exhausted", "broken", "a bug of ours", 5, at, None, 0
    )


@pytest.mark.parametrize(("sequence", "state"), [(1, "quarantined"), (2, "running")])
async def test_words_that_were_given_up_are_not_waited_for(sequence, state):
    installed = Installation(given_up(sequence))
    async with contextlib.AsyncExitStack() as stack:
        spine = spine_memory.MemorySpine()
        stack.push_async_callback(spine.close)
        await provision.streams(spine)
        speaker = messages.Speaker(installed, spine)
        speaker._commands = installed
        found = await speaker.send("acme", messages.Words("acc-1", "room", "Hi"), wait_s=60 if sequence == 1 else 0.01)
    assert found.state == state
    if state == "quarantined":
        assert found.code == "broken"
        assert "penstock quarantine show id-1" in found.detail


def test_another_tenants_app_cannot_take_the_id_of_what_is_said():
    """A stream drops a second message of one id, whoever sent the first; ids that people choose can be guessed."""
    made = [
        messages._outgoing(ids.TenantId("acme"), messages._worded(ids.TenantId("acme"), "webhook", words))
        for words in (
            messages.Words("acc-1", "room", "Hi", id="order-1"),
            messages.Words("acc-1", "room", "Hi", id="order-1"),
            messages.Words("acc-2", "room", "Hi", id="order-1"),
            messages.Words("acc-1", "room", "Hi", id="order-2"),
        )
    ]
    found = [outgoing.headers[contexts.MESSAGE_ID] for outgoing in made]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert all(each.startswith("acme:") and "order" not in each for each in found)
    assert route.OUTBOUND.decode(made[0].headers, made[0].body).command_id == "order-1"
