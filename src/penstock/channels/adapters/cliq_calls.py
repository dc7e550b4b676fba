"""Says which call of Zoho Cliq's REST API does what a command asks, and with which arguments.

Source: https://www.zoho.com/cliq/help/restapi/v2/messages/. Only documented arguments are sent; the same command always
gives the same bytes. Text is sent as it is, so `*bold*` and the like are formatted.
"""

import dataclasses
import re
from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.channels.adapters import cliq_places
from penstock.messages.v1 import message_pb2, outbound_pb2

TEXT_LENGTH: Final = 5000
"""Characters of a message."""

_MESSAGE_ID: Final = re.compile(r"[0-9]{1,20}(?:(?:_|%20)[0-9]{1,20})?")
_THREAD: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NAME: Final = re.compile(r"[a-z0-9_+-]{1,64}")
_URL: Final = re.compile(r"https?://[^\s\x00-\x1f\x7f]{1,2000}", re.IGNORECASE)
_encoder: Final = msgspec.json.Encoder(order="deterministic")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A request below the API's URL. `person`: whose copy of the message is asked for; `target`: what it changes."""

    method: str
    path: str
    arguments: dict[str, Any] = dataclasses.field(repr=False)
    person: str = ""
    target: str = ""

    def body(self) -> bytes:
        """The arguments as JSON."""
        return _encoder.encode(self.arguments) if self.arguments else b""


def call(command: outbound_pb2.SendCommand, bot: str) -> Call:
    """What to ask of Cliq. Raises Rejected naming the field when it could not be asked for that."""
    place, thread, relation = cliq_places.parse(command.conversation), _thread(command.thread), command.relation
    chat = thread or place.chat
    match relation.WhichOneof("kind"):
        case None | "reply":
            return _new(command, place, thread, bot)
        case "edit":
            return _change("PUT", chat, relation.edit.message_id, {"text": _text(command)})
        case "deletion":
            return _change("DELETE", chat, relation.deletion.message_id, {})
        case "reaction":
            return _react("POST", chat, relation.reaction)
        case "reaction_removed":
            return _react("DELETE", chat, relation.reaction_removed)
        case kind:
            raise errors.Rejected("unsupported", f"Cliq cannot be sent a {kind}", field="relation")


def _new(command: outbound_pb2.SendCommand, place: cliq_places.Place, thread: str, bot: str) -> Call:
    """A message: as the bot to one person or in a channel, else in the name of whoever the token belongs to."""
    arguments: dict[str, Any] = {"text": _text(command), "sync_message": True}
    if place.person:
        # Without `userids` it would go to everybody who has subscribed to the bot. It cannot answer a message.
        return Call("POST", f"/bots/{bot}/message", {**arguments, "userids": place.person}, person=place.person)
    answered = command.relation.reply.message_id
    if answered:  # an event may have come without one; what is said matters more than what it hangs on
        arguments["reply_to"] = _message_id(answered)
    if place.channel and not thread:
        return Call("POST", f"/channelsbyname/{place.channel}/message?bot_unique_name={bot}", arguments)
    return Call("POST", f"/chats/{thread or place.chat}/message", arguments)


def _change(method: str, chat: str, message_id: str, arguments: dict[str, Any]) -> Call:
    return Call(method, f"/chats/{chat}/messages/{_message_id(message_id)}", arguments, target=message_id)


def _react(method: str, chat: str, reaction: message_pb2.Reaction | message_pb2.ReactionRemoved) -> Call:
    name = reaction.name
    code = f":{name}:" if _NAME.fullmatch(name) else name
    if not 1 <= len(code) <= 100 or "\0" in code:
        raise errors.Rejected("unknown_emoji", "relation: Cliq takes an emoji or the name of one", field="relation")
    path = f"/chats/{chat}/messages/{_message_id(reaction.message_id)}/reactions"
    return Call(method, path, {"emoji_code": code}, target=reaction.message_id)


def _text(command: outbound_pb2.SendCommand) -> str:
    """The text and, a line each, links to the files. Raises Rejected when that is too long."""
    lines = [command.text] if command.text else []
    for number, file in enumerate(command.attachments):
        if not _URL.fullmatch(file.url):
            detail = f"attachments[{number}].url: Cliq is sent files as links, so it must be a URL"
            raise errors.Rejected("bad_attachment", detail, field="attachments")
        label = "".join(character for character in file.name if character.isprintable() and character not in "[]()")
        lines.append(f"[{label}]({file.url})" if label and ")" not in file.url else file.url)
    text = "\n".join(lines)
    if len(text) > TEXT_LENGTH:
        detail = f"text: {len(text)} characters with links, Cliq takes at most {TEXT_LENGTH}"
        raise errors.Rejected("too_long", detail, hint="Say it in several messages.", field="text")
    return text


def _thread(thread: str) -> str:
    if thread and not _THREAD.fullmatch(thread):
        raise errors.Rejected("bad_thread", "thread: must be the id of a thread's chat", field="thread")
    return thread


def _message_id(message_id: str) -> str:
    if not _MESSAGE_ID.fullmatch(message_id):
        raise errors.Rejected("bad_target", "this is not the id of a message on Cliq", field="relation.message_id")
    return message_id
