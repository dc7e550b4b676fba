"""Whether a stream still holds what it had acknowledged: pure judgement of what was recorded and what is there now.

A stream may forget at its beginning (age, size, a purge by its operator): that is no loss. What it must not do is to be
another stream of the same name, to end before the highest place that it had acknowledged, or to hold something else
there: a store that was deleted, or an older copy of it, that may have grown again meanwhile.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from penstock.base import context as contexts
from penstock.spine import ports

RECREATED: Final = "recreated"
SHORTENED: Final = "shortened"
REPLACED: Final = "replaced"


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """The highest place of a stream known to be taken, and by what; `last` 0 when nothing is known to be in it."""

    created: datetime
    last: int = 0
    digest: bytes = b""


def digest(headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """What a message is known by: a hash of its id, or of its body when it has none. Tells nothing about its tenant."""
    message_id = headers.get(contexts.MESSAGE_ID, "")
    return hashlib.sha256(message_id.encode() if message_id else b"\0" + body).digest()[:16]


class Looks(Protocol):
    """What looking at a stream asks of the spine."""

    async def stream_state(self, name: str) -> ports.StreamState | None:
        """As `spine.ports.Administration.stream_state`."""
        ...

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """As `spine.ports.Administration.message`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a look found: the stream as it is (None: there is none), and what it lost, if anything."""

    state: ports.StreamState | None
    why: str = ""


def judge(head: Head, state: ports.StreamState, found: bytes | None) -> str:
    """What the stream lost, as a word, or empty: `found` is the digest of what is at `head.last`, None for nothing.

    Nothing there is fine once the stream begins behind it, or when somebody deleted just that message: whoever deletes
    means it.
    """
    if head.last == 0:
        return ""
    if state.created != head.created:
        return RECREATED
    if state.last < head.last:
        return SHORTENED
    return REPLACED if found and head.digest and found != head.digest else ""


async def look(spine: Looks, stream: str, head: Head | None) -> Look:
    """Compare a stream with what is known of it. Raises Unavailable when nobody can tell now."""
    state = await spine.stream_state(stream)
    if state is None or head is None or head.last == 0:
        return Look(state)
    if (why := judge(head, state, None)) or head.last < state.first:
        return Look(state, why)
    message = await spine.message(stream, head.last)
    return Look(state, judge(head, state, digest(message.headers, message.body) if message else None))


async def head_of(spine: Looks, stream: str, state: ports.StreamState) -> Head:
    """The head of a stream that others fill, as it is now. Raises Unavailable."""
    message = await spine.message(stream, state.last) if state.messages else None
    # The last message may be gone already, by age: then its place is all that can be held against the stream.
    known = digest(message.headers, message.body) if message else b""
    return Head(state.created, state.last, known)
