"""What a message on its way says about whom: read by its type, also inside of a quarantine record, without any I/O."""

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf import json_format, timestamp_pb2
from google.protobuf import message as protobuf

from penstock.base import context as contexts
from penstock.messages.v1 import message_pb2, outbound_pb2, quarantine_pb2
from penstock.state import personal

TOMBSTONE: Final = "penstock-erased"
"""The header of what stands in place of an erased message, of which no body is left; it names the pseudonym.

Apps write headers too, so it says nothing beside a body, and never that something is not somebody's.
"""

NESTED: Final = 3
"""How deep a message is read that was quarantined in a quarantine record; what is deeper is not read."""

_BY_SUBJECT: Final = {"in": message_pb2.Message, "out": outbound_pb2.SendCommand}
_TYPES: Final[Mapping[str, type[protobuf.Message]]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (message_pb2.Message, outbound_pb2.SendCommand, outbound_pb2.Receipt, quarantine_pb2.Quarantined)
}


@dataclasses.dataclass(frozen=True, slots=True)
class Clue:
    """What tells whose a message is. `sender` is None where nobody speaks; `event` is what it is, or answers.

    `at` is when that was received, or given. `loose` are bytes that could not be read; `erased` is whom a tombstone is
    for, as it says.
    """

    kind: str
    account: str
    sender: str | None = None
    event: str = ""
    conversation: str = ""
    at: datetime | None = None
    erased: str = ""
    loose: bytes = b""
    said: protobuf.Message | None = None


def read(subject: str, headers: Mapping[str, str], body: bytes) -> Clue:
    """The clue in one message, whatever it is. Never raises: what cannot be read may be about anybody."""
    return _read(subject, headers, body, NESTED)


def _read(subject: str, headers: Mapping[str, str], body: bytes, deeper: int) -> Clue:
    lowered = {name.lower(): value for name, value in headers.items()}
    account = _account(subject)
    event = _event_of(lowered.get(contexts.MESSAGE_ID.lower(), ""), account)
    if not body:
        tombstone = lowered.get(TOMBSTONE, "")
        return Clue("tombstone" if tombstone else "unreadable", account, event=event, erased=tombstone)
    try:
        said = _parse(subject, lowered.get(contexts.MESSAGE_TYPE, ""), body)
    except protobuf.DecodeError:
        said = None
    if isinstance(said, quarantine_pb2.Quarantined) and deeper:
        return dataclasses.replace(_inside(said, deeper - 1), kind="quarantined", said=said, erased="")
    if said is None or isinstance(said, quarantine_pb2.Quarantined):
        return Clue("unreadable", account, event=event, loose=body)
    return _clue(said, account)


def _inside(record: quarantine_pb2.Quarantined, deeper: int) -> Clue:
    return _read(record.subject, {header.name: header.value for header in record.headers}, record.body, deeper)


def _clue(said: protobuf.Message, account: str) -> Clue:
    if isinstance(said, message_pb2.Message):
        clue = Clue("message", said.account or account, said.sender.id, said.event_id, said.conversation)
        return dataclasses.replace(clue, at=_moment(said.received_at), said=said)
    if isinstance(said, outbound_pb2.SendCommand):
        clue = Clue("command", said.account or account, None, said.cause_event_id, said.conversation)
        return dataclasses.replace(clue, at=_moment(said.created_at), said=said)
    if isinstance(said, outbound_pb2.Receipt):
        clue = Clue("receipt", said.account or account, None, said.cause_event_id, said.conversation)
        return dataclasses.replace(clue, at=_moment(said.at), said=said)
    return Clue("unreadable", account)


def _moment(stamp: timestamp_pb2.Timestamp) -> datetime | None:
    """A time that was set and that there is."""
    try:
        return stamp.ToDatetime(tzinfo=UTC) if stamp.ToNanoseconds() else None
    except (ValueError, OverflowError):
        return None


def is_theirs(clue: Clue, trail: personal.Trail, theirs: frozenset[str]) -> bool:
    """Whether a message is about the person; `theirs` are those of the events in question that are theirs."""
    person = trail.person
    if clue.erased == person.pseudonym:
        return True
    if clue.account != person.account:
        return False
    if clue.sender is not None:
        return clue.sender in person.names and _in_time(clue, trail)
    if clue.event in theirs or stands_in(person.sender, clue.loose):
        return True
    return clue.conversation in trail.conversations and _in_time(clue, trail)


def _in_time(clue: Clue, trail: personal.Trail) -> bool:
    return clue.at is None or clue.at <= trail.until


async def choose(trail: personal.Trail, clues: Sequence[Clue], whose: personal.Whose) -> list[bool]:
    """For each clue whether it is about the person; at most one question about all of them."""
    events = {
        clue.event for clue in clues if clue.event and clue.sender is None and clue.account == trail.person.account
    }
    theirs = await whose.theirs(trail, events) if events else frozenset[str]()
    return [is_theirs(clue, trail, theirs) for clue in clues]


def record(clue: Clue, at: datetime | None, **more: Any) -> personal.Record | None:
    """What an export shows of a message; None for what stands in place of an erased one.

    What nobody can read is named and not shown: others' words may stand in it too.
    """
    if clue.erased:
        return None
    unread = {"event_id": clue.event, "size_bytes": len(clue.loose)}
    said: Any = document(clue.said) if clue.said is not None else unread
    return personal.Record(clue.kind, at, {**more, "said": said})


def document(said: protobuf.Message) -> dict[str, Any]:
    """A message as JSON; what a quarantine record holds is read too, and left out where that is not possible."""
    return _document(said, NESTED)


def _document(said: protobuf.Message, deeper: int) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json_format.MessageToDict(said, preserving_proto_field_name=True)
    except (ValueError, json_format.Error):
        # A time that there is not, say: whatever somebody sent us must not hold up an export.
        if not isinstance(said, quarantine_pb2.Quarantined):
            return {"base64": base64.b64encode(said.SerializeToString()).decode()}
        found = {}
    if isinstance(said, quarantine_pb2.Quarantined):
        inner = _inside(said, deeper - 1).said if deeper else None
        found["body"] = {"size_bytes": len(said.body)} if inner is None else _document(inner, deeper - 1)
    return found


def headers_of(text: str) -> dict[str, str]:
    """Headers as a table keeps them."""
    return json.loads(text)


def _parse(subject: str, declared: str, body: bytes) -> protobuf.Message | None:
    kind = _TYPES.get(declared) or _by_subject(subject)
    return kind.FromString(body) if kind is not None and body else None


def _by_subject(subject: str) -> type[protobuf.Message] | None:
    tokens = subject.split(".")
    if tokens[2:3] == ["messages"] and len(tokens) > 3:
        return _BY_SUBJECT.get(tokens[3])
    return {"receipts": outbound_pb2.Receipt, "quarantine": quarantine_pb2.Quarantined}.get(
        tokens[2] if len(tokens) > 2 else ""
    )


def _account(subject: str) -> str:
    """The account in a subject of ours; empty when there is none."""
    tokens = subject.split(".")
    if tokens[2:3] == ["messages"] and len(tokens) == 8:
        return tokens[6]
    return tokens[4] if tokens[2:3] == ["receipts"] and len(tokens) == 5 else ""


def _event_of(message_id: str, account: str) -> str:
    """The event in the id of what somebody said, `<tenant>:<account>:<event>`, as far as its token can be read."""
    parts = message_id.split(":")
    if not account or len(parts) != 3 or parts[1] != account or parts[2].startswith("__"):
        return ""
    token = parts[2].partition("~")[0]
    if not token.startswith("_"):
        return token
    try:
        return base64.urlsafe_b64decode(token[1:] + "=" * (-len(token[1:]) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""


def stands_in(sender: str, raw: bytes) -> bool:
    """Whether an id stands in bytes that nobody can read, by itself: `U1` is not in `U12`."""
    name = re.escape(sender.encode("utf-8", "surrogatepass"))
    return bool(name) and re.search(rb"(?<![A-Za-z0-9_])" + name + rb"(?![A-Za-z0-9_])", raw) is not None
