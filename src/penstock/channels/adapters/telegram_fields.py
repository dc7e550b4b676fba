"""The shape of Telegram's updates, as types that msgspec checks while it decodes.

Source: https://core.telegram.org/bots/api#available-types, of which only what is read stands here: a field that is not
here is ignored. Names that people give themselves are as long as they like and are cut short, not refused: what is
refused stays with Telegram for a day, and holds up everything newer of its chat.
"""

from typing import Annotated, Final

import msgspec

TEXT_LENGTH: Final = 40_000
"""Characters of one message's text. Telegram's own limit is 4096; rich ones may be longer."""

FILE_ID_LENGTH: Final = 1024

Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""Ids of people and chats have at most 52 significant bits."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
UnixTime = Annotated[int, msgspec.Meta(ge=0, le=253402300799)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH)]
FileId = Annotated[str, msgspec.Meta(min_length=1, max_length=FILE_ID_LENGTH)]


class User(msgspec.Struct):
    """A person or a bot (#user)."""

    id: Number
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""


class Chat(msgspec.Struct):
    """Where something was said, or on whose behalf (#chat)."""

    id: Number
    type: str = ""
    title: str = ""


class File(msgspec.Struct):
    """A file of any kind (#document, #voice and their like), or one size of a photo (#photosize)."""

    file_id: FileId
    file_name: str = ""
    mime_type: str = ""
    file_size: Count = 0
    width: Count = 0
    height: Count = 0


class Target(msgspec.Struct):
    """A message that another one answers or pins, whole or inaccessible (#maybeinaccessiblemessage)."""

    message_id: Number


class Message(msgspec.Struct, rename={"sender": "from"}, kw_only=True):
    """A message, a post, or a new version of either (#message)."""

    message_id: Number
    date: UnixTime
    chat: Chat
    sender: User | None = None
    sender_chat: Chat | None = None
    message_thread_id: Number = 0
    is_topic_message: bool = False
    reply_to_message: Target | None = None
    edit_date: UnixTime = 0
    media_group_id: str = ""
    author_signature: str = ""
    text: Text = ""
    caption: Text = ""
    photo: list[File] = []
    animation: File | None = None
    audio: File | None = None
    document: File | None = None
    sticker: File | None = None
    video: File | None = None
    video_note: File | None = None
    voice: File | None = None
    pinned_message: Target | None = None


class ReactionType(msgspec.Struct):
    """One reaction (#reactiontype)."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    emoji: Annotated[str, msgspec.Meta(max_length=64)] = ""
    custom_emoji_id: Annotated[str, msgspec.Meta(max_length=64)] = ""


Reactions = Annotated[list[ReactionType], msgspec.Meta(max_length=100)]


class Reacted(msgspec.Struct):
    """Somebody's reactions to a message, before and after (#messagereactionupdated)."""

    chat: Chat
    message_id: Number
    date: UnixTime
    old_reaction: Reactions
    new_reaction: Reactions
    user: User | None = None
    actor_chat: Chat | None = None
