"""Reads the JSON events of the signed webhook, strictly where we know a field and patiently where we do not.

The format is `docs/reference/webhook-channel.md`. Unknown fields are ignored and unknown types of event reported, so
that a platform may grow; whatever breaks a rule is refused naming the field, and a request is never half read.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_text, standard_webhooks, webhook_fields
from penstock.messages.v1 import message_pb2

BODY_BYTES: Final = 512 * 1024
"""Bytes of one request; the edge may allow less."""

T = TypeVar("T")
_JSON: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;.*)?", re.IGNORECASE | re.DOTALL)
_FAULT: Final = re.compile(r"(?P<rule>.*?)(?: - at `(?P<path>[^`]*)`(?: in `(?P<outer>[^`]*)`)?)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
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
    body = _decode(request)
    messages: list[message_pb2.Message] = []
    ignored: list[str] = []
    seen: set[str] = set()
    delivery = request.headers.get(standard_webhooks.ID, "")
    for index, (prefix, event) in enumerate(_events(body)):
        reader = _READERS.get(event.type)
        if reader is None:
            ignored.append(event.type)
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
    return ports.Reading(messages, ignored=ignored)


def _decode(request: ports.WebhookRequest) -> webhook_fields.Body:
    content_type = request.headers.get("content-type", "")
    if content_type != "application/json" and not _JSON.fullmatch(content_type):
        hint = "Send the header content-type: application/json."
        raise errors.Rejected(
            "wrong_content_type", "content-type must be JSON", hint=hint, status=415, field="content-type"
        )
    if len(request.body) > BODY_BYTES:
        raise errors.Rejected("too_large", f"the body must be at most {BODY_BYTES} bytes", status=413, field="body")
    try:
        text = request.body.decode("utf-8")
        body = _body.decode(text)
    except RecursionError:
        raise json_text.too_deep() from None
    except msgspec.ValidationError as error:
        raise _refusal(error, "") from None
    except (UnicodeDecodeError, msgspec.DecodeError):
        json_text.check_text(request.body)
        raise errors.Rejected("bad_json", "the body is not valid JSON", field="body") from None
    if json_text.is_suspicious(request.body):
        json_text.check_text(request.body)
    json_text.check_depth(request.body)
    return body


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
    data = _fields(_said, event.data, path)
    message = _said_message(data)
    message.message_id = data.message_id
    if data.reply_to:
        message.relation.reply.message_id = data.reply_to
    return message


def _edited(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = _fields(_said, event.data, path)
    message = _said_message(data)
    message.relation.edit.message_id = data.message_id
    return message


def _deleted(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = _fields(_change, event.data, path)
    message = _message(data, data.sender)
    message.relation.deletion.message_id = data.message_id
    return message


def _pinned(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = _fields(_change, event.data, path)
    message = _message(data, data.sender)
    message.relation.pin.message_id = data.message_id
    return message


def _reacted(event: webhook_fields.Event, path: str) -> message_pb2.Message:
    data = _fields(_reaction, event.data, path)
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


def _fields(decoder: "msgspec.json.Decoder[T]", data: msgspec.Raw, path: str) -> T:
    try:
        return decoder.decode(data)
    except RecursionError:
        raise json_text.too_deep() from None
    except msgspec.DecodeError as error:  # ValidationError among them
        raise _refusal(error, path) from None


def _refusal(error: msgspec.DecodeError, prefix: str) -> errors.Rejected:
    """The sentence of msgspec, which quotes types and lengths but no content, with the whole path of the field."""
    match = _FAULT.fullmatch(str(error))
    rule, inner = (match["rule"], match["outer"] or match["path"] or "") if match else ("is not valid", "")
    path = (prefix + inner.removeprefix("$")).lstrip(".") or "body"
    if missing := _MISSING.fullmatch(rule):
        path, rule = f"{path}.{missing[1]}".removeprefix("body."), "is missing"
    return errors.Rejected("bad_event", f"{path}: {rule[:1].lower()}{rule[1:200]}", field=path)


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
