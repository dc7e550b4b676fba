"""One fully populated message for each publish route, built from fixed values, and the context it is sent in."""

from google.protobuf import message as protobuf
from google.protobuf import timestamp_pb2

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import heartbeat_pb2, membership_pb2, message_pb2, outbound_pb2, quarantine_pb2

CONTEXT = contexts.Context(
    tenant=ids.tenant_id("acme"),
    correlation_id="0192f3a4b5c67d8e9f00112233445566",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    span_id="00f067aa0ba902b7",
    request_id="request-7",
)


def _at(second: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=1_767_225_600 + second, nanos=123_456_789)


_ATTACHMENT = message_pb2.Attachment(
    id="F024BERPE",
    name="Rechnung Nº 7.pdf",
    media_type="application/pdf",
    size_bytes=48_213,
    url="https://files.example.com/F024BERPE?download=1",
    vault_key="sha256/9f/9f86d081884c7d659a2feaa0c55ad015",
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)

MESSAGES: dict[str, protobuf.Message] = {
    "inbound": message_pb2.Message(
        event_id="1767225600.000100/edit",
        tenant="acme",
        channel="slack",
        account="acc_7hT2kQ9w",
        conversation="C024BE91L:général",
        thread="1767225590.000050",
        message_id="1767225600.000100",
        sender=message_pb2.Sender(id="U023BECGF", display_name="Zoë Müller", kind=message_pb2.SENDER_KIND_PERSON),
        text="Grüße aus 東京 🐟\nzweite Zeile",
        attachments=[_ATTACHMENT],
        relation=message_pb2.Relation(edit=message_pb2.Edit(message_id="1767225580.000010")),
        sent_at=_at(0),
        received_at=_at(1),
        attributes={"team": "T0001", "locale": "de-CH"},
    ),
    "outbound": outbound_pb2.SendCommand(
        command_id="cmd:0192f3a4b5c67d8e:1",
        tenant="acme",
        channel="slack",
        account="acc_7hT2kQ9w",
        conversation="C024BE91L:général",
        thread="1767225590.000050",
        text="You said: Grüße",
        relation=message_pb2.Relation(reply=message_pb2.Reply(message_id="1767225600.000100")),
        attachments=[_ATTACHMENT],
        expires_at=_at(3600),
        on_ambiguous=outbound_pb2.ON_AMBIGUOUS_REPORT,
        app="echo",
        cause_event_id="1767225600.000100/edit",
        created_at=_at(2),
        attributes={"unfurl": "false"},
        target_command_id="cmd:0192f3a4b5c67d8e:0",
    ),
    "receipt": outbound_pb2.Receipt(
        command_id="cmd:0192f3a4b5c67d8e:1",
        tenant="acme",
        channel="slack",
        account="acc_7hT2kQ9w",
        conversation="C024BE91L:général",
        status=outbound_pb2.RECEIPT_STATUS_REJECTED,
        message_id="1767225601.000200",
        attempts=3,
        ambiguous=True,
        code="channel_archived",
        detail="The conversation is archived.",
        at=_at(4),
        cause_event_id="1767225600.000100/edit",
    ),
    "quarantined": quarantine_pb2.Quarantined(
        tenant="acme",
        stream="MESSAGES_INBOUND",
        consumer="app_acme_echo",
        subject="tenant.acme.messages.in.p07.slack.acc_7hT2kQ9w.C024BE91L",
        sequence=18_446_744_073_709_551_615,
        headers=[
            quarantine_pb2.Header(name="Nats-Msg-Id", value="acme:acc_7hT2kQ9w:e1"),
            quarantine_pb2.Header(name="tenant-id", value="acme"),
        ],
        body=b"\x00\xff not protobuf",
        reason=quarantine_pb2.QUARANTINE_REASON_EXHAUSTED,
        code="handler_failed",
        detail="the handler raised ValueError",
        attempts=5,
        at=_at(5),
    ),
    "heartbeat": heartbeat_pb2.Heartbeat(
        component="core",
        instance="host-1_4242",
        state=heartbeat_pb2.HEARTBEAT_STATE_READY,
        at=_at(6),
        period_ms=2_000,
    ),
    "membership": membership_pb2.Membership(
        consumer="app_acme_echo", instance="0192f3a4b5c67d8e", ranges=[0, 3, 7], leaving=True
    ),
}
"""By the name of their route."""
