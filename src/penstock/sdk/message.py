"""What a handler is handed: something that happened in a conversation, with the ways to answer it."""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from penstock.sdk.model import Act, Attachment, Effect, Kind, OnAmbiguous, Sender, Sent

if TYPE_CHECKING:
    from penstock.messages.v1 import message_pb2


class Effects(Protocol):
    """Where a message's methods send what they make."""

    def send(self, effect: Effect) -> Coroutine[Any, Any, Sent]:
        """Take its place in the order of the handler's effects at once; when awaited, return once it is stored."""
        ...


class Message:
    """One event in a conversation. `kind` says which; the decorator of a handler has already chosen it.

    Every method takes its place in the order of the calls and returns, when awaited, once the bus has it, before the
    platform does. What a handler sends is numbered, so a handler that runs again for the same event (after a crash or
    an error) says nothing twice: the same call is the same message, and the first text wins. Raises Rejected for what
    cannot be sent at all, Unavailable when the bus is away; let that one pass, and the handler is run again.
    """

    # Everything is read from the event when it is asked for: a handler looks at two or three of these, and to copy
    # them all costs more than to parse the event.
    __slots__ = ("_correlation_id", "_effects", "_kind", "_raw")

    def __init__(self, kind: Kind, correlation_id: str, raw: "message_pb2.Message", effects: Effects) -> None:
        self._kind, self._correlation_id, self._raw, self._effects = kind, correlation_id, raw, effects

    @property
    def kind(self) -> Kind:
        """What happened."""
        return self._kind

    @property
    def id(self) -> str:
        """The platform's id of this message; empty when the event only does something to another one."""
        return self._raw.message_id

    @property
    def target(self) -> str:
        """The platform's id of the earlier message: the one answered, edited, deleted, reacted to; else empty."""
        from penstock.sdk import wire

        return wire.target(self._raw)

    @property
    def text(self) -> str:
        """What it says; for an edit, what the message says now."""
        return self._raw.text

    @property
    def sender(self) -> Sender:
        """Who it was."""
        from penstock.sdk import wire

        return wire.sender(self._raw)

    @property
    def conversation(self) -> str:
        """The platform's id of the room, chat or ticket."""
        return self._raw.conversation

    @property
    def thread(self) -> str:
        """The platform's id of the thread inside the conversation; empty outside one."""
        return self._raw.thread

    @property
    def channel(self) -> str:
        """The slug of the channel."""
        return self._raw.channel

    @property
    def account(self) -> str:
        """The id of the account on the channel."""
        return self._raw.account

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self._raw.tenant

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files that came with it."""
        from penstock.sdk import wire

        return wire.attachments(self._raw)

    @property
    def reaction(self) -> str:
        """The emoji, or the platform's name for it, when `kind` is REACTION or REACTION_REMOVED."""
        from penstock.sdk import wire

        return wire.reaction(self._raw)

    @property
    def sent_at(self) -> datetime:
        """When the platform says that it happened; aware, in UTC."""
        from penstock.sdk import wire

        return wire.times(self._raw)[0]

    @property
    def received_at(self) -> datetime:
        """When Penstock stored it."""
        from penstock.sdk import wire

        return wire.times(self._raw)[1]

    @property
    def attributes(self) -> Mapping[str, str]:
        """What only this platform knows."""
        return dict(self._raw.attributes)

    @property
    def event_id(self) -> str:
        """Unique in its account, one per event; the same when an event is delivered again."""
        return self._raw.event_id

    @property
    def correlation_id(self) -> str:
        """Follows this event through logs, traces and headers."""
        return self._correlation_id

    @property
    def raw(self) -> "message_pb2.Message":
        """The event as it travelled: `penstock.messages.v1.message_pb2.Message`."""
        return self._raw

    def __repr__(self) -> str:
        return f"Message({', '.join(f'{name}={getattr(self, name)!r}' for name in _SHOWN)})"

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


_SHOWN: Final = tuple(name for name, member in vars(Message).items() if isinstance(member, property) and name != "raw")
"""What a message says of itself where it is printed."""
