"""Reads what Slack posts: events, the question who answers at a URL, and the forms of commands and buttons.

Sources: https://docs.slack.dev/apis/events-api and the page of each event. Strict where we know a field, patient where
we do not; a kind that nobody here has heard of is kept as it came. What an app sees of it all is told in
`docs/how-to/channel-slack.md`.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import json_body, slack_emoji, slack_fields, slack_forms, slack_kinds, slack_text
from penstock.messages.v1 import message_pb2

BODY_BYTES: Final = 2 << 20
"""Bytes of one request (the edge may allow less): an edit holds a long text four times, in escapes of six bytes."""

_SLACKBOT: Final = "USLACKBOT"
_TOMBSTONE: Final = "tombstone"
_MESSAGE: Final = "message"
_URL: Final = re.compile(r"https?://[!-~]+")


def read(request: ports.WebhookRequest) -> ports.Reading:
    """What a verified request holds. Raises Rejected (400, 413, 415) naming the field and the rule."""
    if slack_forms.is_form(request):
        return slack_forms.read(request, limit_bytes=BODY_BYTES)
    envelope = json_body.read(_envelope, request, limit_bytes=BODY_BYTES)
    if envelope.type == "event_callback":
        return _event(envelope)
    if envelope.type == "url_verification":
        if envelope.challenge is None:
            raise errors.Rejected("bad_event", "challenge is missing", field="challenge")
        return ports.Reading(answer=ports.Answer(body=envelope.challenge.encode()))
    if envelope.type == "app_rate_limited":
        return ports.Reading(ignored=(envelope.type,))
    event_id = envelope.event_id or f"body-{hashlib.sha256(request.body).hexdigest()[:40]}"
    kept = slack_forms.powerless(request.body)
    return ports.Reading(unknown=(ports.UnknownEvent(event_id, envelope.type, kept),))


def _event(envelope: slack_fields.Envelope) -> ports.Reading:
    if envelope.event_id is None:
        raise errors.Rejected("bad_event", "event_id is missing", field="event_id")
    head = json_body.fields(_head, envelope.event, "event")
    kind = f"{_MESSAGE}.{head.subtype}" if head.type == _MESSAGE and head.subtype else head.type
    reader = _READERS.get(kind)
    if reader is not None:
        message = reader(envelope, kind)
        if message is None:
            return ports.Reading(ignored=(kind,))
        if not message.event_id:
            message.event_id = envelope.event_id
        return ports.Reading((message,))
    if head.type in slack_kinds.EVENTS or (head.type == _MESSAGE and head.subtype in slack_kinds.SUBTYPES):
        return ports.Reading(ignored=(kind,))
    kept = slack_forms.powerless(bytes(envelope.event))
    return ports.Reading(unknown=(ports.UnknownEvent(envelope.event_id, kind, kept),))


def _new(envelope: slack_fields.Envelope, kind: str) -> message_pb2.Message:
    """A message. Its place is its event id: who names the app in a channel that it listens to causes two events."""
    data = json_body.fields(_new_fields, envelope.event, "event")
    message = _message(envelope, data.channel, data.ts)
    message.event_id, message.message_id = f"{data.channel}/{data.ts}", data.ts
    _tell(message, envelope, data)
    if message.thread:
        message.relation.reply.message_id = message.thread
    if data.channel_type == "im":
        message.attributes["channel_type"] = data.channel_type
    if kind == "message.me_message":
        message.attributes["subtype"] = "me_message"
    return message


def _changed(envelope: slack_fields.Envelope, kind: str) -> message_pb2.Message | None:
    """An edit, unless no text changed: previews, replies and pins change messages too."""
    del kind
    data = json_body.fields(_changed_fields, envelope.event, "event")
    after, before = data.message, data.previous_message
    message = _message(envelope, data.channel, data.ts)
    if after.subtype == _TOMBSTONE:  # what is left of a message whose thread lives on
        message.relation.deletion.message_id = after.ts
        _author(message, envelope, before)
        return message
    if after.edited is None if before is None else (before.text or "") == (after.text or ""):
        return None
    message.relation.edit.message_id = after.ts
    _tell(message, envelope, after)
    return message


def _deleted(envelope: slack_fields.Envelope, kind: str) -> message_pb2.Message:
    """A deletion: whoever did it is not told, so its sender is the author of what was taken back."""
    del kind
    data = json_body.fields(_deleted_fields, envelope.event, "event")
    message = _message(envelope, data.channel, data.ts)
    message.relation.deletion.message_id = data.deleted_ts
    _author(message, envelope, data.previous_message)
    return message


def _reacted(envelope: slack_fields.Envelope, kind: str) -> message_pb2.Message | None:
    """A reaction to a message."""
    data = json_body.fields(_reacted_fields, envelope.event, "event")
    if data.item.type != _MESSAGE:
        return None
    if data.item.channel is None or data.item.ts is None:
        field = "event.item.channel" if data.item.channel is None else "event.item.ts"
        raise errors.Rejected("bad_event", f"{field} is missing", field=field)
    message = _message(envelope, data.item.channel, data.event_ts)
    relation = message.relation
    reaction = relation.reaction if kind == "reaction_added" else relation.reaction_removed
    reaction.message_id, reaction.name = data.item.ts, slack_emoji.character_of(data.reaction)
    message.attributes["reaction_name"] = data.reaction
    _user(message, envelope, data.user)
    return message


def _pinned(envelope: slack_fields.Envelope, kind: str) -> message_pb2.Message | None:
    """A pinned message."""
    del kind
    data = json_body.fields(_pinned_fields, envelope.event, "event")
    if data.item.type != _MESSAGE:
        return None
    if data.item.message is None:
        raise errors.Rejected("bad_event", "event.item.message is missing", field="event.item.message")
    message = _message(envelope, data.channel_id, data.event_ts)
    message.relation.pin.message_id = data.item.message.ts
    _user(message, envelope, data.user)
    return message


def _message(envelope: slack_fields.Envelope, channel: str, ts: str) -> message_pb2.Message:
    """What every event has: where, when, and whose workspace it is."""
    message = message_pb2.Message(conversation=channel)
    seconds, _, fraction = ts.partition(".")
    message.sent_at.seconds, message.sent_at.nanos = int(seconds), int(f"{fraction:0<6}") * 1000
    installed = envelope.authorizations[0] if envelope.authorizations else slack_fields.Authorization()
    for name, value in (
        ("team_id", envelope.team_id),
        ("enterprise_id", envelope.context_enterprise_id or installed.enterprise_id),
        ("bot_user_id", _own_user(envelope)),
    ):
        if value:
            message.attributes[name] = value
    return message


def _tell(message: message_pb2.Message, envelope: slack_fields.Envelope, said: slack_fields.Said) -> None:
    """Who said what, with which files."""
    message.text = slack_text.plain(said.text or "")
    _author(message, envelope, said)
    for file in said.files or ():
        url = file.url_private or ""
        message.attachments.add(
            id=file.id,
            name=file.name or "",
            media_type=file.mimetype or "",
            size_bytes=file.size or 0,
            url=url if _URL.fullmatch(url) else "",
        )


def _author(message: message_pb2.Message, envelope: slack_fields.Envelope, said: slack_fields.Said | None) -> None:
    """Who wrote a message, and in which thread. The root of a thread is not inside it."""
    if said is None:
        return
    if said.thread_ts and said.thread_ts != said.ts:
        message.thread = said.thread_ts
    _user(message, envelope, said.user or said.bot_id or "")
    # An app may also write in a person's name: what this one wrote must not be taken for somebody's answer to it.
    ours = said.app_id is not None and said.app_id == envelope.api_app_id
    if said.bot_id or ours or said.subtype == "bot_message":
        message.sender.kind = message_pb2.SENDER_KIND_BOT
    profile = said.bot_profile.name if said.bot_profile else None
    message.sender.display_name = said.username or profile or ""


def _user(message: message_pb2.Message, envelope: slack_fields.Envelope, user: str) -> None:
    """Somebody by id: we and Slackbot are bots. Other bots look like people where no message says more."""
    if user:
        message.sender.id = user
        own = user in (_SLACKBOT, _own_user(envelope))
        message.sender.kind = message_pb2.SENDER_KIND_BOT if own else message_pb2.SENDER_KIND_PERSON


def _own_user(envelope: slack_fields.Envelope) -> str:
    """The app's own bot user, where Slack says who that is."""
    for one in envelope.authorizations or ():
        if one.is_bot and one.user_id:
            return one.user_id
    return ""


_envelope: Final = msgspec.json.Decoder(slack_fields.Envelope)
_head: Final = msgspec.json.Decoder(slack_fields.Head)
_new_fields: Final = msgspec.json.Decoder(slack_fields.New)
_changed_fields: Final = msgspec.json.Decoder(slack_fields.Changed)
_deleted_fields: Final = msgspec.json.Decoder(slack_fields.Deleted)
_reacted_fields: Final = msgspec.json.Decoder(slack_fields.Reacted)
_pinned_fields: Final = msgspec.json.Decoder(slack_fields.Pinned)
_READERS: Final[Mapping[str, Callable[[slack_fields.Envelope, str], message_pb2.Message | None]]] = {
    "message": _new,
    "message.bot_message": _new,
    "message.file_share": _new,
    "message.me_message": _new,
    "message.thread_broadcast": _new,
    "message.message_changed": _changed,
    "message.message_deleted": _deleted,
    "app_mention": _new,
    "reaction_added": _reacted,
    "reaction_removed": _reacted,
    "pin_added": _pinned,
}
