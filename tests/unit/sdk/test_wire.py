"""Whatever travels can be read, and what is read says the same."""

from datetime import UTC, datetime

import hypothesis
import pytest
from hypothesis import strategies

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2
from penstock.sdk import dispatch, wire
from penstock.sdk.model import Attachment, Kind, Sender, SenderKind

TEXT = strategies.text(max_size=20)
CONTEXT = contexts.start(ids.TenantId("acme"))


class NoEffects:
    """Nothing is sent here."""

    async def send(self, effect):
        raise AssertionError(effect)


@strategies.composite
def events(draw: strategies.DrawFn) -> message_pb2.Message:
    """Any event, with any relation or none, times or none, and kinds of sender this build does not know."""
    event = message_pb2.Message(
        event_id=draw(TEXT),
        tenant="acme",
        text=draw(TEXT),
        message_id=draw(TEXT),
        sender=message_pb2.Sender(id=draw(TEXT), display_name=draw(TEXT)),
        attributes=draw(strategies.dictionaries(TEXT, TEXT, max_size=2)),
    )
    event.sender.MergeFromString(b"\x18" + bytes([draw(strategies.integers(0, 9))]))
    relation = draw(strategies.sampled_from(["", "reply", "edit", "deletion", "reaction", "reaction_removed", "pin"]))
    if relation:
        getattr(event.relation, relation).message_id = draw(TEXT)
    if draw(strategies.booleans()):
        event.sent_at.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    if draw(strategies.booleans()):
        event.received_at.FromDatetime(datetime(2026, 1, 3, tzinfo=UTC))
    return event


@hypothesis.given(events())
def test_any_event_can_be_read(event: message_pb2.Message) -> None:
    message = dispatch.read(CONTEXT, event, NoEffects())
    assert (message.text, message.id, message.event_id) == (event.text, event.message_id, event.event_id)
    assert message.attributes == dict(event.attributes)
    assert (message.kind is Kind.MESSAGE) == (event.relation.WhichOneof("kind") in {None, "reply"})
    assert message.sent_at.tzinfo is not None
    assert message.kind is not Kind.UNKNOWN


def test_a_relation_of_a_newer_build_is_unknown_and_not_a_message() -> None:
    event = message_pb2.Message(text="?")
    event.relation.MergeFromString(b"\xfa\x01\x00")
    assert wire.kind(event) is Kind.UNKNOWN


def test_a_time_stands_in_for_one_that_is_missing() -> None:
    sent, received = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    event = message_pb2.Message()
    event.received_at.FromDatetime(received)
    assert wire.times(event) == (received, received)
    event.sent_at.FromDatetime(sent)
    assert wire.times(event) == (sent, received)
    event.ClearField("received_at")
    assert wire.times(event) == (sent, sent)


@hypothesis.given(TEXT, TEXT, strategies.sampled_from(SenderKind))
def test_a_sender_comes_back_as_it_went(id_: str, name: str, kind: SenderKind) -> None:
    back = wire.sender(message_pb2.Message(sender=wire.sent_by(Sender(id_, name, kind))))
    assert back == Sender(id_, name or id_, kind)


@hypothesis.given(TEXT, TEXT, TEXT, strategies.integers(0, 2**62))
def test_a_file_comes_back_as_it_went(name: str, url: str, media_type: str, size_bytes: int) -> None:
    file = Attachment(name, url, media_type, size_bytes, "f1", "key", "ab" * 32)
    assert wire.attachments(message_pb2.Message(attachments=[wire.attachment(file)])) == (file,)


def test_nothing_of_a_message_can_be_changed() -> None:
    message = dispatch.read(CONTEXT, message_pb2.Message(text="hello"), NoEffects())
    for name in ("text", "kind", "raw", "correlation_id", "anything"):
        with pytest.raises(AttributeError):
            setattr(message, name, "other")
    assert message.text == "hello"
