"""The transport on NATS JetStream, over nats-py: one connection, endless reconnection, errors by their reaction."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Any

from penstock.base import errors, telemetry
from penstock.spine import consumer, ports, stream
from penstock.spine.adapters import (
    acceptance,
    nats_answers,
    nats_browse,
    nats_calls,
    nats_consume,
    nats_keyvalue,
    nats_link,
    nats_policies,
    nats_signals,
)

_log = telemetry.logger("spine.nats")


class NatsSpine:
    """One client of a NATS server with JetStream. Made by `connect`; `deadline_s` is how long a call waits."""

    def __init__(self, link: nats_link.Link, *, deadline_s: float = 15.0) -> None:
        self._link = link
        self._calls = nats_calls.Calls(link, deadline_s)
        self._deadline_s = deadline_s

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        user: str = "",
        password: str = "",
        name: str = "penstock",
        wait_s: float | None = None,
        deadline_s: float = 15.0,
    ) -> "NatsSpine":
        """Connect, however long it takes, or for `wait_s` seconds.

        Raises Rejected `nats_auth` when the server refuses the credentials, `nats_url` for no address at all, and
        Unavailable `nats_unreachable` when `wait_s` is over.
        """
        link = nats_link.Link(nats_link.address(url, user=user, password=password, name=name))
        await link.open(wait_s=wait_s)
        return cls(link, deadline_s=deadline_s)

    @classmethod
    def connecting(cls, url: str, *, name: str = "penstock", deadline_s: float = 15.0) -> "NatsSpine":
        """A client that connects in the background, for a process that has other work to do meanwhile.

        Until a server answers, calls wait for their deadline as they do after a disconnection. Raises Rejected
        `nats_url`.
        """
        link = nats_link.Link(nats_link.address(url, name=name))
        link.open_later()
        return cls(link, deadline_s=deadline_s)

    @property
    def connected(self) -> bool:
        """Whether a server answers right now."""
        return self._link.ready.is_set()

    @property
    def _limit_bytes(self) -> int:
        return self._link.payload_limit_bytes

    async def describe_stream(self, name: str) -> stream.StreamPolicy | None:
        """The stream as it is, or None."""
        try:
            return nats_policies.stream_policy((await self._calls.stream_info(name))["config"])
        except errors.Rejected as error:
            return _nothing(error, "no_stream")

    async def create_stream(self, policy: stream.StreamPolicy) -> None:
        """Make the stream."""
        await self._calls.api(f"STREAM.CREATE.{policy.name}", nats_policies.stream_config(policy))

    async def describe_consumer(self, stream: str, name: str) -> consumer.ConsumerPolicy | None:
        """The durable as it is, or None."""
        try:
            return nats_policies.consumer_policy(stream, (await self._consumer_info(stream, name))["config"])
        except errors.Rejected as error:
            return _nothing(error, "no_stream", "no_consumer")

    async def _consumer_info(self, stream: str, name: str) -> dict[str, Any]:
        return await self._calls.api(f"CONSUMER.INFO.{stream}.{name}")

    async def create_consumer(self, policy: consumer.ConsumerPolicy) -> None:
        """Make the durable."""
        await self._calls.create_consumer(policy.stream, nats_policies.consumer_config(policy))

    async def update_stream(self, policy: stream.StreamPolicy) -> None:
        """Make an existing stream what its policy says."""
        await self._calls.api(f"STREAM.UPDATE.{policy.name}", nats_policies.stream_config(policy))

    async def stream_state(self, name: str) -> ports.StreamState | None:
        """Where the stream is; None when there is none."""
        try:
            info = await self._calls.stream_info(name)
        except errors.Rejected as error:
            return _nothing(error, "no_stream")
        return nats_answers.stream_state(info)

    async def consumer_states(self, stream: str) -> list[ports.ConsumerState]:
        """Every durable of a stream, sorted by name."""
        try:
            infos = await self._calls.consumer_infos(stream)
        except errors.Rejected as error:
            _nothing(error, "no_stream")
            return []
        return sorted((nats_policies.consumer_state(stream, info) for info in infos), key=lambda one: one.policy.name)

    async def floor(self, stream: str, name: str) -> int:
        """The sequence up to which everything of the durable is settled."""
        return int((await self._consumer_info(stream, name))["ack_floor"]["stream_seq"])

    async def release(self, stream: str, name: str) -> None:
        """Take the pin from whoever has it."""
        await self._calls.api(f"CONSUMER.UNPIN.{stream}.{name}", {"group": nats_policies.PRIORITY_GROUP})

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """One message as the stream keeps it."""
        try:
            found = await self._calls.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
        except errors.Rejected as error:
            return _nothing(error, "no_stream", "no_message")
        return nats_answers.stored(stream, found["message"])

    async def backlog(self, stream: str, name: str) -> tuple[int, int]:
        """How many messages wait, and how many are un-acked."""
        info = await self._consumer_info(stream, name)
        return int(info["num_pending"]), int(info["num_ack_pending"])

    @property
    def connection(self) -> int:
        """The number of the connection that publishes right now."""
        return self._link.connection

    async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
        """Store a message in its stream."""
        acceptance.message(message, self._limit_bytes)
        if on is not None and on != self.connection:
            raise errors.Unavailable("disconnected", f"connection {on} is gone")
        return await self._calls.store(message.subject, message.body, message.headers)

    async def consume(
        self, policy: consumer.ConsumerPolicy, receive: Callable[[ports.Delivery], None], *, window: int
    ) -> ports.Subscription:
        """Hand deliveries of a durable to `receive`."""
        await self._consumer_info(policy.stream, policy.name)

        async def restore(seen: datetime | None) -> None:
            await self._restore(policy, seen)

        made = nats_consume.NatsSubscription(self._link, policy, receive, window=window, restore=restore)
        await self._link.add(made)
        return made

    async def _restore(self, policy: consumer.ConsumerPolicy, seen: datetime | None) -> None:
        """Make a durable again that was deleted under us, from when the last message that we saw was stored.

        A time, not a sequence: a stream that was lost as well begins with sequence 1 again, and all of it is newer.
        """
        if await self.describe_consumer(policy.stream, policy.name) is not None:
            return
        config = nats_policies.consumer_config(policy)
        if policy.deliver_new and seen is not None:
            config |= {"deliver_policy": "by_start_time", "opt_start_time": seen.isoformat()}
        await self._calls.create_consumer(policy.stream, config)
        _log.warning("durable made again", consumer=policy.name)

    async def browse(self, stream: str, filter: str, *, after: int | None = None) -> AsyncGenerator[ports.Delivery]:
        """Read a stream without a durable."""
        acceptance.pattern(filter)
        reader = nats_browse.OrderedReader(self._calls, stream, filter)
        try:
            await reader.open(after=after)
            while True:
                yield await reader.next()
        finally:
            await reader.close()

    async def emit(self, signal: ports.Signal) -> None:
        """Send to whoever listens now."""
        acceptance.signal(signal, self._limit_bytes)
        await self._link.wait_ready(self._deadline_s)
        await self._link.send(signal.subject, signal.body, reply=signal.reply, headers=signal.headers)

    async def listen(
        self, subject: str, receive: Callable[[ports.Signal], Awaitable[None]], *, queue: str = ""
    ) -> ports.Subscription:
        """Call `receive` for every signal on a subject."""
        acceptance.pattern(subject)
        await self._link.wait_ready(self._deadline_s)
        made = nats_signals.NatsListener(self._link, subject, receive, queue)
        await self._link.add(made)
        return made

    async def request(self, signal: ports.Signal, *, timeout_s: float) -> ports.Signal:
        """Ask and wait for one answer."""
        acceptance.signal(signal, self._limit_bytes)
        answer = await self._link.call(signal.subject, signal.body, timeout_s=timeout_s, headers=signal.headers)
        if nats_link.status(answer) == "503":
            raise errors.Unavailable("no_responders", f"nobody answers on {signal.subject}")
        return nats_signals.of(answer)

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> ports.KeyValue:
        """Open a bucket."""
        return await nats_keyvalue.open_bucket(self._calls, bucket, history=history, max_age_s=max_age_s)

    async def close(self) -> None:
        """Close what still receives, flush and hang up."""
        for part in self._link.parts:
            if isinstance(part, nats_consume.NatsSubscription | nats_signals.NatsListener):
                await part.close()
        await self._link.close()


def _nothing(error: errors.Rejected, *codes: str) -> None:
    """None for one of these codes; anything else is raised again."""
    if error.code not in codes:
        raise error
