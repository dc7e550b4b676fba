"""Writes a command as the JSON that the signed webhook posts.

The format is `docs/reference/webhook-channel.md`. The same command always gives the same bytes, so that a resend is
recognisably the same request.
"""

from typing import Any, Final

import msgspec

from penstock.base import errors
from penstock.messages.v1 import outbound_pb2

_TYPES: Final = {
    None: "message.send",
    "reply": "message.send",
    "edit": "message.edit",
    "deletion": "message.delete",
    "reaction": "reaction.add",
    "reaction_removed": "reaction.remove",
}
_encoder: Final = msgspec.json.Encoder(order="deterministic")


def encode(command: outbound_pb2.SendCommand) -> bytes:
    """The body to post. Raises Rejected when the signed webhook has no word for what the command does."""
    kind = command.relation.WhichOneof("kind")
    if kind not in _TYPES:
        raise errors.Rejected("unsupported", f"the signed webhook cannot send a {kind}", field="relation")
    data = {
        "command_id": command.command_id,
        "account": command.account,
        "conversation": command.conversation,
        "thread": command.thread,
        "text": command.text,
        "app": command.app,
        "cause_event_id": command.cause_event_id,
        "attachments": [_attachment(file) for file in command.attachments],
        "attributes": dict(command.attributes),
        **_target(command, kind),
    }
    body: dict[str, Any] = {"type": _TYPES[kind], "data": {name: value for name, value in data.items() if value}}
    if command.HasField("created_at"):
        body["timestamp"] = command.created_at.ToJsonString()
    return _encoder.encode(body)


def _target(command: outbound_pb2.SendCommand, kind: str | None) -> dict[str, str]:
    """The message that the command is about: answered (`reply_to`), or changed (`message_id`)."""
    relation = command.relation
    match kind:
        case "reply":
            return {"reply_to": relation.reply.message_id}
        case "edit":
            return {"message_id": relation.edit.message_id}
        case "deletion":
            return {"message_id": relation.deletion.message_id}
        case "reaction":
            return {"message_id": relation.reaction.message_id, "reaction": relation.reaction.name}
        case "reaction_removed":
            removed = relation.reaction_removed
            return {"message_id": removed.message_id, "reaction": removed.name}
        case _:
            return {}


def _attachment(file: Any) -> dict[str, Any]:
    fields = {
        "id": file.id,
        "name": file.name,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
        "url": file.url,
        "sha256": file.sha256,
    }
    return {name: value for name, value in fields.items() if value}
