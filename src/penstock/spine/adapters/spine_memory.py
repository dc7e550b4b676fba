"""The transport in memory: the whole contract without a socket, for tests and for a first look.

`MemoryServer` holds what a server would; each `MemorySpine` is one client of it, so that several replicas, and
several processes' worth of clients, can be played in one event loop. Time is the clock that was handed in.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator
from datetime import datetime
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors
from penstock.spine import consumer, ports, stream
from penstock.spine.adapters import (
    acceptance,
    memory_alarm,
    memory_consumer,
    memory_keyvalue,
    memory_signals,
    memory_stream,
)

PAYLOAD_LIMIT_BYTES: Final = 1 << 20
"""What nats-server takes by default: headers and body together."""


class MemoryServer:
    """What all clients share: streams, durables, buckets and listeners. Call `stop` when the last client is closed."""

    def __init__(self, *, clock: clocks.Clock | None = None, payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES) -> None:
        self.clock: clocks.Clock = clock or clocks.SystemClock()
        self.payload_limit_bytes = payload_limit_bytes
        self.streams: dict[str, memory_stream.MemoryStream] = {}
        self.durables: dict[tuple[str, str], memory_consumer.MemoryDurable] = {}
        self.buckets: dict[str, memory_keyvalue.MemoryBucket] = {}
        self.exchange = memory_signals.Exchange()
        self.alarm = memory_alarm.Alarm(self.clock)

    def find_stream(self, name: str) -> memory_stream.MemoryStream:
        """One stream. Raises Rejected `no_stream`."""
        found = self.streams.get(name)
        if found is None:
            raise errors.Rejected("no_stream", f"there is no stream {name}", status=404)
        return found

    def find_durable(self, stream_name: str, name: str) -> memory_consumer.MemoryDurable:
        """One durable. Raises Rejected `no_stream` or `no_consumer`."""
        self.find_stream(stream_name)
        found = self.durables.get((stream_name, name))
        if found is None:
            raise errors.Rejected("no_consumer", f"stream {stream_name} has no consumer {name}", status=404)
        return found

    def create_stream(self, policy: stream.StreamPolicy) -> None:
        """Make a stream; the same again is fine. Raises Rejected `stream_exists` or `stream_refused`."""
        if (existing := self.streams.get(policy.name)) is not None:
            if any(stream.differences(policy, existing.policy)) or any(stream.differences(existing.policy, policy)):
                raise errors.Rejected("stream_exists", f"stream {policy.name} exists with another configuration")
            return
        for other in self.streams.values():
            if any(overlap(a, b) for a in other.policy.subjects for b in policy.subjects):
                raise errors.Rejected("stream_refused", f"subjects overlap with those of stream {other.policy.name}")
        if policy.replicas > 1:
            raise errors.Rejected("stream_refused", "more than one replica needs a cluster")
        self.streams[policy.name] = memory_stream.MemoryStream(policy, self.clock)

    def delete_stream(self, name: str) -> None:
        """Forget a stream and its durables, as somebody with the tools of the server may do."""
        self.find_stream(name)
        del self.streams[name]
        self.durables = {key: durable for key, durable in self.durables.items() if key[0] != name}

    def update_stream(self, policy: stream.StreamPolicy) -> None:
        """Give a stream another policy. Raises Rejected `no_stream`, `stream_refused`."""
        existing = self.find_stream(policy.name)
        if policy.retention != existing.policy.retention:
            raise errors.Rejected("stream_refused", "a stream's retention cannot be changed")
        if policy.replicas > 1:
            raise errors.Rejected("stream_refused", "more than one replica needs a cluster")
        existing.policy = policy
        existing.shrink()

    def update_durable(self, policy: consumer.ConsumerPolicy) -> None:
        """Give a durable another policy. Raises Rejected `no_stream`, `no_consumer`, `consumer_refused`."""
        existing = self.find_durable(policy.stream, policy.name)
        if self.find_stream(policy.stream).policy.retention == "workqueue":
            self._check_shares_nothing(policy)
        existing.policy = policy
        existing.wake()

    def create_durable(self, policy: consumer.ConsumerPolicy, *, since: datetime | None = None) -> None:
        """Make a durable; the same again is fine. Raises Rejected `consumer_exists` or `consumer_refused`."""
        source = self.find_stream(policy.stream)
        if (existing := self.durables.get((policy.stream, policy.name))) is not None:
            if any(consumer.differences(policy, existing.policy)):
                raise errors.Rejected("consumer_exists", f"consumer {policy.name} exists with another configuration")
            return
        if source.policy.retention == "workqueue":
            self._check_shares_nothing(policy)
        durable = memory_consumer.MemoryDurable(policy, source, self.clock, self.alarm)
        if since is not None:
            durable.begin_behind(source.first_since(since) - 1)
        self.durables[policy.stream, policy.name] = durable

    def _check_shares_nothing(self, policy: consumer.ConsumerPolicy) -> None:
        rivals = [d.policy for (of, name), d in self.durables.items() if of == policy.stream and name != policy.name]
        shares = any(overlap(a, b) for other in rivals for a in other.filters for b in policy.filters)
        if policy.deliver_new or shares:
            raise errors.Rejected("consumer_refused", "consumers of a work queue take everything and share no subject")

    def store(self, message: ports.Outgoing) -> ports.Published:
        """Keep a message in the stream that takes its subject. Raises Rejected `no_stream`."""
        for kept in self.streams.values():
            if kept.takes(message.subject):
                published = kept.store(message)
                for (stream_name, _), durable in self.durables.items():
                    if stream_name == published.stream:
                        durable.wake()
                self.exchange.deliver(ports.Signal(message.subject, message.headers, message.body))
                return published
        raise errors.Rejected("no_stream", f"no stream takes messages for {message.stream or 'this subject'}")

    def stop(self) -> None:
        """Let go of the clock."""
        self.alarm.stop()


def overlap(first: str, second: str) -> bool:
    """Whether some subject is matched by both patterns."""
    for a, b in zip(mine := first.split("."), theirs := second.split("."), strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(mine) == len(theirs)


class MemorySpine:
    """One client of a `MemoryServer` (one of its own when none is given).

    `disconnect` and `reconnect` play an outage of this client. `deadline_s` is how long a call waits for one to end.
    """

    def __init__(
        self,
        server: MemoryServer | None = None,
        *,
        clock: clocks.Clock | None = None,
        deadline_s: float = 15.0,
    ) -> None:
        self.server = server or MemoryServer(clock=clock)
        self._owns_server = server is None
        self._deadline_s = deadline_s
        self._connected = asyncio.Event()
        self._connected.set()
        self._subscriptions: list[memory_consumer.MemorySubscription] = []
        self._listeners: list[memory_signals.MemoryListener] = []
        self._closed = False
        self._connection = 1

    @property
    def connected(self) -> bool:
        """Whether the client is connected."""
        return self._connected.is_set() and not self._closed

    @property
    def connection(self) -> int:
        """The number of the connection that stands; 0 while there is none."""
        return self._connection if self.connected else 0

    def disconnect(self) -> None:
        """Lose the connection: calls wait, nothing arrives, leases run on."""
        self._connected.clear()
        for part in self._subscriptions:
            part.go_offline()
        for listener in self._listeners:
            listener.online = False

    def reconnect(self) -> None:
        """Get the connection back."""
        if not self._connected.is_set():
            self._connection += 1
        self._connected.set()
        for part in self._subscriptions:
            part.go_online()
        for listener in self._listeners:
            listener.online = True

    async def _online(self) -> None:
        if self._closed:
            raise errors.Unavailable("spine_closed", "the connection to the spine was closed")
        if not await memory_alarm.wait_for(self._connected, self.server.clock, self._deadline_s):
            raise errors.Unavailable("disconnected", "the spine does not answer")

    async def describe_stream(self, name: str) -> stream.StreamPolicy | None:
        """The stream as it is, or None."""
        await self._online()
        found = self.server.streams.get(name)
        return found.policy if found else None

    async def create_stream(self, policy: stream.StreamPolicy) -> None:
        """Make the stream."""
        await self._online()
        self.server.create_stream(policy)

    async def describe_consumer(self, stream: str, name: str) -> consumer.ConsumerPolicy | None:
        """The durable as it is, or None."""
        await self._online()
        found = self.server.durables.get((stream, name))
        return found.policy if found else None

    async def create_consumer(self, policy: consumer.ConsumerPolicy, *, since: datetime | None = None) -> None:
        """Make the durable."""
        await self._online()
        self.server.create_durable(policy, since=since)

    async def update_stream(self, policy: stream.StreamPolicy) -> None:
        """Make an existing stream what its policy says."""
        await self._online()
        self.server.update_stream(policy)

    async def update_consumer(self, policy: consumer.ConsumerPolicy) -> None:
        """Give an existing durable another filter, lease, limit or pin."""
        await self._online()
        self.server.update_durable(policy)

    async def stream_names(self) -> list[str]:
        """Every stream there is, sorted."""
        await self._online()
        return sorted([*self.server.streams, *(f"KV_{bucket}" for bucket in self.server.buckets)])

    async def first_since(self, stream: str, moment: datetime) -> int:
        """The lowest sequence stored at that moment or later."""
        await self._online()
        return self.server.find_stream(stream).first_since(moment)

    async def stream_state(self, name: str) -> ports.StreamState | None:
        """Where the stream is; None when there is none."""
        await self._online()
        found = self.server.streams.get(name)
        return found.state if found else None

    async def consumer_states(self, stream: str) -> list[ports.ConsumerState]:
        """Every durable of a stream, sorted by name."""
        await self._online()
        return [
            ports.ConsumerState(durable.policy, durable.floor, *durable.backlog)
            for (of, _), durable in sorted(self.server.durables.items())
            if of == stream
        ]

    async def floor(self, stream: str, name: str) -> int:
        """The sequence up to which everything of the durable is settled."""
        await self._online()
        return self.server.find_durable(stream, name).floor

    async def release(self, stream: str, name: str) -> None:
        """Take the pin from whoever has it."""
        await self._online()
        self.server.find_durable(stream, name).release()

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """One message as the stream keeps it."""
        await self._online()
        found = self.server.streams.get(stream)
        stored = found.messages.get(sequence) if found else None
        return memory_consumer.MemoryDelivery(stored, stream=stream) if stored else None

    async def last_of(self, stream: str, pattern: str) -> int:
        """The sequence of the last message that a pattern lets through."""
        acceptance.pattern(pattern)
        await self._online()
        return max((one.sequence for one in self.server.find_stream(stream).after(0, (pattern,))), default=0)

    async def erase(self, stream: str, sequences: Collection[int]) -> int:
        """Remove single messages."""
        await self._online()
        kept = self.server.find_stream(stream)
        gone = [sequence for sequence in set(sequences) if kept.remove(sequence)]
        for (of, _), durable in self.server.durables.items():
            if of == stream:
                durable.forget(gone)
        return len(gone)

    async def backlog(self, stream: str, name: str) -> tuple[int, int]:
        """How many messages wait, and how many are un-acked."""
        await self._online()
        return self.server.find_durable(stream, name).backlog

    async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
        """Store a message in its stream."""
        acceptance.message(message, self.server.payload_limit_bytes)
        if on is None:
            await self._online()
        elif on != self.connection or not self.connected:
            raise errors.Unavailable("disconnected", f"connection {on} is gone")
        return self.server.store(message)

    async def consume(
        self, policy: consumer.ConsumerPolicy, receive: Callable[[ports.Delivery], None], *, window: int
    ) -> ports.Subscription:
        """Hand deliveries of a durable to `receive`."""
        await self._online()
        durable = self.server.find_durable(policy.stream, policy.name)
        made = memory_consumer.MemorySubscription(durable, receive, window=window, online=self.connected)
        durable.subscriptions.append(made)
        self._subscriptions.append(made)
        durable.wake()
        return made

    async def browse(self, stream: str, filter: str, *, after: int | None = None) -> AsyncGenerator[ports.Delivery]:
        """Read a stream without a durable."""
        acceptance.pattern(filter)
        await self._online()
        source = self.server.find_stream(stream)
        if source.policy.retention == "workqueue":
            raise errors.Rejected("not_browsable", f"stream {stream} is a work queue")
        position = source.last_sequence if after is None else min(after, source.last_sequence)
        while True:
            await self._wait_online()
            changed = source.changed
            for stored in source.after(position, (filter,)):
                position = stored.sequence
                yield memory_consumer.MemoryDelivery(stored, stream=stream)
                await self._wait_online()
            await changed.wait()

    async def _wait_online(self) -> None:
        """What lasts for ever outlives every disconnection, however long."""
        while True:
            try:
                return await self._online()
            except errors.Unavailable as error:
                if error.code == "spine_closed":
                    raise

    async def emit(self, signal: ports.Signal) -> None:
        """Send to whoever listens now."""
        acceptance.signal(signal, self.server.payload_limit_bytes)
        await self._online()
        self.server.exchange.deliver(_stripped(signal))

    async def listen(
        self, subject: str, receive: Callable[[ports.Signal], Awaitable[None]], *, queue: str = ""
    ) -> ports.Subscription:
        """Call `receive` for every signal on a subject."""
        acceptance.pattern(subject)
        await self._online()
        made = self.server.exchange.listen(subject, receive, queue)
        self._listeners.append(made)
        return made

    async def request(self, signal: ports.Signal, *, timeout_s: float) -> ports.Signal:
        """Ask and wait for one answer."""
        acceptance.signal(signal, self.server.payload_limit_bytes)
        await self._online()
        inbox, answer = self.server.exchange.expect_reply()
        asked = _stripped(ports.Signal(signal.subject, signal.headers, signal.body, inbox))
        if not self.server.exchange.deliver(asked):
            answer.cancel()
            raise errors.Unavailable("no_responders", f"nobody answers on {signal.subject}")
        with _answered(answer) as arrived:
            if not await memory_alarm.wait_for(arrived, self.server.clock, timeout_s):
                raise errors.Unavailable("timeout", f"no answer on {signal.subject} within {timeout_s:g} s")
            return answer.result()

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> ports.KeyValue:
        """Open a bucket."""
        acceptance.bucket(bucket)
        await self._online()
        if not 1 <= history <= 64:
            raise errors.Rejected("bad_bucket", "a bucket keeps 1-64 revisions of a key", field="history")
        found = self.server.buckets.get(bucket)
        if found is None:
            found = self.server.buckets[bucket] = memory_keyvalue.MemoryBucket(
                self.server.clock, max_age_s=max_age_s, limit_bytes=self.server.payload_limit_bytes
            )
        return memory_keyvalue.MemoryKeyValue(found, online=self._online, wait_online=self._wait_online)

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        for part in (*self._subscriptions, *self._listeners):
            await part.close()
        for kept in (*self.server.streams.values(), *self.server.buckets.values()):
            kept.announce()
        if self._owns_server:
            self.server.stop()


def _stripped(signal: ports.Signal) -> ports.Signal:
    """As it arrives: blanks around header values do not travel."""
    headers = {name: value.strip() for name, value in signal.headers.items()}
    return ports.Signal(signal.subject, headers, bytes(signal.body), signal.reply)


@contextlib.contextmanager
def _answered(answer: asyncio.Future[ports.Signal]) -> Generator[asyncio.Event]:
    """An event that is set with the answer; a caller who gives up forgets the inbox."""
    arrived = asyncio.Event()
    answer.add_done_callback(lambda _: arrived.set())
    try:
        yield arrived
    finally:
        answer.cancel()
