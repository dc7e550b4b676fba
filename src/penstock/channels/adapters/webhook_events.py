"""Reads the JSON events of the signed webhook, strictly where we know a field and patiently where we do not.

The format is `docs/reference/webhook-channel.md`. Unknown fields are ignored and unknown types of event reported, so
that a platform may grow; whatever breaks a rule is refused naming the field, and never half read.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from google.protobuf import timestamp_pb2

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_text, standard_webhooks
from penstock.messages.v1 import message_pb2

BODY_BYTES: Final = 512 * 1024
"""Bytes of one request; the edge may allow less."""

EVENTS: Final = 100
"""Events in one request."""

TEXT_LENGTH: Final = 40_000
"""Characters (Unicode code points) of one message's text."""

_ID_LENGTH: Final = 256

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=_ID_LENGTH)]
OptionalId = Annotated[str, msgspec.Meta(max_length=_ID_LENGTH)]
Name = Annotated[str, msgspec.Meta(max_length=_ID_LENGTH)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH)]
Url = Annotated[str, msgspec.Meta(max_length=2048, pattern=r"^https?://[!-~]+$")]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Value = Annotated[str, msgspec.Meta(max_length=1024)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Kind = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]


class SenderFields(msgspec.Struct):
    """Who did it; a kind that is not known counts as unspecified."""

    id: Id
    display_name: Name = ""
    kind: Name = "person"


class AttachmentFields(msgspec.Struct):
    """A file by reference."""

    url: Url
    id: OptionalId = ""
    name: Name = ""
    media_type: Name = ""
    size_bytes: Size = 0


Attributes = Annotated[dict[Key, Value], msgspec.Meta(max_length=32)]
Attachments = Annotated[list[AttachmentFields], msgspec.Meta(max_length=20)]


class Change(msgspec.Struct, kw_only=True):
    """Done to another message: what every event has."""

    conversation: Id
    message_id: Id
    thread: OptionalId = ""
    sender: SenderFields | None = None
    attributes: Attributes = {}


class Reacted(Change, kw_only=True):
    """`reaction.added`, `reaction.removed`."""

    sender: SenderFields  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    reaction: Id


class Edited(Change, kw_only=True):
    """`message.edited`: what the message says now."""

    sender: SenderFields  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    text: Text = ""
    attachments: Attachments = []


class Created(Edited, kw_only=True):
    """`message.created`."""

    reply_to: OptionalId = ""


class Event(msgspec.Struct):
    """One event; `data` is read once its type is known."""

    type: Kind
    data: msgspec.Raw
    id: Id | None = None
    timestamp: Moment | None = None


class Batch(msgspec.Struct):
    """Several events in one request."""

    events: Annotated[list[Event], msgspec.Meta(min_length=1, max_length=EVENTS)]


class _Probe(msgspec.Struct):
    """Tells one event from a batch."""

    events: msgspec.Raw | None = None


T = TypeVar("T")
_SENDER_KINDS: Final = {
    "person": message_pb2.SENDER_KIND_PERSON,
    "bot": message_pb2.SENDER_KIND_BOT,
    "system": message_pb2.SENDER_KIND_SYSTEM,
}
_probe: Final = msgspec.json.Decoder(_Probe)
_event: Final = msgspec.json.Decoder(Event)
_batch: Final = msgspec.json.Decoder(Batch)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
