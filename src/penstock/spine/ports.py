"""What the spine asks of a transport, as Protocols; every adapter passes `spine.testing.conformance.check_spine`.

Promises hold for every method unless it says otherwise: it waits for the transport to come back rather than fail at
once, raises `Unavailable` when its time is over, and never blocks the event loop.
"""

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from penstock.spine import consumer as consumers
from penstock.spine import stream as streams


@dataclasses.dataclass(slots=True)
class Outgoing:
    """A message ready to travel: made by a route, stored by an outbox, published by an adapter. Nobody changes one.

    `key` is its ordering key: messages of one key are published one after the other. `headers` hold `Nats-Msg-Id`.
    (Not frozen: one is made for each message, which would take four times as long.)
    """

    stream: str
    subject: str
    key: str
    headers: Mapping[str, str]
    body: bytes


class Published(NamedTuple):
    """The stream's answer: where the message is, and whether it had been there before (same message id)."""

    stream: str
    sequence: int
    duplicate: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """One copy of a stream beside its leader's: on which server, if it has everything, how many entries it lacks."""

    name: str
    current: bool
    lag: int


@dataclasses.dataclass(frozen=True, slots=True)
class StreamState:
    """Where a stream is: which one of its name it is (`created`), and the sequences it holds; `last` is 0 at first.

    `oldest` is when its first message was stored. In a cluster `leader` names the server that leads it (empty while
    none does), `peers` the others, and `moving` what is being done about its copies; it is empty when nothing is.
    """

    created: datetime
    first: int
    last: int
    messages: int
    size_bytes: int
    oldest: datetime | None = None
    leader: str = ""
    peers: tuple[Peer, ...] = ()
    moving: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ConsumerState:
    """Where a durable is.

    `floor` is the sequence up to which everything is settled, `waiting` how many messages it has not handed out yet,
    `held` how many are un-acked.
    """

    policy: consumers.ConsumerPolicy
    floor: int
    waiting: int
    held: int


class Delivery(Protocol):
    """One message handed to one consumer, held under a lease until it is settled exactly once.

    `deliveries` counts how often the server has handed it out, this time included; `at` is when the stream stored it.
    Settling again is a no-op. `headers` keep the case in which they were sent.
    """

    @property
    def stream(self) -> str:
        """The stream it is stored in."""
        ...

    @property
    def consumer(self) -> str:
        """The durable it was handed to; empty when browsed."""
        ...

    @property
    def subject(self) -> str:
        """The subject it was published under."""
        ...

    @property
    def sequence(self) -> int:
        """Its position in the stream."""
        ...

    @property
    def deliveries(self) -> int:
        """How often this consumer was handed it, this time included."""
        ...

    @property
    def session(self) -> int:
        """Grows, within one subscription, whenever an older message may be in other hands or lost on the way.

        That is: with the first delivery under a new pin, after a reconnection, and when asking had to begin anew.
        """
        ...

    @property
    def at(self) -> datetime:
        """When the stream stored it, in UTC."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names as they were sent."""
        ...

    @property
    def body(self) -> bytes:
        """Its body."""
        ...

    async def ack(self) -> None:
        """Done: never deliver it to this consumer again."""
        ...

    async def retry(self, delay_s: float) -> None:
        """Not done: deliver it again after `delay_s`, in no particular order. Uses up a delivery."""
        ...

    async def terminate(self) -> None:
        """Never deliver it to this consumer again, although it was not handled."""
        ...

    async def extend(self) -> None:
        """Renew the lease for another `ack_wait_s`."""
        ...


class Subscription(Protocol):
    """Something that receives until it is closed."""

    def pause(self) -> None:
        """Ask for nothing more; what was asked for may still arrive."""
        ...

    def resume(self) -> None:
        """Ask again."""
        ...

    async def close(self) -> None:
        """Stop receiving. Deliveries already handed over stay leased until settled; others go back at once.

        In a cluster, what is on its way from another node to somebody who shares a durable may have to wait until its
        lease is over.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Signal:
    """A message on core NATS: at most once, to whoever listens now. `reply` is where an answer goes, if asked for."""

    subject: str
    headers: Mapping[str, str]
    body: bytes
    reply: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One revision of one key. `value` is None when the key was deleted."""

    key: str
    value: bytes | None
    revision: int


class KeyValue(Protocol):
    """A small, watched table of the latest value by key (`[A-Za-z0-9_./=-]+`)."""

    async def get(self, key: str) -> Entry | None:
        """The latest entry, or None when there is none or it was deleted."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there; returns the new revision."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Write only if the key does not exist. Raises Rejected `revision_conflict`."""
        ...

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Write only over that revision. Raises Rejected `revision_conflict`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the key; deleting a missing one is fine."""
        ...

    async def keys(self) -> list[str]:
        """The keys that have a value, sorted."""
        ...

    def watch(self) -> AsyncGenerator[Entry | None]:
        """Every current entry, then None once, then every change as it happens, for ever (across reconnects).

        A key that changes faster than it is read, or during an outage, may show only its latest entry.
        """
        ...


class Administration(Protocol):
    """Looking at, and making, streams and consumers.

    Only `update_stream` and `update_consumer` change what exists, and `erase` single messages; nothing else deletes.
    """

    async def describe_stream(self, name: str) -> streams.StreamPolicy | None:
        """The stream as it is, in the terms of a policy; None when there is none."""
        ...

    async def create_stream(self, policy: streams.StreamPolicy) -> None:
        """Make the stream. Raises Rejected when one with another configuration appeared meanwhile."""
        ...

    async def describe_consumer(self, stream: str, name: str) -> consumers.ConsumerPolicy | None:
        """The durable as it is; fields that the server does not know have the policy's defaults."""
        ...

    async def create_consumer(self, policy: consumers.ConsumerPolicy, *, since: datetime | None = None) -> None:
        """Make the durable; with `since` one that begins with what was stored at that time or later."""
        ...

    async def update_stream(self, policy: streams.StreamPolicy) -> None:
        """Make an existing stream what its policy says. Raises Rejected `no_stream`, `stream_refused`."""
        ...

    async def update_consumer(self, policy: consumers.ConsumerPolicy) -> None:
        """Give an existing durable another filter, lease, limit or pin; its place stays.

        Raises Rejected `no_stream`, `no_consumer`, `consumer_refused`.
        """
        ...

    async def stream_names(self) -> list[str]:
        """Every stream there is, buckets included, sorted."""
        ...

    async def first_since(self, stream: str, moment: datetime) -> int:
        """The lowest sequence stored at that moment or later; the last one + 1 when there is none.

        Raises Rejected `no_stream`.
        """
        ...

    async def stream_state(self, name: str) -> StreamState | None:
        """Where the stream is; None when there is none."""
        ...

    async def consumer_states(self, stream: str) -> list[ConsumerState]:
        """Every durable of a stream, sorted by name; none when there is no stream."""
        ...

    async def backlog(self, stream: str, name: str) -> tuple[int, int]:
        """How many messages the durable has not been given yet, and how many it holds un-acked."""
        ...

    async def floor(self, stream: str, name: str) -> int:
        """The sequence up to which every message of the durable is settled. Raises Rejected as `backlog`."""
        ...

    async def release(self, stream: str, name: str) -> None:
        """Take the pin from whoever has it, so that the next one who asks gets it; without a pin nothing happens."""
        ...

    async def message(self, stream: str, sequence: int) -> Delivery | None:
        """One message as the stream keeps it, with nothing to settle; None when it does not keep it (any more)."""
        ...

    async def last_of(self, stream: str, pattern: str) -> int:
        """The sequence of the last message that a pattern lets through; 0 without any. Raises Rejected `no_stream`."""
        ...

    async def erase(self, stream: str, sequences: Collection[int]) -> int:
        """Remove single messages and write over what they said where they were stored; returns how many were there.

        One that is not there (any more) is fine. Their places stay free: nothing moves, and no other message ever gets
        one. Consumers do not get them, and whoever holds one has nothing left to settle. Raises Rejected `no_stream`,
        Unavailable when not all of them are certainly gone: erase again then.
        """
        ...


class Spine(Administration, Protocol):
    """The transport."""

    @property
    def connected(self) -> bool:
        """Whether a server answers right now."""
        ...

    @property
    def connection(self) -> int:
        """The number (1, 2, ...) of the connection that publishes right now; 0 while there is none."""
        ...

    async def publish(self, message: Outgoing, *, on: int | None = None) -> Published:
        """Store a message in its stream; returns only when the server has it.

        With `on`, it is one attempt on the connection of that number: Unavailable `disconnected` when another one, or
        none, stands by now, or when it is lost before the answer.
        Raises Unavailable when that cannot be known (publish again with the same id: the stream drops the second),
        Unavailable `stream_full` from a stream that refuses rather than forgets, Rejected `no_stream` when no stream
        takes the subject, `too_large` above the server's payload limit, `bad_subject` and `bad_header` for what would
        not arrive as it is. Blanks around header values do not travel.
        """
        ...

    async def consume(
        self, policy: consumers.ConsumerPolicy, receive: Callable[[Delivery], None], *, window: int
    ) -> Subscription:
        """Hand deliveries of an existing durable to `receive`, never more than `window` of them unsettled.

        `receive` is called on the event loop, must not block and must not raise. Survives every disconnection.
        Raises Rejected `no_stream` or `no_consumer`.
        """
        ...

    def browse(self, stream: str, filter: str, *, after: int | None = None) -> AsyncGenerator[Delivery]:
        """Read a stream without a durable: from sequence `after` + 1, or what comes from now on when None.

        "Now" is the first time that it is asked for an item. Nothing needs to be settled. Closing it (with
        `contextlib.aclosing`) removes what was made for it, and nothing else. Raises Rejected `no_stream`,
        or `not_browsable` for a work queue (each of its messages is for one consumer).
        """
        ...

    async def emit(self, signal: Signal) -> None:
        """Send on core NATS to whoever listens now; nobody listening is fine."""
        ...

    async def listen(
        self, subject: str, receive: Callable[[Signal], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """Call `receive` for every signal on a subject (wildcards allowed), one at a time; members of a queue share."""
        ...

    async def request(self, signal: Signal, *, timeout_s: float) -> Signal:
        """Ask on a subject and wait for one answer. Raises Unavailable `no_responders` or `timeout`."""
        ...

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> KeyValue:
        """Open a bucket, making it when it is missing."""
        ...

    async def close(self) -> None:
        """Flush what was written and hang up."""
        ...
