"""The shape of the signed webhook's events, as types that msgspec checks while it decodes.

The format is `docs/reference/webhook-channel.md`. A field that is not here is ignored, so that a platform may add some.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec

EVENTS: Final = 100
"""Events in one request."""

TEXT_LENGTH: Final = 40_000
"""Characters (Unicode code points) of one message's text."""

ID_LENGTH: Final = 256
"""Characters of an id, and of a name."""

ATTACHMENTS: Final = 20
"""Files of one message."""

ATTRIBUTES: Final = 32
"""Attributes of one event."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]
OptionalText = Annotated[str, msgspec.Meta(max_length=ID_LENGTH)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH)]
Url = Annotated[str, msgspec.Meta(max_length=2048, pattern=r"^https?://[!-~]+\Z")]
Kind = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}\Z")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Value = Annotated[str, msgspec.Meta(max_length=1024)]
Attributes = Annotated[dict[Key, Value], msgspec.Meta(max_length=ATTRIBUTES)]


class Sender(msgspec.Struct):
    """Who did it; a `kind` that is not known counts as unspecified."""

    id: Id
    display_name: OptionalText = ""
    kind: OptionalText = "person"


class Attachment(msgspec.Struct):
    """A file by reference."""

    url: Url
    id: OptionalText = ""
    name: OptionalText = ""
    media_type: OptionalText = ""
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


Attachments = Annotated[list[Attachment], msgspec.Meta(max_length=ATTACHMENTS)]


class Place(msgspec.Struct, kw_only=True):
    """What the data of every event has: where, about which message, and what else the platform says."""

    conversation: Id
    message_id: Id
    thread: OptionalText = ""
    attributes: Attributes = {}


class Change(Place, kw_only=True):
    """`message.deleted` and `message.pinned`: not every platform says who did it."""

    sender: Sender | None = None


class Reacted(Place, kw_only=True):
    """`reaction.added` and `reaction.removed`."""

    sender: Sender
    reaction: Id


class Said(Place, kw_only=True):
    """`message.created`, and `message.edited` with what the message says now."""

    sender: Sender
    text: Text = ""
    attachments: Attachments = []
    reply_to: OptionalText = ""


class Event(msgspec.Struct):
    """One event; its `data` is read once its type is known."""

    type: Kind
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: Id | None = None
    timestamp: Moment | None = None


class Body(msgspec.Struct):
    """A whole request: the fields of one event, or `events`."""

    type: Kind | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: Id | None = None
    timestamp: Moment | None = None
    events: Annotated[list[Event], msgspec.Meta(min_length=1, max_length=EVENTS)] | None = None
