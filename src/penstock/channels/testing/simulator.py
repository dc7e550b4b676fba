"""What every simulated platform can do, whatever it is called: so that one conversation is held on all of them.

A simulator listens on loopback, checks every byte that it is sent against its platform's public documentation (what
was wrong is in `faults`), and remembers what people would see. It is written from that documentation and not from the
adapter: both must not share one mistake.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from penstock.base import settings
from penstock.channels import ports


@dataclasses.dataclass(frozen=True, slots=True)
class Posted:
    """What became of one event that people here caused.

    `message_id` is the platform's, for what is said; empty for what is only done to a message. `status` is 0 when
    there was no answer.
    """

    event_id: str
    message_id: str
    status: int
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """Something that Penstock said or did here: when (seconds of the performance counter), what, to which message."""

    at_s: float
    kind: str
    """`send`, `edit`, `delete`, `react` or `unreact`."""
    text: str
    message_id: str


class Simulator(Protocol):
    """A platform with people on it. Started by `async with`; `connect` says where it posts."""

    @property
    def channel(self) -> str:
        """The slug of the channel."""
        ...

    @property
    def abilities(self) -> frozenset[str]:
        """What people here can do besides saying something: `reply`, `thread`, `edit`, `delete`, `react`, `attach`."""
        ...

    @property
    def config(self) -> Mapping[str, str]:
        """How an account of it is configured; known once started."""
        ...

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """What an account of it is made with."""
        ...

    @property
    def faults(self) -> Sequence[str]:
        """What was wrong with requests of Penstock's, in words; empty at the end of a good test."""
        ...

    def connect(self, webhook_url: str) -> None:
        """Post to this account's URL from now on."""
        ...

    async def say(self, conversation: str, text: str, *, thread: str = "", reply_to: str = "") -> Posted:
        """Somebody says something, in a thread or in answer to a message."""
        ...

    async def edit(self, conversation: str, message_id: str, text: str) -> Posted:
        """Somebody changes what a message says."""
        ...

    async def delete(self, conversation: str, message_id: str) -> Posted:
        """Somebody takes a message back."""
        ...

    async def react(self, conversation: str, message_id: str, reaction: str) -> Posted:
        """Somebody puts an emoji (as a character) on a message."""
        ...

    async def attach(self, conversation: str, name: str, content: bytes) -> Posted:
        """Somebody sends a file."""
        ...

    async def repeat(self, posted: Posted) -> Posted:
        """Deliver the same event again, as the platform does when an answer got lost."""
        ...

    def heard(self, conversation: str) -> Sequence[Heard]:
        """What Penstock said and did in a conversation, in order; a resend that the platform recognises counts once."""
        ...

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Wait until a condition, looked at after every request that arrives, holds. Raises TimeoutError."""
        ...

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and posting."""
        ...
