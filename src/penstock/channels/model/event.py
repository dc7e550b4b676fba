"""One event as it is stored: complete, checked, and with a fingerprint that tells a repetition from a change."""

import dataclasses
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from penstock.base import errors
from penstock.channels import ports
from penstock.messages.v1 import message_pb2

ID_BYTES: Final = 512
"""Longest id of an event, a conversation or a sender, in bytes of UTF-8: they stand in keys of indexes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclasses.dataclass(slots=True)
class Event:
    """A complete Message, the SHA-256 of what it says, whenever it was received, and that time, aware."""

    message: message_pb2.Message
    body_hash: bytes
    received_at: datetime


def complete(message: message_pb2.Message, account: ports.Account, received_at: datetime) -> Event:
    """Fill in what an adapter must not choose: tenant, channel, account and time of receipt.

    Raises Rejected `bad_event` naming the field when an id is missing or cannot be stored.
    """
    check_id(message.event_id, "event_id")
    check_id(message.conversation, "conversation")
    check_id(message.sender.id, "sender.id", least=0)
    message.tenant, message.channel, message.account = account.tenant, account.channel, account.id
    message.ClearField("received_at")
    fingerprint = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
    seconds, micros = divmod((received_at - _EPOCH) // _MICROSECOND, 1_000_000)
    message.received_at.seconds, message.received_at.nanos = seconds, micros * 1000
    return Event(message, fingerprint, received_at)


def check_id(value: str, field: str, *, least: int = 1) -> None:
    """Raise Rejected `bad_event` unless it can stand in a key."""
    if not least <= len(value.encode()) <= ID_BYTES or "\0" in value:
        raise errors.Rejected(
            "bad_event", f"{field} must be {least}-{ID_BYTES} bytes of UTF-8 without NUL", field=field
        )


def distinct(events: Iterable[Event]) -> list[Event]:
    """The events of one request, in order, without those whose id came earlier in it."""
    seen: dict[str, Event] = {}
    for event in events:
        seen.setdefault(event.message.event_id, event)
    return list(seen.values())
