"""What a handler is handed: something that happened in a conversation, with the ways to answer it."""

import dataclasses
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from penstock.sdk.model import Act, Attachment, Effect, Kind, OnAmbiguous, Sender, Sent

if TYPE_CHECKING:
    from penstock.messages.v1 import message_pb2


class Effects(Protocol):
    """Where a message's methods send what they make."""

    def send(self, effect: Effect) -> Coroutine[Any, Any, Sent]:
        """Take its place in the order of the handler's effects at once; when awaited, return once it is stored."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One event in a conversation. `kind` says which; the decorator of a handler has already chosen it.

    Every method takes its place in the order of the calls and returns, when awaited, once the bus has it, before the
    platform does. What a handler sends is numbered, so a handler that runs again for the same event (after a crash or
    an error) says nothing twice: the same call is the same message, and the first text wins. Raises Rejected for what
    cannot be sent at all, Unavailable when the bus is away; let that one pass, and the handler is run again.
    """

    kind: Kind
    id: str
    """The platform's id of this message; empty when the event only does something to another one."""
    target: str
    """The platform's id of the earlier message: the one answered, edited, deleted, reacted to; else empty."""
    text: str
    sender: Sender
    conversation: str
    """The platform's id of the room, chat or ticket."""
    thread: str
    """The platform's id of the thread inside the conversation; empty outside one."""
    channel: str
    account: str
    tenant: str
    attachments: tuple[Attachment, ...]
    reaction: str
    """The emoji, or the platform's name for it, when `kind` is REACTION or REACTION_REMOVED."""
    sent_at: datetime
    """When the platform says that it happened; aware, in UTC."""
    received_at: datetime
    """When Penstock stored it."""
    attributes: Mapping[str, str]
    """What only this platform knows."""
    event_id: str
    """Unique in its account, one per event; the same when an event is delivered again."""
    correlation_id: str
    """Follows this event through logs, traces and headers."""
    raw: "message_pb2.Message" = dataclasses.field(repr=False)
    """The event as it travelled: `penstock.messages.v1.message_pb2.Message`."""
    _effects: Effects = dataclasses.field(repr=False)

    def reply(
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        expires_in_s: float | None = None,
        on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND,
    ) -> Coroutine[Any, Any, Sent]:
        """Answer this message, in its thread. To a deletion it is a plain message: there is nothing left to answer.

        Not sent any more `expires_in_s` seconds from now; None: never too late.
        """
        target = "" if self.kind is Kind.DELETION else self.id or self.target
        act = Act.REPLY if target else Act.SAY
        return self._effects.send(Effect(act, text, target, "", tuple(attachments), expires_in_s, on_ambiguous))

    def say(
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        expires_in_s: float | None = None,
        on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND,
    ) -> Coroutine[Any, Any, Sent]:
        """Say something in the same conversation and thread without answering a message."""
        return self._effects.send(Effect(Act.SAY, text, "", "", tuple(attachments), expires_in_s, on_ambiguous))

    def react(self, reaction: str) -> Coroutine[Any, Any, Sent]:
        """Put an emoji (or the platform's name for one) on this message; for an edit or a reaction, on its target."""
        return self._effects.send(Effect(Act.REACTION, target=self.id or self.target, reaction=reaction))

    def edit(self, sent: Sent | str, text: str) -> Coroutine[Any, Any, Sent]:
        """Replace the text of something this app said here: what `reply` or `say` returned, or its kept `id`."""
        return self._effects.send(Effect(Act.EDIT, text, sent if isinstance(sent, str) else sent.id))

    def delete(self, sent: Sent | str) -> Coroutine[Any, Any, Sent]:
        """Take back something this app said here: what `reply` or `say` returned, or its kept `id`."""
        return self._effects.send(Effect(Act.DELETION, target=sent if isinstance(sent, str) else sent.id))
