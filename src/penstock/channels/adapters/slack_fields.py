"""The shape of what Slack posts, as types that msgspec checks while it decodes; null counts as not there.

Sources: https://docs.slack.dev/apis/events-api and the page of each event below https://docs.slack.dev/reference/events.
A field that is not here is ignored: Slack adds some all the time.
"""

from typing import Annotated, Final

import msgspec

TEXT_LENGTH: Final = 200_000
"""Characters of one text: the 40,000 that Slack keeps, each escaped."""

FILES: Final = 100
"""Files of one message."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]
Name = Annotated[str, msgspec.Meta(max_length=1024)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH)]
Kind = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}\Z")]
Ts = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,11}\.[0-9]{1,6}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Authorization(msgspec.Struct):
    """The installation of the app that an event is told to."""

    user_id: Id | None = None
    enterprise_id: Id | None = None
    is_bot: bool | None = None


class Envelope(msgspec.Struct):
    """Everything that is posted as JSON."""

    type: Kind
    event: msgspec.Raw = msgspec.Raw(b"{}")
    event_id: Id | None = None
    team_id: Id | None = None
    api_app_id: Id | None = None
    context_enterprise_id: Id | None = None
    authorizations: Annotated[list[Authorization], msgspec.Meta(max_length=100)] | None = None
    challenge: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None


class Head(msgspec.Struct):
    """What an event is; the rest of it is read once that is known."""

    type: Kind
    subtype: Kind | None = None


class BotProfile(msgspec.Struct):
    """The app behind a message."""

    name: Name | None = None


class File(msgspec.Struct):
    """A file by reference; what belongs to another organisation has an id and nothing else."""

    id: Id
    name: Name | None = None
    mimetype: Name | None = None
    size: Size | None = None
    url_private: Annotated[str, msgspec.Meta(max_length=2048)] | None = None


class Edited(msgspec.Struct):
    """That somebody changed a message."""

    user: Id | None = None


class Said(msgspec.Struct, kw_only=True):
    """A message, wherever it stands."""

    ts: Ts
    subtype: Kind | None = None
    user: Id | None = None
    bot_id: Id | None = None
    app_id: Id | None = None
    username: Name | None = None
    bot_profile: BotProfile | None = None
    text: Text | None = None
    thread_ts: Ts | None = None
    edited: Edited | None = None
    files: Annotated[list[File], msgspec.Meta(max_length=FILES)] | None = None


class New(Said, kw_only=True):
    """`message` and `app_mention`."""

    channel: Id
    channel_type: Kind | None = None


class Changed(msgspec.Struct, kw_only=True):
    """`message_changed`."""

    channel: Id
    ts: Ts
    message: Said
    previous_message: Said | None = None


class Deleted(msgspec.Struct, kw_only=True):
    """`message_deleted`."""

    channel: Id
    ts: Ts
    deleted_ts: Ts
    previous_message: Said | None = None


class Item(msgspec.Struct):
    """What a reaction is on: a message, or something that we do not follow."""

    type: Kind
    channel: Id | None = None
    ts: Ts | None = None


class Reacted(msgspec.Struct, kw_only=True):
    """`reaction_added` and `reaction_removed`: they have no `ts` of their own."""

    user: Id
    reaction: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    item: Item
    event_ts: Ts


class PinnedMessage(msgspec.Struct):
    """The message that was pinned."""

    ts: Ts


class PinnedItem(msgspec.Struct):
    """What was pinned."""

    type: Kind
    message: PinnedMessage | None = None


class Pinned(msgspec.Struct, kw_only=True):
    """`pin_added`."""

    user: Id
    channel_id: Id
    item: PinnedItem
    event_ts: Ts
