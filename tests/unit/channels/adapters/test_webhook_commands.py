"""Commands are written as the simulator expects them, and always as the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.adapters import webhook_commands
from penstock.channels.testing import webhook_platform
from penstock.messages.v1 import message_pb2, outbound_pb2


def command(**fields):
    return outbound_pb2.SendCommand(command_id="c-1", account="acc", conversation="room", text="hello", **fields)


def encoded(one):
    return json.loads(webhook_commands.encode(one))


def related(**relation):
    return command(relation=message_pb2.Relation(**relation))


@pytest.mark.parametrize(
    ("relation", "kind", "fields"),
    [
        ({}, "message.send", {}),
        ({"reply": {"message_id": "m"}}, "message.send", {"reply_to": "m"}),
        ({"edit": {"message_id": "m"}}, "message.edit", {"message_id": "m"}),
        ({"deletion": {"message_id": "m"}}, "message.delete", {"message_id": "m"}),
        ({"reaction": {"message_id": "m", "name": "+"}}, "reaction.add", {"message_id": "m", "reaction": "+"}),
        (
            {"reaction_removed": {"message_id": "m", "name": "+"}},
            "reaction.remove",
            {"message_id": "m", "reaction": "+"},
        ),
    ],
)
def test_every_relation_has_its_type(relation, kind, fields):
    body = encoded(related(**relation))
    assert body["type"] == kind
    assert body["data"] == {
        "command_id": "c-1",
        "account": "acc",
        "conversation": "room",
        "text": "hello",
        **fields,
    }
    data = webhook_platform.Command(**body["data"])
    assert webhook_platform.WebhookPlatform("run").fault(kind, data) == ""


def test_what_has_no_word_is_rejected():
    with pytest.raises(errors.Rejected) as caught:
        webhook_commands.encode(related(pin={"message_id": "m"}))
    assert caught.value.code == "unsupported"


def test_files_attributes_and_the_time_of_the_command_travel_along():
    one = command(
        attachments=[message_pb2.Attachment(name="f", url="https://x.y/f", size_bytes=7)], attributes={"a": "b"}
    )
    one.created_at.FromJsonString("2026-03-01T12:00:00.5Z")
    body = encoded(one)
    assert body["timestamp"] == "2026-03-01T12:00:00.500Z"
    assert body["data"]["attachments"] == [{"name": "f", "url": "https://x.y/f", "size_bytes": 7}]
    assert body["data"]["attributes"] == {"a": "b"}


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=5))
def test_any_text_survives_and_the_same_command_gives_the_same_bytes(text, attributes):
    one = outbound_pb2.SendCommand(command_id="c", text=text, attributes=attributes)
    again = outbound_pb2.SendCommand(command_id="c", text=text, attributes=dict(reversed(attributes.items())))
    raw = webhook_commands.encode(one)
    assert raw == webhook_commands.encode(again)
    assert json.loads(raw)["data"].get("text", "") == text
