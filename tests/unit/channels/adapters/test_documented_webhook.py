"""The reference page is true: its examples are read and written by the adapter, and its code checks our signatures."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from penstock.base import settings
from penstock.channels import ports
from penstock.channels.adapters import standard_webhooks, webhook_commands, webhook_events, webhook_fields
from penstock.channels.testing import webhook_platform, webhook_trial
from penstock.messages.v1 import message_pb2, outbound_pb2

PAGE = (Path(__file__).parents[4] / "docs/reference/webhook-channel.md").read_text("utf-8")
TO_US, FROM_US = PAGE.split("\n## From Penstock\n")
SECRET = settings.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def read(example):
    return webhook_events.read(webhook_trial.sign(example.encode(), SECRET, NOW)).messages


def test_the_event_of_the_reference_is_read_whole():
    (message,) = read(blocks(TO_US, "json")[0])
    assert (message.event_id, message.conversation, message.message_id) == ("evt-1", "room-7", "msg-1")
    assert message.sender.kind == message_pb2.SENDER_KIND_PERSON
    assert (message.text, message.thread) == ("Is anybody there?", "msg-0")
    assert message.relation.reply.message_id == "msg-0"
    assert message.attachments[0].size_bytes == 48213
    assert message.attributes == {"locale": "de-CH"}
    assert message.sent_at.ToJsonString() == "2026-03-01T12:00:00.250Z"


def test_the_batch_of_the_reference_is_read_whole():
    kinds = [message.relation.WhichOneof("kind") for message in read(blocks(TO_US, "json")[1])]
    assert kinds == ["edit", "reaction", "deletion"]


def test_every_type_that_is_read_is_in_the_reference():
    named = set(re.findall(r"`((?:message|reaction)\.[a-z]+)`", TO_US))
    assert named == set(webhook_events._READERS)


def test_the_command_of_the_reference_is_what_is_sent():
    example = blocks(FROM_US, "json")[0]
    document = json.loads(example)
    data = document["data"]
    fields = {name: value for name, value in data.items() if name != "reply_to"}
    command = outbound_pb2.SendCommand(**fields)
    command.relation.reply.message_id = data["reply_to"]
    command.created_at.FromJsonString(document["timestamp"])
    assert json.loads(webhook_commands.encode(command)) == document
    envelope = msgspec.json.decode(example, type=webhook_platform.Envelope)
    assert webhook_platform.WebhookPlatform("run").fault(envelope.type, envelope.data) == ""


def test_every_type_that_is_sent_is_in_the_reference():
    named = set(re.findall(r"`((?:message|reaction)\.[a-z]+)`", FROM_US))
    assert named == webhook_platform.CONTENT_KINDS == set(webhook_commands._TYPES.values())


@pytest.mark.parametrize(
    "rule",
    [
        f"at most {webhook_events.BODY_BYTES // 1024} KiB",
        f"at most {webhook_fields.EVENTS}, which",
        f"up to {webhook_fields.TEXT_LENGTH:,} characters",
        f"up to {webhook_fields.ATTACHMENTS}; `url`",
        f"up to {webhook_fields.ATTRIBUTES} texts",
        f"{standard_webhooks.TOLERANCE_S:g} seconds away",
    ],
)
def test_the_limits_of_the_reference_are_those_of_the_code(rule):
    assert rule in TO_US


def test_the_code_of_the_reference_checks_our_signatures():
    namespace = {}
    exec(blocks(FROM_US, "python")[0], namespace)  # what readers copy
    is_signed, now = namespace["is_signed"], NOW.timestamp()
    headers = standard_webhooks.sign(ports.Credentials((SECRET,)), "c-1", int(now), b"{}")
    assert is_signed(headers, b"{}", SECRET.reveal(), now)
    assert not is_signed(headers, b"[]", SECRET.reveal(), now)
    assert not is_signed(headers, b"{}", SECRET.reveal(), now + 301)
    assert not is_signed({}, b"{}", SECRET.reveal(), now)
