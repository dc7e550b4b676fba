"""Writes a command as the call of a method of Telegram's, and says which other call may follow a refusal.

Source: https://core.telegram.org/bots/api#available-methods. Text is sent as it is, without markup.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.channels.adapters import telegram_events
from penstock.messages.v1 import message_pb2, outbound_pb2

CAPTION_LENGTH: Final = 1024
"""Characters of a text that goes with a file."""

_CHAT: Final = re.compile(r"-?[0-9]{1,16}")
_NAME: Final = re.compile(r"@[A-Za-z0-9_]{1,64}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")
_VARIATION: Final = "\ufe0f"
_MEDIA: Final = {
    "image/jpeg": ("sendPhoto", "photo"),
    "image/png": ("sendPhoto", "photo"),
    "image/webp": ("sendPhoto", "photo"),
    "image/gif": ("sendAnimation", "animation"),
    "video/mp4": ("sendVideo", "video"),
    "audio/mpeg": ("sendAudio", "audio"),
    "audio/mp4": ("sendAudio", "audio"),
    "audio/ogg": ("sendVoice", "voice"),
}
_encoder: Final = msgspec.json.Encoder(order="deterministic")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A method and its parameters; `target` is the message that it changes, empty when it makes one."""

    method: str
    parameters: Mapping[str, Any] = dataclasses.field(repr=False)
    target: str = ""

    def body(self) -> bytes:
        """The parameters as JSON; the same call always gives the same bytes."""
        return _encoder.encode(self.parameters)


def call(command: outbound_pb2.SendCommand) -> Call:
    """What to ask of Telegram. Raises Rejected naming the field when Telegram has no method for it."""
    chat, relation = _chat(command.conversation), command.relation
    match relation.WhichOneof("kind"):
        case None | "reply":
            return _new_message(chat, command)
        case "edit":
            if command.attachments:
                raise errors.Rejected("unsupported", "attachments: an edit changes the text only", field="attachments")
            return _change("editMessageText", chat, relation.edit.message_id, text=command.text)
        case "deletion":
            return _change("deleteMessage", chat, relation.deletion.message_id)
        case "reaction":
            wanted = [_reaction_type(relation.reaction.name)]
            return _change("setMessageReaction", chat, relation.reaction.message_id, reaction=wanted)
        case "reaction_removed":
            # A bot has one reaction to a message, so there is none to choose among.
            return _change("setMessageReaction", chat, relation.reaction_removed.message_id, reaction=[])
        case kind:
            raise errors.Rejected("unsupported", f"Telegram cannot be sent a {kind}", field="relation")


def moved(asked: Call, chat: int) -> Call | None:
    """The same message for the supergroup that its group has become; its own messages have other ids there."""
    if asked.target:
        return None
    kept = {name: value for name, value in asked.parameters.items() if name != "reply_parameters"}
    return Call(asked.method, {**kept, "chat_id": chat})


def captioned(asked: Call) -> Call | None:
    """The same edit for a message that is a file, whose text is its caption."""
    if asked.method != "editMessageText":
        return None
    parameters = {name: value for name, value in asked.parameters.items() if name != "text"}
    return Call("editMessageCaption", {**parameters, "caption": asked.parameters["text"]}, asked.target)


def _new_message(chat: int | str, command: outbound_pb2.SendCommand) -> Call:
    parameters: dict[str, Any] = {"chat_id": chat}
    if command.thread:
        parameters["message_thread_id"] = _number(command.thread, "thread")
    if command.relation.HasField("reply"):
        # What is said matters more than what it hangs on, which somebody may have deleted meanwhile.
        answered = _number(command.relation.reply.message_id, "relation.reply.message_id")
        parameters["reply_parameters"] = {"message_id": answered, "allow_sending_without_reply": True}
    if not command.attachments:
        return Call("sendMessage", {**parameters, "text": command.text})
    method, field, file = _file(command)
    if command.text:
        parameters["caption"] = command.text
    return Call(method, {**parameters, field: file})


def _file(command: outbound_pb2.SendCommand) -> tuple[str, str, str]:
    """Method, field and value for the file: a URL that Telegram fetches, or the id of a file that it has."""
    if len(command.attachments) > 1:
        raise errors.Rejected("unsupported", "attachments: Telegram takes one file a message", field="attachments")
    if len(command.text) > CAPTION_LENGTH:
        detail = f"text: {len(command.text)} characters, with a file Telegram takes at most {CAPTION_LENGTH}"
        raise errors.Rejected("unsupported", detail, field="text")
    file: message_pb2.Attachment = command.attachments[0]
    if not file.url and not file.id:
        raise errors.Rejected(
            "unsupported", "attachments[0]: Telegram needs a url or the id of a file that it has", field="attachments"
        )
    method, field = _MEDIA.get(file.media_type.partition(";")[0].strip().lower(), ("sendDocument", "document"))
    return method, field, file.url or file.id


def _change(method: str, chat: int | str, message_id: str, **parameters: Any) -> Call:
    number = _number(message_id, "relation.message_id")
    return Call(method, {"chat_id": chat, "message_id": number, **parameters}, message_id)


def _chat(conversation: str) -> int | str:
    if _CHAT.fullmatch(conversation):
        return int(conversation)
    if _NAME.fullmatch(conversation):
        return conversation
    hint = "Answer in the conversation that a message came from."
    raise errors.Rejected(
        "bad_conversation", "conversation: must be a chat's number or @name", hint=hint, field="conversation"
    )


def _number(value: str, field: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise errors.Rejected("bad_message_id", f"{field}: must be a number", field=field)
    return int(value)


def _reaction_type(name: str) -> dict[str, str]:
    """A reaction as Telegram writes it: its emoji have no variation selectors."""
    if name.startswith(telegram_events.CUSTOM_EMOJI):
        return {"type": "custom_emoji", "custom_emoji_id": name.removeprefix(telegram_events.CUSTOM_EMOJI)}
    return {"type": "emoji", "emoji": name.replace(_VARIATION, "")}
