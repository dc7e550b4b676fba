"""Reads the JSON events of the signed webhook, strictly where we know a field and patiently where we do not.

The format is `docs/reference/webhook-channel.md`. Unknown fields are ignored and events of unknown types kept as they
came, so that a platform may grow; whatever breaks a rule is refused naming the field, and a request is never half read.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_body, standard_webhooks, webhook_fields
from penstock.messages.v1 import message_pb2

BODY_BYTES: Final = json_body.BODY_BYTES
"""Bytes of one request; the edge may allow less."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 253402300799  # the end of the year 9999, where protobuf's Timestamp ends
_SENDER_KINDS: Final = {
    "person": message_pb2.SENDER_KIND_PERSON,
    "bot": message_pb2.SENDER_KIND_BOT,
    "system": message_pb2.SENDER_KIND_SYSTEM,
}


def read(request: ports.WebhookRequest) -> ports.Reading:
    """The messages of a verified request, in its order. Raises Rejected (400, 413, 415) naming the field and the rule.

    An event without an id of its own has that of the delivery (`webhook-id`), which stays the same when the platform
    delivers again; in a batch of several, followed by a full stop and its index.
    """
    body = json_body.read(_body, request)
    messages: list[message_pb2.Message] = []
    unknown: list[tuple[int, webhook_fields.Event]] = []
    seen: set[str] = set()
    delivery = request.headers.get(standard_webhooks.ID, "")
    for index, (prefix, event) in enumerate(_events(body)):
        reader = _READERS.get(event.type)
        if reader is None:
            unknown.append((index, event))
            continue
        message = reader(event, f"{prefix}data")
        message.event_id = event.id or (
            delivery if body.events is None or len(body.events) == 1 else f"{delivery}.{index}"
        )
        if not message.event_id or message.event_id in seen:
            rule = "must differ from the other events of the request" if message.event_id else "is missing"
            raise errors.Rejected("bad_event", f"{prefix}id {rule}", field=f"{prefix}id")
        seen.add(message.event_id)
        message.sent_at.seconds, message.sent_at.nanos = _moment(event, request, f"{prefix}timestamp")
        messages.append(message)
    return ports.Reading(messages, unknown=_unknown(request, body, unknown) if unknown else ())


def _unknown(
    request: ports.WebhookRequest, body: webhook_fields.Body, found: Sequence[tuple[int, webhook_fields.Event]]
) -> list[ports.UnknownEvent]:
    """Events of types that are not known, each as it stands in the body.

    Nothing is refused about them: an id that is missing, or that another one has, is made of the event itself.
    """
    raw = [request.body] if body.events is None else [bytes(one) for one in _batch.decode(request.body).events]
    kept: dict[str, ports.UnknownEvent] = {}
    for index, event in found:
        event_id = event.id or hashlib.sha256(raw[index]).hexdigest()
        if event_id in kept:
            event_id = f"{event_id}.{index}"
        kept[event_id] = ports.UnknownEvent(event_id, event.type, raw[index])
    return list(kept.values())


def _events(body: webhook_fields.Body) -> list[tuple[str, webhook_fields.Event]]:
    """Each event with the prefix of its path."""
    if body.events is None:
        if body.type is None:
            raise errors.Rejected("bad_event", "type is missing", field="type")
        return [("", webhook_fields.Event(body.type, body.data, body.id, body.timestamp))]
    if body.type is not None:
        raise errors.Rejected("bad_event", "a body has either type or events, not both", field="events")
    return [(f"events[{index}].", event) for index, event in enumerate(body.events)]


def _created(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = json_body.fields(_said, event.data, path)
    message = _said_message(data)
    message.message_id = data.message_id
    if data.reply_to:
        message.relation.reply.message_id = data.reply_to
    return message


def _edited(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = json_body.fields(_said, event.data, path)
    message = _said_message(data)
    message.relation.edit.message_id = data.message_id
    return message


def _deleted(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = json_body.fields(_change, event.data, path)
    message = _message(data, data.sender)
    message.relation.deletion.message_id = data.message_id
    return message


def _pinned(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = json_body.fields(_change, event.data, path)
    message = _message(data, data.sender)
    message.relation.pin.message_id = data.message_id
    return message


def _reacted(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = json_body.fields(_reaction, event.data, path)
    message = _message(data, data.sender)
    added = event.type == "reaction.added"
    reaction = message.relation.reaction if added else message.relation.reaction_removed
    reaction.message_id, reaction.name = data.message_id, data.reaction
    return message


def _said_message(data: webhook_fields.Said) -> message_pb2.Message:
    message = _message(data, data.sender)
    message.text = data.text
    for file in data.attachments:
        message.attachments.add(
            id=file.id, name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, url=file.url
        )
    return message


def _message(data: webhook_fields.Place, sender: webhook_fields.Sender | None) -> message_pb2.Message:
    message = message_pb2.Message(conversation=data.conversation, thread=data.thread)
    if data.attributes:
        message.attributes.update(data.attributes)
    if sender is not None:
        told = message.sender
        told.id, told.display_name = sender.id, sender.display_name
        told.kind = _SENDER_KINDS.get(sender.kind, message_pb2.SENDER_KIND_UNSPECIFIED)
    return message


def _moment(event: webhook_fields.Event, request: ports.WebhookRequest, path: str) -> tuple[int, int]:
    """When it happened, in seconds since 1970 and nanoseconds: as the event says, else when the request was signed."""
    if event.timestamp is None:
        signed = request.headers.get(standard_webhooks.TIMESTAMP, "")
        seconds, nanos = (int(signed), 0) if signed.isascii() and signed.isdigit() else (-1, 0)
    else:
        since = event.timestamp - _EPOCH
        seconds, nanos = since.days * 86400 + since.seconds, since.microseconds * 1000
    if not 0 <= seconds <= _LAST_SECOND:
        raise errors.Rejected("bad_event", f"{path} must be in the years 1970 to 9999", field=path)
    return seconds, nanos


class _Batch(msgspec.Struct):
    """A batch, event by event as it was written."""

    events: list[msgspec.Raw]


_batch: Final = msgspec.json.Decoder(_Batch)
_body: Final = msgspec.json.Decoder(webhook_fields.Body)
_said: Final = msgspec.json.Decoder(webhook_fields.Said)
_change: Final = msgspec.json.Decoder(webhook_fields.Change)
_reaction: Final = msgspec.json.Decoder(webhook_fields.Reacted)
_READERS: Final[Mapping[str, Callable[[webhook_fields.Event, str], message_pb2.Message]]] = {
    "message.created": _created,
    "message.edited": _edited,
    "message.deleted": _deleted,
    "message.pinned": _pinned,
    "reaction.added": _reacted,
    "reaction.removed": _reacted,
}
