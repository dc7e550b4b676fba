"""What an author of an app sees of a conversation, and what an app can do in one: plain data without protobuf.

What a handler is handed, with the methods that answer, stands in `message`; the translation to and from the wire in
`wire`.
"""

import dataclasses
import enum
from typing import NamedTuple


class Kind(enum.StrEnum):
    """What happened: a new message, or something done to an earlier one."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETION = "deletion"
    REACTION = "reaction"
    REACTION_REMOVED = "reaction_removed"
    PIN = "pin"
    UNKNOWN = "unknown"
    """A kind that is newer than this build; no handler gets it."""


class SenderKind(enum.StrEnum):
    """What kind of being wrote."""

    PERSON = "person"
    BOT = "bot"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class OnAmbiguous(enum.StrEnum):
    """What outbound does when a crash left it unknown whether the platform got a message."""

    RESEND = "resend"
    """Send it once more and mark the receipt ambiguous (the default)."""
    REPORT = "report"
    """Do not send it again, only say so in the receipt: rather missed than said twice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sender:
    """Who sent it: the platform's id for them, and the name it shows (the id again where it shows none)."""

    id: str
    name: str = ""
    kind: SenderKind = SenderKind.PERSON


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    """A file by reference: `url` is where the platform offers it, or from where it shall fetch one that an app sends.

    `sha256` (lower-case hex) and `vault_key` are filled once Penstock has fetched it; `id` is the platform's.
    """

    name: str
    url: str = ""
    media_type: str = "application/octet-stream"
    size_bytes: int = 0
    id: str = ""
    vault_key: str = ""
    sha256: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """It is stored and on its way to the platform.

    `id` is the same however often a handler runs again for one event, so it is safe to keep: `Message.edit` and
    `Message.delete` take it. `repeated`: an earlier run of the handler had sent it within the last minutes.
    """

    id: str
    repeated: bool = False


class Act(enum.StrEnum):
    """What an app can do in a conversation."""

    SAY = "say"
    REPLY = "reply"
    REACTION = "reaction"
    EDIT = "edit"
    DELETION = "deletion"


class Effect(NamedTuple):
    """One thing that a handler does.

    `target` is the platform's id of the message that a reply or reaction is about, and the `Sent.id` of the own
    message that an edit or deletion is about. `reaction` is an emoji or the platform's name for one.
    """

    act: Act
    text: str = ""
    target: str = ""
    reaction: str = ""
    attachments: tuple[Attachment, ...] = ()
    expires_in_s: float | None = None
    on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND
