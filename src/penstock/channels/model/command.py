"""What becomes of a command: every state it can be in, and the decisions between claiming it and its receipt.

The states and their meaning are told in `migrations/0003_command.sql`; why a send can end without anybody knowing how,
in `docs/explanation/conversations.md`.
"""

import dataclasses
import enum
import hashlib
from datetime import datetime
from typing import Final

from penstock.base import errors
from penstock.channels import ports
from penstock.messages.v1 import outbound_pb2

ID_BYTES: Final = 512
DETAIL_LENGTH: Final = 500


class State(enum.StrEnum):
    """Where a command is; the last four are final."""

    SENDING = "sending"
    WAITING = "waiting"
    SENT = "sent"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Whether a receipt says so, once and for ever."""
        return self not in {State.SENDING, State.WAITING}


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    """The row is ours.

    The platform has been asked `attempts` times, a claim to send included, and `ambiguities` of those ended without
    anybody knowing how.
    """

    attempts: int
    ambiguities: int


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """The row was final before we came. `same` is False when its command said something else under the same id."""

    state: State
    same: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command will not be sent (again): the final state if it never was, a stable code and one sentence."""

    state: State
    code: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, to be stored.

    For WAITING: `after_s` is when to try again, and `uncertain` says that this very attempt may have got through.
    """

    state: State
    attempts: int
    ambiguities: int
    message_id: str = ""
    code: str = ""
    detail: str = ""
    after_s: float = 1.0
    uncertain: bool = False


def fingerprint(command: outbound_pb2.SendCommand) -> bytes:
    """SHA-256 of what is said and where; an app that answers the same event again asks at another time."""
    said = outbound_pb2.SendCommand()
    said.CopyFrom(command)
    said.ClearField("created_at")
    said.ClearField("expires_at")
    return hashlib.sha256(said.SerializeToString(deterministic=True)).digest()


def check_storable(command: outbound_pb2.SendCommand) -> None:
    """Raise Poisoned when the command's ids cannot be stored, so that not even a receipt could name it."""
    for field, value, least in (
        ("command_id", command.command_id, 1),
        ("conversation", command.conversation, 1),
        ("app", command.app, 0),
        ("cause_event_id", command.cause_event_id, 0),
        ("target_command_id", command.target_command_id, 0),
    ):
        if not least <= len(value.encode()) <= ID_BYTES or "\0" in value:
            raise errors.Poisoned("bad_command", f"{field} must be {least}-{ID_BYTES} bytes of UTF-8 without NUL")


def aims_at_a_command(command: outbound_pb2.SendCommand) -> bool:
    """Whether it changes what an earlier command said, whose id at the platform its app cannot know."""
    return bool(command.target_command_id) and command.relation.WhichOneof("kind") in {"edit", "deletion"}


def aimed(command: outbound_pb2.SendCommand, message_id: str) -> outbound_pb2.SendCommand | Refusal:
    """The command as its platform is asked, about the message of that id; refused without one."""
    if not message_id:
        detail = "target_command_id: nothing of this app was sent under it in this conversation"
        return Refusal(State.REJECTED, "no_target", detail)
    asked = outbound_pb2.SendCommand()
    asked.CopyFrom(command)
    relation = asked.relation.edit if asked.relation.HasField("edit") else asked.relation.deletion
    relation.message_id = message_id
    return asked


def expired(command: outbound_pb2.SendCommand, now: datetime) -> Refusal | None:
    """A refusal when the command's time is over."""
    if command.HasField("expires_at") and command.expires_at.ToNanoseconds() <= int(now.timestamp() * 1e9):
        return Refusal(State.EXPIRED, "expired", "it was to be sent no later than expires_at")
    return None


def unsupported(command: outbound_pb2.SendCommand, can: outbound_pb2.Capabilities) -> Refusal | None:
    """A refusal when the channel cannot say what the command asks."""
    kind = command.relation.WhichOneof("kind") or ""
    wanted = {
        "relation.reply": (kind == "reply", can.reply),
        "relation.edit": (kind == "edit", can.edit),
        "relation.deletion": (kind == "deletion", can.deletion),
        "relation.reaction": (kind in {"reaction", "reaction_removed"}, can.reaction),
        "relation.pin": (kind == "pin", False),
        "thread": (bool(command.thread), can.thread),
        "attachments": (bool(command.attachments), can.attachment),
    }
    for field, (asked, able) in wanted.items():
        if asked and not able:
            return Refusal(State.REJECTED, "unsupported", f"{field}: this channel cannot do that")
    if can.text_limit and len(command.text) > can.text_limit:
        detail = f"text: {len(command.text)} characters, this channel takes at most {can.text_limit}"
        return Refusal(State.REJECTED, "unsupported", detail)
    if kind in {"", "reply", "edit"} and not command.text and not command.attachments:
        return Refusal(State.REJECTED, "empty", "text: there is nothing to say")
    return None


def before_sending(
    command: outbound_pb2.SendCommand, claimed: Claimed, refusal: Refusal | None, *, resends: int
) -> Outcome | None:
    """How it ends without asking the platform (again), or None to ask.

    A refusal of something that may have been sent before is UNKNOWN: the receipt must not say that it was not sent.
    """
    if refusal is not None:
        state = State.UNKNOWN if claimed.ambiguities else refusal.state
        return Outcome(state, claimed.attempts, claimed.ambiguities, code=refusal.code, detail=refusal.detail)
    if claimed.ambiguities > _allowed(command, resends):
        return _unknown(claimed.attempts - 1, claimed.ambiguities)
    return None


def after_sending(
    command: outbound_pb2.SendCommand, claimed: Claimed, answer: ports.Sent | errors.PenstockError, *, resends: int
) -> Outcome:
    """How it ended, from what the platform's adapter returned or raised."""
    attempts, ambiguities = claimed.attempts, claimed.ambiguities
    if isinstance(answer, ports.Sent):
        return Outcome(State.SENT, attempts, ambiguities, message_id=_short(answer.message_id))
    if isinstance(answer, errors.Unavailable) and not isinstance(answer, ports.Ambiguous):
        return Outcome(State.WAITING, attempts, ambiguities, code=answer.code, after_s=answer.after_s)
    if isinstance(answer, errors.Rejected | errors.Poisoned):
        # The platform's "no" is about this attempt; an earlier one may have got through.
        state = State.UNKNOWN if ambiguities else State.REJECTED
        return Outcome(state, attempts, ambiguities, code=answer.code, detail=_short(answer.detail))
    ambiguities += 1
    if ambiguities > _allowed(command, resends):
        return _unknown(attempts, ambiguities)
    after_s = answer.after_s if isinstance(answer, errors.Unavailable) else 1.0
    return Outcome(State.WAITING, attempts, ambiguities, code=answer.code, after_s=after_s, uncertain=True)


def _allowed(command: outbound_pb2.SendCommand, resends: int) -> int:
    return 0 if command.on_ambiguous == outbound_pb2.ON_AMBIGUOUS_REPORT else resends


def _unknown(attempts: int, ambiguities: int) -> Outcome:
    detail = "it may have been sent or not, and is not sent again"
    return Outcome(State.UNKNOWN, attempts, ambiguities, code="ambiguous", detail=detail)


def _short(text: str) -> str:
    """What a platform said, as Postgres and protobuf can hold it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:DETAIL_LENGTH]


_STATUS: Final = {
    State.SENT: outbound_pb2.RECEIPT_STATUS_SENT,
    State.REJECTED: outbound_pb2.RECEIPT_STATUS_REJECTED,
    State.EXPIRED: outbound_pb2.RECEIPT_STATUS_EXPIRED,
    State.UNKNOWN: outbound_pb2.RECEIPT_STATUS_UNKNOWN,
}


def receipt(command: outbound_pb2.SendCommand, outcome: Outcome, now: datetime) -> outbound_pb2.Receipt:
    """What the app is told. Only a final outcome has one."""
    told = outbound_pb2.Receipt(
        command_id=command.command_id,
        tenant=command.tenant,
        channel=command.channel,
        account=command.account,
        conversation=command.conversation,
        status=_STATUS[outcome.state],
        message_id=outcome.message_id,
        attempts=outcome.attempts,
        ambiguous=outcome.ambiguities > 0,
        code=outcome.code,
        detail=outcome.detail,
        cause_event_id=command.cause_event_id,
    )
    told.at.FromDatetime(now)
    return told
