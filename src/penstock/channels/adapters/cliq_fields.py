"""The shape of what Zoho Cliq's handlers are given, as types that msgspec checks while it decodes; null is not there.

Sources: the objects below https://www.zoho.com/cliq/help/platform/cliq-objects.html and the samples of Zoho's
`zcatalyst-cli`. They do not agree everywhere (`tests/unit/channels/recorded/cliq/README.md` says where): what one of
them shows is taken. A field that is not here is ignored.
"""

from typing import Annotated, Final

import msgspec

TEXT_LENGTH: Final = 20_000
"""Characters of one text; people can write 5,000 of them, and mentions make them longer."""

FILES: Final = 100
"""Files of one message."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH)]
Name = Annotated[str, msgspec.Meta(max_length=1024)]
Kind = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}\Z")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+\Z")]
Id = Word | Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Ids are texts in the samples, and numbers in Zoho's types for Python."""
ChatId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,200}\Z")]
MessageId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}(?:(?:_|%20)[0-9]{1,20})?\Z")]
Millis = (
    Annotated[int, msgspec.Meta(ge=0, le=99_999_999_999_999)] | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,14}\Z")]
)
"""Milliseconds since 1970."""
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Handler(msgspec.Struct):
    """Which of a bot's handlers was called."""

    type: Kind


class Envelope(msgspec.Struct):
    """Everything that is posted; `params` is read once it is known which handler it is for."""

    handler: Handler
    params: msgspec.Raw
    type: Kind | None = None
    timestamp: Millis | None = None


class Organization(msgspec.Struct):
    """Whose network it is; not told with a direct message."""

    id: Id | None = None


class Access(msgspec.Struct):
    """Who called from where."""

    chat_id: ChatId | None = None
    parent_chat_id: ChatId | None = None
    message_id: MessageId | None = None
    organization: Organization | None = None


class User(msgspec.Struct):
    """A person, or a bot: the id of one begins with `b-`."""

    id: Id
    name: Name | None = None
    first_name: Name | None = None
    last_name: Name | None = None


class ParentChat(msgspec.Struct):
    """The channel that a thread is in."""

    id: ChatId
    channel_unique_name: Name | None = None


class Chat(msgspec.Struct):
    """Where it happened."""

    id: ChatId
    type: Kind | None = None
    chat_type: Kind | None = None
    channel_unique_name: Name | None = None
    parent_resource: ParentChat | None = None


class Dimensions(msgspec.Struct):
    """How large a file is."""

    size: Size | None = None


class File(msgspec.Struct):
    """A file by reference, as a message has it or as a handler's `attachments` do."""

    id: Word | None = None
    name: Name | None = None
    type: Name | None = None
    contenttype: Name | None = None
    url: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    dimensions: Dimensions | None = None


class Content(msgspec.Struct):
    """What a message with a file consists of."""

    text: Text | None = None
    comment: Text | None = None
    file: File | Name | None = None


class Replied(msgspec.Struct):
    """The message that another one answers."""

    id: MessageId | None = None


class Said(msgspec.Struct):
    """A message, as an object."""

    id: MessageId | None = None
    sender: User | None = None
    time: Millis | None = None
    text: Text | None = None
    comment: Text | None = None
    file: File | Name | None = None
    content: Content | Text | None = None
    replied_message: Replied | None = None


class Details(msgspec.Struct):
    """A message and its time: `message_details` of one handler, `data` of another."""

    message: Said | None = None
    time: Millis | None = None


class Params(msgspec.Struct):
    """What the handlers that hear messages are given."""

    access: Access | None = None
    user: User | None = None
    chat: Chat | None = None
    message: Said | Text | None = None
    message_details: Details | None = None
    attachments: Annotated[list[File], msgspec.Meta(max_length=FILES)] | None = None
    operation: Kind | None = None
    data: Details | None = None
