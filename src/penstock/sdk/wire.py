"""Translates between an author's plain types and the protobuf messages that travel. Pure.

What the wire may hold one day and this build does not know becomes UNKNOWN, never an error: a newer core may run
before a newer app.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf import timestamp_pb2

from penstock.base import errors
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sdk.model import Act, Attachment, Effect, Kind, OnAmbiguous, Sender, SenderKind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS: Final = 1_000_000_000
# Tuples: to look into a set or a table, Python computes the hash of an enumeration's member, which is slow.
_WITH_WORDS: Final = (Act.REPLY, Act.SAY, Act.EDIT)
_OF_OWN: Final = (Act.EDIT, Act.DELETION)
_KINDS: Final = {
    None: Kind.MESSAGE,
    "reply": Kind.MESSAGE,
    "edit": Kind.EDIT,
    "deletion": Kind.DELETION,
    "reaction": Kind.REACTION,
    "reaction_removed": Kind.REACTION_REMOVED,
    "pin": Kind.PIN,
}
_SENDERS: Final = {
    message_pb2.SENDER_KIND_PERSON: SenderKind.PERSON,
    message_pb2.SENDER_KIND_BOT: SenderKind.BOT,
    message_pb2.SENDER_KIND_SYSTEM: SenderKind.SYSTEM,
}
_RESEND: Final = outbound_pb2.ON_AMBIGUOUS_RESEND
_REPORT: Final = outbound_pb2.ON_AMBIGUOUS_REPORT


def kind(event: message_pb2.Message) -> Kind:
    """What happened. A relation without a kind in it is one that this build does not know."""
    if not event.HasField("relation"):
        return Kind.MESSAGE
    return _KINDS[event.relation.WhichOneof("kind")] if event.relation.WhichOneof("kind") else Kind.UNKNOWN


def target(event: message_pb2.Message) -> str:
    """The platform's id of the message that the event does something to, or answers; else empty."""
    which = event.relation.WhichOneof("kind") if event.HasField("relation") else None
    return getattr(event.relation, which).message_id if which else ""


def reaction(event: message_pb2.Message) -> str:
    """The emoji that was put on or taken off; else empty."""
    if not event.HasField("relation"):
        return ""
    return event.relation.reaction.name or event.relation.reaction_removed.name


def sender(event: message_pb2.Message) -> Sender:
    """Who it was."""
    known = event.sender
    return Sender(known.id, known.display_name or known.id, _SENDERS.get(known.kind, SenderKind.UNKNOWN))


def sent_by(sender: Sender) -> message_pb2.Sender:
    """Somebody as they travel; the way back of `sender`."""
    kinds = {known: number for number, known in _SENDERS.items()}
    number = kinds.get(sender.kind, message_pb2.SENDER_KIND_UNSPECIFIED)
    return message_pb2.Sender(id=sender.id, display_name=sender.name, kind=number)


def attachments(event: message_pb2.Message) -> tuple[Attachment, ...]:
    """The files that came with it."""
    if not event.attachments:
        return ()
    return tuple(
        Attachment(file.name, file.url, file.media_type, file.size_bytes, file.id, file.vault_key, file.sha256)
        for file in event.attachments
    )


def times(event: message_pb2.Message) -> tuple[datetime, datetime]:
    """When it was sent and when it was received; each stands in for the other where a platform does not say."""
    sent = _moment(event.sent_at) if event.HasField("sent_at") else None
    received = _moment(event.received_at) if event.HasField("received_at") else sent or _EPOCH
    return sent or received, received


def _moment(stamp: timestamp_pb2.Timestamp) -> datetime:
    """As `ToDatetime`, which takes ten times as long."""
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def command(
    event: message_pb2.Message, effect: Effect, *, command_id: str, app: str, now_ns: int
) -> outbound_pb2.SendCommand:
    """What an app does about an event, as the command that asks a channel for it; `now_ns` is since 1970, in UTC.

    Raises Rejected naming the field and the rule for what no channel could be asked.
    """
    _check(effect)
    made = outbound_pb2.SendCommand(
        command_id=command_id,
        tenant=event.tenant,
        channel=event.channel,
        account=event.account,
        conversation=event.conversation,
        thread=event.thread,
        text=effect.text,
        on_ambiguous=_REPORT if effect.on_ambiguous is OnAmbiguous.REPORT else _RESEND,
        app=app,
        cause_event_id=event.event_id,
    )
    if effect.attachments:
        made.attachments.extend(map(attachment, effect.attachments))
    created_at = made.created_at
    created_at.seconds, created_at.nanos = divmod(now_ns, _NANOSECONDS)
    if effect.expires_in_s is not None:
        made.expires_at.FromNanoseconds(now_ns + round(effect.expires_in_s * _NANOSECONDS))
    _relate(made, effect)
    return made


def _relate(made: outbound_pb2.SendCommand, effect: Effect) -> None:
    if effect.act is Act.REPLY:
        made.relation.reply.message_id = effect.target
    elif effect.act is Act.REACTION:
        made.relation.reaction.message_id = effect.target
        made.relation.reaction.name = effect.reaction
    elif effect.act is Act.EDIT:
        made.relation.edit.SetInParent()
        made.target_command_id = effect.target
    elif effect.act is Act.DELETION:
        made.relation.deletion.SetInParent()
        made.target_command_id = effect.target


def attachment(file: Attachment) -> message_pb2.Attachment:
    """A file as it travels."""
    return message_pb2.Attachment(
        id=file.id,
        name=file.name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        url=file.url,
        vault_key=file.vault_key,
        sha256=file.sha256,
    )


def _check(effect: Effect) -> None:
    _check_text("text", effect.text)
    _check_text("reaction", effect.reaction)
    _check_text("target", effect.target)
    for number, file in enumerate(effect.attachments):
        _check_text(f"attachments[{number}].name", file.name)
        _check_text(f"attachments[{number}].url", file.url)
    if effect.act in _WITH_WORDS and not effect.text and not effect.attachments:
        raise errors.Rejected("nothing_to_say", "text must not be empty", hint="Give a text or a file.", field="text")
    if effect.act is Act.REACTION and not (effect.target and effect.reaction):
        raise errors.Rejected("bad_reaction", "a reaction needs a name and a message that has an id", field="reaction")
    if effect.act in _OF_OWN and not effect.target:
        raise errors.Rejected("bad_target", "sent must be what 'reply' or 'say' returned, or its id", field="sent")
    if effect.expires_in_s is not None and not 0 < effect.expires_in_s <= 366 * 86_400:
        raise errors.Rejected("bad_expiry", "expires_in_s must be more than 0 and at most a year", field="expires_in_s")


def _check_text(field: str, value: str) -> None:
    """Refuse what has a NUL or a lone surrogate."""
    try:
        good = "\0" not in value and (value.isascii() or bool(value.encode()))
    except UnicodeEncodeError:
        good = False
    if not good:
        raise errors.Rejected("bad_text", f"{field} must be text without NUL and lone surrogates", field=field)
