"""A stream in memory: what JetStream keeps, drops, refuses and recognises as sent before, in a dictionary."""

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from penstock.base import clock as clocks
from penstock.base import context as contexts
from penstock.base import errors
from penstock.spine import ports, stream
from penstock.spine.adapters import acceptance

RECORD_BYTES: Final = 30
"""What a file store adds to each message."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """One message as the stream keeps it; `stored_s` is monotonic, `size_bytes` counts towards the limit."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime
    stored_s: float
    size_bytes: int


class MemoryStream:
    """One stream. `changed` is replaced and set whenever a message arrives."""

    def __init__(self, policy: stream.StreamPolicy, clock: clocks.Clock) -> None:
        self.policy = policy
        self.messages: dict[int, Stored] = {}
        self.last_sequence = 0
        self.changed = asyncio.Event()
        self._clock = clock
        self._created = clock.now()
        self._size_bytes = 0
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def state(self) -> ports.StreamState:
        """Where it is."""
        self.expire()
        first = next(iter(self.messages), self.last_sequence + 1)
        oldest = self.messages[first].at if self.messages else None
        return ports.StreamState(self._created, first, self.last_sequence, len(self.messages), self._size_bytes, oldest)

    def first_since(self, moment: datetime) -> int:
        """The lowest sequence stored at that moment or later."""
        self.expire()
        return next((one.sequence for one in self.messages.values() if one.at >= moment), self.last_sequence + 1)

    def takes(self, subject: str) -> bool:
        """Whether messages under this subject are stored here."""
        return any(stream.covers(pattern, subject) for pattern in self.policy.subjects)

    def store(self, message: ports.Outgoing) -> ports.Published:
        """Keep a message. Raises Unavailable `stream_full` when the policy says to refuse rather than to forget."""
        self.expire()
        message_id = message.headers.get(contexts.MESSAGE_ID, "")
        if message_id and message_id in self._seen:
            return ports.Published(self.policy.name, self._seen[message_id][0], duplicate=True)
        headers = {name: value.strip() for name, value in message.headers.items()}
        size = RECORD_BYTES + len(message.subject) + acceptance.encoded_bytes(headers.items()) + len(message.body)
        self._make_room(size)
        self.last_sequence += 1
        now_s = self._clock.monotonic()
        self.messages[self.last_sequence] = Stored(
            self.last_sequence, message.subject, headers, bytes(message.body), self._clock.now(), now_s, size
        )
        self._size_bytes += size
        if message_id:
            self._seen[message_id] = (self.last_sequence, now_s)
        self.announce()
        return ports.Published(self.policy.name, self.last_sequence, duplicate=False)

    def announce(self) -> None:
        """Wake everybody who waits for a message."""
        announced, self.changed = self.changed, asyncio.Event()
        announced.set()

    def _make_room(self, size_bytes: int) -> None:
        limit = self.policy.max_bytes
        if limit <= 0:
            return
        if self.policy.discard == "new" and self._size_bytes + size_bytes > limit:
            raise errors.Unavailable("stream_full", f"stream {self.policy.name} is full and refuses new messages")
        while self.messages and self._size_bytes + size_bytes > limit:
            self.remove(next(iter(self.messages)))

    def shrink(self) -> None:
        """Drop what a lower limit leaves no room for."""
        if self.policy.discard == "old":
            self._make_room(0)
        self.expire()

    def remove(self, sequence: int) -> bool:
        """Forget one message; False when it is gone already."""
        gone = self.messages.pop(sequence, None)
        if gone is not None:
            self._size_bytes -= gone.size_bytes
        return gone is not None

    def expire(self) -> None:
        """Forget messages past their age and ids past the duplicate window."""
        now_s = self._clock.monotonic()
        if self.policy.max_age_s > 0:
            while self.messages:
                oldest = next(iter(self.messages.values()))
                if now_s - oldest.stored_s < self.policy.max_age_s:
                    break
                self.remove(oldest.sequence)
        while self._seen:
            message_id, (_, seen_s) = next(iter(self._seen.items()))
            if now_s - seen_s < self.policy.duplicate_window_s:
                break
            del self._seen[message_id]

    def after(self, sequence: int, filters: Iterable[str]) -> Iterator[Stored]:
        """The messages behind a sequence that one of the filters lets through, in order."""
        self.expire()
        for number in range(sequence + 1, self.last_sequence + 1):
            stored = self.messages.get(number)
            if stored is not None and any(stream.covers(pattern, stored.subject) for pattern in filters):
                yield stored
