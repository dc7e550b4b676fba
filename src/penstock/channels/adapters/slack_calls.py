"""Says which method of Slack's Web API does what a command asks, and with which arguments.

Sources: the method pages below https://docs.slack.dev/reference/methods. Only documented arguments are sent; the same
command always gives the same bytes.
"""

import re
from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.channels.adapters import slack_emoji, slack_text
from penstock.messages.v1 import outbound_pb2

TEXT_LENGTH: Final = 40_000
"""Characters after which Slack cuts a message off."""

_TS: Final = re.compile(r"[0-9]{1,11}\.[0-9]{1,6}")
_URL: Final = re.compile(r"https?://[^\s\x00-\x1f\x7f]{1,2000}", re.IGNORECASE)
_encoder: Final = msgspec.json.Encoder(order="deterministic")


def encode(command: outbound_pb2.SendCommand) -> tuple[str, bytes]:
    """The method and the JSON of its arguments. Raises Rejected for what Slack could not be asked."""
    channel, relation = command.conversation, command.relation
    arguments: dict[str, Any]
    match relation.WhichOneof("kind"):
        case None:
            method, arguments = "chat.postMessage", _post(command, command.thread)
        case "reply":
            method, arguments = "chat.postMessage", _post(command, command.thread or relation.reply.message_id)
        case "edit":
            # By default an update is not read as markup, unlike a new message.
            arguments = {"ts": _ts(relation.edit.message_id), "text": _text(command), "parse": "none"}
            method = "chat.update"
        case "deletion":
            method, arguments = "chat.delete", {"ts": _ts(relation.deletion.message_id)}
        case "reaction":
            method, arguments = "reactions.add", _reaction(relation.reaction.message_id, relation.reaction.name)
        case "reaction_removed":
            removed = relation.reaction_removed
            method, arguments = "reactions.remove", _reaction(removed.message_id, removed.name)
        case kind:
            raise errors.Rejected("unsupported", f"Slack cannot be sent a {kind}", field="relation")
    return method, _encoder.encode({"channel": channel, **arguments})


def _post(command: outbound_pb2.SendCommand, thread_ts: str) -> dict[str, Any]:
    arguments = {"text": _text(command)}
    return {**arguments, "thread_ts": _ts(thread_ts)} if thread_ts else arguments


def _reaction(message_id: str, name: str) -> dict[str, Any]:
    return {"timestamp": _ts(message_id), "name": slack_emoji.name_of(name)}


def _text(command: outbound_pb2.SendCommand) -> str:
    """The text and, a line each, links to the files. Raises Rejected rather than let Slack cut it off."""
    lines = [slack_text.marked(command.text)] if command.text else []
    for number, file in enumerate(command.attachments):
        if not _URL.fullmatch(file.url):
            field = f"attachments[{number}].url"
            raise errors.Rejected("bad_attachment", f"{field}: Slack is sent files as links, so it must be a URL")
        lines.append(slack_text.link(file.url, file.name))
    text = "\n".join(lines)
    if len(text) > TEXT_LENGTH:
        detail = f"text: {len(text)} characters with escapes and links, Slack takes at most {TEXT_LENGTH}"
        raise errors.Rejected("too_long", detail, hint="Say it in several messages.", field="text")
    return text


def _ts(message_id: str) -> str:
    if not _TS.fullmatch(message_id):
        raise errors.Rejected("bad_target", "this is not the id of a message on Slack", field="relation.message_id")
    return message_id
