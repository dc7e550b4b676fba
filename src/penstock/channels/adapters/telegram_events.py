"""Reads one update of Telegram as what people said and did in their chats.

Source: https://core.telegram.org/bots/api#update. An update holds one thing; only reactions may be several: people
change all of theirs at once.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_body, telegram_fields, telegram_kinds
from penstock.messages.v1 import message_pb2

NAME_LENGTH: Final = 256
"""Characters of a name that are kept: of a person, a chat, a file."""

VALUE_LENGTH: Final = 1024
"""Characters of an attribute that are kept."""

CUSTOM_EMOJI: Final = "custom_emoji:"
"""What the name of a reaction begins with that is one of a set's pictures and not a character; its id follows."""


@dataclasses.dataclass(slots=True)
class _Found:
    """What an update turned out to hold, while it is read."""

    messages: list[message_pb2.Message] = dataclasses.field(default_factory=list[message_pb2.Message])
    ignored: list[str] = dataclasses.field(default_factory=list[str])
    unknown: list[str] = dataclasses.field(default_factory=list[str])
    about: str = ""
    """Chat and message that the update is about; empty where nobody here can read them."""


def read(request: ports.WebhookRequest) -> ports.Reading:
    """What a verified request holds. Raises Rejected (400, 413, 415) naming the field and the rule.

    The event's id is that of the update, a slash, and the chat and the message that it is about: all of them stay the
    same when Telegram delivers again. The first alone would not do: each bot counts its own updates, and begins at a
    random number again after a week without any. Where one update changes several reactions, a full stop and the index
    of the change follow.
    """
    update = json_body.read(_update, request)
    raw_id = update.pop("update_id", None)
    if raw_id is None or not update:
        field = "update" if raw_id is not None else "update_id"
        raise errors.Rejected("bad_event", f"{field}: is missing", field=field)
    update_id, found = json_body.fields(_number, raw_id, "update_id"), _Found()
    for kind, data in update.items():
        if kind in telegram_kinds.SAID or kind in telegram_kinds.EDITED:
            _read_message(kind, data, found)
        elif kind == telegram_kinds.REACTED:
            reacted = json_body.fields(_reacted, data, kind)
            changes = list(_reactions(reacted))
            found.about = f"{reacted.chat.id}/{reacted.message_id}"
            found.messages.extend(changes)
            found.ignored.extend([] if changes else [kind])
        else:
            (found.ignored if kind in telegram_kinds.UNINTERESTING else found.unknown).append(kind)
    event_id = f"{update_id}/{found.about or hashlib.sha256(request.body).hexdigest()[:16]}"
    for index, message in enumerate(found.messages):
        message.event_id = event_id if len(found.messages) == 1 else f"{event_id}.{index}"
    # Besides its id, an update has at most one field; should that change, one record still keeps the whole.
    kept = [ports.UnknownEvent(event_id, _shown(found.unknown[0]), request.body)] if found.unknown else []
    return ports.Reading(found.messages, ignored=found.ignored, unknown=kept)


def _read_message(kind: str, data: msgspec.Raw, found: _Found) -> None:
    """Add what a message, a post or a new version of either says, or what it is when it says nothing."""
    said = json_body.fields(_message, data, kind)
    found.about = f"{said.chat.id}/{said.message_id}"
    if said.pinned_message is not None:
        found.messages.append(_pinned(said, said.pinned_message))
        return
    message = _said(said)
    if not said.text and not message.attachments and not _read_unusual(kind, data, message, found):
        return
    if kind in telegram_kinds.EDITED:
        message.ClearField("message_id")
        if not said.message_id:  # only one person saw it, and nobody can name it
            found.ignored.append(f"{kind}.ephemeral")
            return
        message.relation.edit.message_id = str(said.message_id)
        message.sent_at.seconds = said.edit_date or said.date
    found.messages.append(message)


def _read_unusual(kind: str, data: msgspec.Raw, message: message_pb2.Message, found: _Found) -> bool:
    """Whether what is neither text nor file is something that a person sent; then its notable fields are attributes."""
    whole = json_body.fields(_whole, data, kind)
    for name, notable in telegram_kinds.CONTENT.items():
        if name in whole:
            message.attributes["content"] = name
            for field in notable:
                _set_attribute(message, field, whole[name])
            return True
    for name in whole:
        if name in telegram_kinds.SERVICE:
            found.ignored.append(f"{kind}.{name}")
            return False
    strange = [name for name in whole if name not in telegram_kinds.PLAIN]
    found.unknown.append(".".join([kind, *strange[:1]]))
    return False


def _set_attribute(message: message_pb2.Message, field: str, content: Any) -> None:
    value: Any = cast("dict[str, Any]", content).get(field) if isinstance(content, dict) else None
    if isinstance(value, str | int | float):
        message.attributes[field] = str(value)[:VALUE_LENGTH]


def _said(said: telegram_fields.Message) -> message_pb2.Message:
    """The message in its conversation, with its text and files."""
    message = _message_in(said.chat, said.date)
    _set_sender(message.sender, said.sender, said.sender_chat)
    message.message_id = str(said.message_id) if said.message_id else ""
    message.text = said.text or said.caption
    # In other groups the number tells replies to replies apart, and is of no use for sending.
    topic = said.message_thread_id if said.is_topic_message else 0
    message.thread = str(topic) if topic else ""
    target = said.reply_to_message
    # Whatever is said in a topic "answers" the message that opened it; that is where it stands and no answer.
    if target is not None and target.message_id and target.message_id != topic:
        message.relation.reply.message_id = str(target.message_id)
    _add_files(message, said)
    for name in ("media_group_id", "author_signature"):
        if value := getattr(said, name):
            message.attributes[name] = value[:VALUE_LENGTH]
    return message


def _add_files(message: message_pb2.Message, said: telegram_fields.Message) -> None:
    """The message's file by its id: a URL would need the bot's token in it, so there is none."""
    if said.photo:
        largest = max(said.photo, key=lambda size: (size.width * size.height, size.file_size))
        message.attachments.add(id=largest.file_id, media_type="image/jpeg", size_bytes=largest.file_size)
        message.attributes["content"] = "photo"
        return
    for name in telegram_kinds.FILES:
        file: telegram_fields.File | None = getattr(said, name)
        if file is not None:
            message.attachments.add(
                id=file.file_id,
                name=file.file_name[:NAME_LENGTH],
                media_type=file.mime_type[:NAME_LENGTH],
                size_bytes=file.file_size,
            )
            message.attributes["content"] = name
            return  # an animation comes again as a document, for old bots


def _pinned(said: telegram_fields.Message, target: telegram_fields.Target) -> message_pb2.Message:
    message = _message_in(said.chat, said.date)
    _set_sender(message.sender, said.sender, said.sender_chat)
    message.relation.pin.message_id = str(target.message_id)
    return message


def _reactions(reacted: telegram_fields.Reacted) -> Iterator[message_pb2.Message]:
    """One message for each reaction that was taken back, then one for each that was put on."""
    old = dict.fromkeys(_name(reaction) for reaction in reacted.old_reaction)
    new = dict.fromkeys(_name(reaction) for reaction in reacted.new_reaction)
    target = str(reacted.message_id)
    for name in old:
        if name not in new:
            message = _changed(reacted)
            message.relation.reaction_removed.message_id, message.relation.reaction_removed.name = target, name
            yield message
    for name in new:
        if name not in old:
            message = _changed(reacted)
            message.relation.reaction.message_id, message.relation.reaction.name = target, name
            yield message


def _changed(reacted: telegram_fields.Reacted) -> message_pb2.Message:
    message = _message_in(reacted.chat, reacted.date)
    _set_sender(message.sender, reacted.user, reacted.actor_chat)
    return message


def _name(reaction: telegram_fields.ReactionType) -> str:
    if reaction.custom_emoji_id:
        return f"{CUSTOM_EMOJI}{reaction.custom_emoji_id}"
    return reaction.emoji or reaction.type


def _message_in(chat: telegram_fields.Chat, unix_time: int) -> message_pb2.Message:
    message = message_pb2.Message(conversation=str(chat.id))
    message.sent_at.seconds = unix_time
    if chat.type:
        message.attributes["chat_type"] = chat.type[:VALUE_LENGTH]
    return message


def _set_sender(
    sender: message_pb2.Sender, user: telegram_fields.User | None, on_behalf_of: telegram_fields.Chat | None
) -> None:
    """Who wrote it. Where a chat speaks, the user that Telegram names is made up, and says that it is a bot."""
    if on_behalf_of is not None:
        sender.id, sender.display_name = str(on_behalf_of.id), on_behalf_of.title[:NAME_LENGTH]
        # A group speaks through an administrator who hides; through a channel, bots speak too.
        if on_behalf_of.type != "channel":
            sender.kind = message_pb2.SENDER_KIND_PERSON
    elif user is not None:
        sender.id = str(user.id)
        sender.display_name = f"{user.first_name} {user.last_name}".strip()[:NAME_LENGTH]
        sender.kind = message_pb2.SENDER_KIND_BOT if user.is_bot else message_pb2.SENDER_KIND_PERSON


def _shown(kind: str) -> str:
    """A name that nobody has heard of, as it may stand in a row and a log line."""
    return ascii(kind)[1:-1][:100]


_update: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number: Final = msgspec.json.Decoder(telegram_fields.Count)
_message: Final = msgspec.json.Decoder(telegram_fields.Message)
_whole: Final = msgspec.json.Decoder(dict[str, Any])
_reacted: Final = msgspec.json.Decoder(telegram_fields.Reacted)
