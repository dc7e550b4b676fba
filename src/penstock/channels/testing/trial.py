"""What an author describes to have an adapter measured: the channel, its platform's requests, and its platform.

A trial says what the platform can show; `conformance.check_channel` decides what follows from it. What a platform
cannot show (a signature without a timestamp, say) is excused by name with a reason, so that leaving a check out is
always a decision.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from penstock.base import ids, settings
from penstock.channels import ports
from penstock.messages.v1 import message_pb2

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When the suite has its requests signed and received."""

Signer = Callable[[bytes, settings.Secret, datetime], ports.WebhookRequest]
"""Makes the request with this body as the platform would send it at that moment (also its `received_at`)."""


@dataclasses.dataclass(frozen=True)
class Good:
    """One sound body and the messages that are in it."""

    body: bytes
    messages: Sequence[message_pb2.Message]


@dataclasses.dataclass(frozen=True)
class Requests:
    """What the platform sends.

    `good` by kind: `message`, `reply`, `edit`, `deletion`, `reaction`, `reaction_removed`, `pin`, `attachment` and any
    other name. `ignored`: sound bodies of kinds that carry no message, by what they are. `unknown`: sound bodies of
    kinds that no build has heard of, alone in their request. `malformed`: bodies that break a rule, by the rule
    (`malformations` makes them for JSON).
    """

    sign: Signer
    good: Mapping[str, Good]
    ignored: Mapping[str, bytes]
    malformed: Mapping[str, bytes]
    unknown: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])


class How(enum.StrEnum):
    """How the platform answers what is sent to it."""

    WELL = "well"
    THROTTLED = "throttled"
    """Too many requests: ask again in three seconds; not taken."""
    FAILING = "failing"
    """An error of its own; not taken."""
    REFUSING = "refusing"
    """This message is wrong and always will be."""
    SLOW = "slow"
    """Taken, but the answer comes later than the adapter waits."""
    CUT = "cut"
    """Taken, but the connection ends without an answer."""
    DOWN = "down"
    """Nobody listens."""


THROTTLED_S = 3.0
"""What a throttled platform asks for."""


class Platform(Protocol):
    """The simulator, as far as sending goes."""

    async def behave(self, how: How) -> None:
        """Answer like this from now on."""
        ...

    def taken(self, conversation: str) -> Sequence[tuple[str, str]]:
        """Message id and text of what was taken there, in order; a resend that was recognised counts once."""
        ...


def any_conversation() -> str:
    """A conversation that nobody has spoken in, for a platform that takes any text as one."""
    return f"room-{ids.new_id()}"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A channel and everything needed to measure it.

    `secrets`: the account's two live ones, newest first, and `tokens` those of a channel that calls with one;
    `stranger`: a well-formed one that the account does not have. `platform` is None, and the sends are excused, for
    a channel that calls nobody. `bad_configs`: configurations that cannot work, by what is wrong with them.
    `excused`: names of promises (see `conformance.PROMISES`) with reasons. `conversation` opens a new one, where the
    platform is choosy.
    """

    channel: ports.Channel
    account: ports.Account
    secrets: tuple[settings.Secret, settings.Secret]
    stranger: settings.Secret
    requests: Requests
    platform: Platform | None
    bad_configs: Mapping[str, Mapping[str, str]]
    excused: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    tokens: tuple[settings.Secret, ...] = ()
    conversation: Callable[[], str] = any_conversation

    @property
    def credentials(self) -> ports.Credentials:
        """What the account is sent with."""
        return ports.Credentials(self.secrets, self.tokens)


def malformations(body: bytes, marker: str) -> dict[str, bytes]:
    """Bad bodies made from a good JSON object in which the text `marker` (plain ASCII) stands once, in a text field."""
    raw = marker.encode("ascii")
    if body.count(raw) != 1 or not body.startswith(b"{"):
        raise ValueError("the marker must stand in the body once, and the body must be a JSON object")
    return {
        "empty": b"",
        "not JSON": b"hello",
        "another type of document": b"[1, 2]",
        "truncated": body[: len(body) // 2],
        "one byte missing": body[:-1],
        "something after the end": body + b"}",
        "invalid UTF-8": body.replace(raw, b"\xff\xfe"),
        "overlong UTF-8": body.replace(raw, b"\xc0\xaf"),
        "a surrogate in UTF-8": body.replace(raw, b"\xed\xa0\x80"),
        "a raw NUL": body.replace(raw, b"a\0b"),
        "an escaped NUL": body.replace(raw, b"a\\u0000b"),
        "a lone surrogate": body.replace(raw, b"a\\ud800b"),
        "deep": b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"," + body[1:],
        "deep and open": b'{"deep":' * 100_000,
        "huge": body.replace(raw, b"x" * (5 << 20)),
    }
