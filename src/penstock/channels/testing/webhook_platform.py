"""What the simulated platform knows: who said what in which conversation, and what Penstock asked it to do.

Pure: no clock, no sockets. The shape of a command is that of `docs/reference/webhook-channel.md`.
"""

import dataclasses
from typing import Final

import msgspec

CONTENT_KINDS: Final = frozenset({"message.send", "message.edit", "message.delete", "reaction.add", "reaction.remove"})
"""Everything that Penstock may ask for."""


class File(msgspec.Struct, frozen=True):
    """A file of a command."""

    name: str
    url: str
    id: str = ""
    media_type: str = ""
    size_bytes: int = 0
    sha256: str = ""


class Command(msgspec.Struct, frozen=True):
    """The `data` of what Penstock posts; fields that a kind does not use are empty."""

    command_id: str
    account: str
    conversation: str
    thread: str = ""
    text: str = ""
    reply_to: str = ""
    message_id: str = ""
    reaction: str = ""
    attachments: tuple[File, ...] = ()
    app: str = ""
    cause_event_id: str = ""
    attributes: dict[str, str] = {}


class Envelope(msgspec.Struct, frozen=True):
    """The whole body of what Penstock posts."""

    type: str
    data: Command
    timestamp: str = ""


@dataclasses.dataclass(slots=True)
class Utterance:
    """One message as people in the conversation see it."""

    message_id: str
    author: str
    text: str
    reply_to: str = ""
    deleted: bool = False
    reactions: list[str] = dataclasses.field(default_factory=list[str])
    files: list[str] = dataclasses.field(default_factory=list[str])


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """One request of Penstock: when (seconds of the performance counter), what, how it was answered.

    `duplicate`: a request with this webhook-id had been taken before. `taken`: the platform acted on it.
    """

    at_s: float
    webhook_id: str
    kind: str
    command: Command
    duplicate: bool
    taken: bool
    status: int
    message_id: str


class WebhookPlatform:
    """Conversations full of utterances, and the requests that arrived, in order."""

    def __init__(self, run: str) -> None:
        self.arrivals: list[Arrival] = []
        self.arrivals_by_conversation: dict[str, list[Arrival]] = {}
        self.duplicates = 0
        self._run = run
        self._number = 0
        self._conversations: dict[str, dict[str, Utterance]] = {}
        self._taken: dict[str, str] = {}

    def next_id(self, kind: str) -> str:
        """A fresh id of the platform's own, unlike that of any other run."""
        self._number += 1
        return f"{kind}-{self._run}-{self._number}"

    def conversation(self, name: str) -> list[Utterance]:
        """What people in it see, in the order in which it was said."""
        return list(self._conversations.get(name, {}).values())

    def said(self, conversation: str, utterance: Utterance) -> None:
        """Somebody (a person here, or Penstock) said something."""
        self._conversations.setdefault(conversation, {})[utterance.message_id] = utterance

    def find(self, conversation: str, message_id: str) -> Utterance | None:
        """A message that is there and was not taken back."""
        utterance = self._conversations.get(conversation, {}).get(message_id)
        return None if utterance is None or utterance.deleted else utterance

    def fault(self, kind: str, command: Command) -> str:
        """What is wrong with a command, in words; empty when nothing is."""
        if kind not in CONTENT_KINDS:
            return f"there is no type {kind}"
        if not command.command_id or not command.account or not command.conversation:
            return "command_id, account and conversation must not be empty"
        if kind == "message.send":
            return "" if command.text or command.attachments else "a message needs a text or an attachment"
        if not command.message_id:
            return f"{kind} needs a message_id"
        if kind == "message.edit" and not command.text:
            return "message.edit needs a text"
        return "reaction must not be empty" if kind.startswith("reaction.") and not command.reaction else ""

    def take(self, webhook_id: str, kind: str, command: Command) -> str | None:
        """Do what a faultless command says, once per webhook-id. The message's id, or None when its target is gone."""
        if webhook_id in self._taken:
            return self._taken[webhook_id]
        message_id = self._act(kind, command)
        if message_id is not None:
            self._taken[webhook_id] = message_id
        return message_id

    def is_taken(self, webhook_id: str) -> bool:
        """Whether a request with this id was acted on."""
        return webhook_id in self._taken

    def record(self, arrival: Arrival) -> None:
        """Keep what arrived."""
        self.arrivals.append(arrival)
        self.arrivals_by_conversation.setdefault(arrival.command.conversation, []).append(arrival)
        self.duplicates += arrival.duplicate

    def _act(self, kind: str, command: Command) -> str | None:
        if kind == "message.send":
            message_id = self.next_id("msg")
            files = [file.name for file in command.attachments]
            utterance = Utterance(message_id, command.app or "penstock", command.text, command.reply_to, files=files)
            self.said(command.conversation, utterance)
            return message_id
        target = self.find(command.conversation, command.message_id)
        if target is None:
            return None
        if kind == "message.edit":
            target.text = command.text
        elif kind == "message.delete":
            target.deleted = True
        elif kind == "reaction.add":
            target.reactions.append(command.reaction)
        elif command.reaction in target.reactions:
            target.reactions.remove(command.reaction)
        return target.message_id
