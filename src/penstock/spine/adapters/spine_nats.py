"""The transport on NATS JetStream: what is frequent goes over our own data plane, the rest over nats-py.

Publishing, consuming, signals and requests are `plane`; administration, browsing's consumers and buckets are
`nats_calls`. Both connect for ever, and errors are named by their reaction.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from datetime import datetime
from types import CoroutineType
from typing import Any, Final

from penstock.base import errors, telemetry
from penstock.spine import consumer, desk, origin, ports, settings, stream
from penstock.spine.adapters import (
    acceptance,
    nats_access,
    nats_answers,
    nats_browse,
    nats_calls,
    nats_keyvalue,
    nats_link,
    nats_policies,
    nats_publish,
)
from penstock.spine.plane import address as addresses
from penstock.spine.plane import consume, listen
from penstock.spine.plane import link as links
from penstock.spine.plane.address import Address

FLUSH_S: Final = 2.0
"""How long hanging up waits for the server to deal with what was written."""

_log = telemetry.logger("spine.nats")


class NatsSpine:
    """One client of a NATS server with JetStream. Made by `connect`; `deadline_s` is how long a call waits."""

    def __init__(self, plane: links.Link, control: nats_link.Link, *, deadline_s: float = 15.0) -> None:
        self._plane, self._control = plane, control
        self._calls = nats_calls.Calls(control, deadline_s)
        self._publisher = nats_publish.Publisher(plane, self._calls, deadline_s)
        self._deadline_s = deadline_s
        self._receiving: weakref.WeakSet[ports.Subscription] = weakref.WeakSet()

    @staticmethod
    def address(
        urls: str, chosen: settings.NatsSettings, *, user: str = "", password: str = "", name: str = "penstock"
    ) -> Address:
        """Where to connect, by the settings of an operator. Raises Rejected `nats_url` or `bad_setting`."""
        return nats_access.address(urls, chosen, user=user, password=password, name=name)

    @classmethod
    async def connect(
        cls,
        url: str | Address,
        *,
        user: str = "",
        password: str = "",
        name: str = "penstock",
        wait_s: float | None = None,
        deadline_s: float = 15.0,
    ) -> "NatsSpine":
        """Connect, however long it takes, or for `wait_s` seconds; to an address that holds its own credentials too.

        Raises Rejected `nats_auth` when the server refuses the credentials, `nats_url` for no address at all, and
        Unavailable `nats_unreachable` when `wait_s` is over.
        """
        there = _address(url, user=user, password=password, name=name)
        return cls(*await opened(there, wait_s=wait_s), deadline_s=deadline_s)

    @classmethod
    def connecting(cls, url: str | Address, *, name: str = "penstock", deadline_s: float = 15.0) -> "NatsSpine":
        """A client that connects in the background, for a process that has other work to do meanwhile.

        Until a server answers, calls wait for their deadline as they do after a disconnection. Raises Rejected
        `nats_url`.
        """
        there = _address(url, name=name)
        plane, control = links.Link(there), nats_link.Link(there)
        plane.open_later()
        control.open_later()
        return cls(plane, control, deadline_s=deadline_s)

    @property
    def connected(self) -> bool:
        """Whether a server answers right now."""
        return self._plane.connected and self._control.ready.is_set()

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

    async def create_consumer(self, policy: consumer.ConsumerPolicy, *, since: datetime | None = None) -> None:
        """Make the durable."""
        config = nats_policies.consumer_config(policy)
        if since is not None:
            config |= {"deliver_policy": "by_start_time", "opt_start_time": since.isoformat()}
        await self._calls.create_consumer(policy.stream, config)

    async def update_stream(self, policy: stream.StreamPolicy) -> None:
        """Make an existing stream what its policy says; what no policy speaks of (placement, tags) stays."""
        there = (await self._calls.stream_info(policy.name))["config"]
        await self._calls.api(f"STREAM.UPDATE.{policy.name}", there | nats_policies.stream_config(policy))

    async def update_consumer(self, policy: consumer.ConsumerPolicy) -> None:
        """Give an existing durable another filter, lease, limit or pin."""
        there = (await self._consumer_info(policy.stream, policy.name))["config"]
        await self._calls.update_consumer(policy.stream, nats_policies.changed_consumer(there, policy))

    async def stream_names(self) -> list[str]:
        """Every stream there is, sorted."""
        return sorted(await self._calls.stream_names())

    async def first_since(self, stream: str, moment: datetime) -> int:
        """The lowest sequence stored at that moment or later."""
        try:
            found = await self._calls.api(f"STREAM.MSG.GET.{stream}", {"start_time": moment.isoformat()})
        except errors.Rejected as error:
            _nothing(error, "no_message")
            return int((await self._calls.stream_state(stream))["last_seq"]) + 1
        return int(found["message"]["seq"])

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
        return await self._calls.floor(stream, await self._consumer_info(stream, name))

    async def release(self, stream: str, name: str) -> None:
        """Take the pin from whoever has it."""
        try:
            await self._calls.api(f"CONSUMER.UNPIN.{stream}.{name}", {"group": nats_policies.PRIORITY_GROUP})
        except errors.Rejected as error:
            _nothing(error, "not_pinned")

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """One message as the stream keeps it."""
        try:
            found = await self._calls.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
        except errors.Rejected as error:
            return _nothing(error, "no_stream", "no_message")
        return nats_answers.stored(stream, found["message"])

    async def last_of(self, stream: str, pattern: str) -> int:
        """The sequence of the last message that a pattern lets through."""
        acceptance.pattern(pattern)
        try:
            found = await self._calls.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": pattern})
        except errors.Rejected as error:
            _nothing(error, "no_message")
            return 0
        return int(found["message"]["seq"])

    async def erase(self, stream: str, sequences: Collection[int]) -> int:
        """Remove single messages, and what they said from the server's files."""
        return await self._calls.erase(stream, sequences)

    async def backlog(self, stream: str, name: str) -> tuple[int, int]:
        """How many messages wait, and how many are un-acked."""
        info = await self._consumer_info(stream, name)
        return int(info["num_pending"]), int(info["num_ack_pending"])

    @property
    def connection(self) -> int:
        """The number of the connection that publishes right now."""
        return self._plane.connection

    def publish(self, message: ports.Outgoing, *, on: int | None = None) -> "CoroutineType[Any, Any, ports.Published]":
        """Store a message in its stream."""
        # Not a coroutine of its own around the publisher's: there is one of these for each message.
        return self._publisher.publish(message, on)

    async def consume(
        self, policy: consumer.ConsumerPolicy, receive: Callable[[ports.Delivery], None], *, window: int
    ) -> ports.Subscription:
        """Hand deliveries of a durable to `receive`."""
        await self._consumer_info(policy.stream, policy.name)

        async def restore(seen: datetime | None) -> None:
            await self._restore(policy, seen)

        made = consume.Consumption(
            self._plane,
            policy,
            receive,
            window=window,
            backing=consume.Backing(restore, None if self._is_owner else self._keeps),
            group=nats_policies.PRIORITY_GROUP,
        )
        self._receiving.add(made)
        return made

    @property
    def _is_owner(self) -> bool:
        """Whether JetStream is of our own account, so that the data plane reaches its API too."""
        return self._plane.address.api_prefix == addresses.API_PREFIX

    async def _keeps(self, delivery: ports.Delivery) -> bool:
        return await origin.Origin(self, delivery.stream).keeps(delivery)

    async def _restore(self, policy: consumer.ConsumerPolicy, seen: datetime | None) -> None:
        """Make a durable again that was deleted under us, from when the last message that we saw was stored.

        A time, not a sequence: a stream that was lost as well begins with sequence 1 again, and all of it is newer.
        """
        if await self.describe_consumer(policy.stream, policy.name) is not None:
            return
        await self.create_consumer(policy, since=seen if policy.deliver_new else None)
        _log.warning("durable made again", consumer=policy.name)

    async def browse(self, stream: str, filter: str, *, after: int | None = None) -> AsyncGenerator[ports.Delivery]:
        """Read a stream without a durable."""
        acceptance.pattern(filter)
        reader = nats_browse.OrderedReader(self._calls, self._plane, stream, filter)
        try:
            await reader.open(after=after)
            while True:
                yield await reader.next()
        finally:
            await reader.close()

    async def emit(self, signal: ports.Signal) -> None:
        """Send to whoever listens now."""
        block = acceptance.signal(signal, self._plane.payload_limit_bytes)
        if not self._plane.has_room:
            await self._plane.wait_connected(self._deadline_s)
            await self._plane.room(self._deadline_s)
        self._plane.publish(signal.subject, signal.body, reply=signal.reply, headers_block=block)

    async def listen(
        self, subject: str, receive: Callable[[ports.Signal], Awaitable[None]], *, queue: str = ""
    ) -> ports.Subscription:
        """Call `receive` for every signal on a subject."""
        acceptance.pattern(subject)
        await self._plane.wait_connected(self._deadline_s)
        made = listen.Listener(self._plane, subject, receive, queue)
        try:
            await made.established(self._deadline_s)
        except BaseException:
            await made.close()
            raise
        self._receiving.add(made)
        return made

    async def request(self, signal: ports.Signal, *, timeout_s: float) -> ports.Signal:
        """Ask and wait for one answer."""
        block = acceptance.signal(signal, self._plane.payload_limit_bytes)
        until = asyncio.get_running_loop().time() + timeout_s
        if not self._plane.connected:
            await self._plane.wait_connected(timeout_s)
            timeout_s = max(0.01, until - asyncio.get_running_loop().time())
        answer = await self._plane.call(signal.subject, signal.body, timeout_s, headers_block=block)
        if answer.status == nats_calls.NOBODY:
            raise errors.Unavailable("no_responders", f"nobody answers on {signal.subject}")
        return listen.signal_of(answer)

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> ports.KeyValue:
        """Open a bucket."""
        return await nats_keyvalue.open_bucket(self._calls, self._plane, bucket, history=history, max_age_s=max_age_s)

    async def close(self) -> None:
        """Close what still receives, flush and hang up."""
        await asyncio.gather(*(part.close() for part in list(self._receiving)))
        if self._plane.connected:
            with contextlib.suppress(errors.Unavailable):
                await self._plane.barrier(FLUSH_S)
        await asyncio.gather(self._plane.close(), self._control.close())


async def enter(where: Address, who: desk.Who, *, wait_s: float) -> "tuple[NatsSpine, desk.Join | None]":
    """An app's client, and how it joins: None when its login may do everything and so sees to durables itself.

    Which of the two the login is, the server says. Raises as `NatsSpine.connect`.
    """
    from penstock.spine.adapters import nats_guest  # which builds on this module

    spine = await nats_guest.enter(where, who, wait_s=wait_s)
    return spine, spine.desk.join if isinstance(spine, nats_guest.GuestSpine) else None


async def opened(there: Address, *, wait_s: float | None) -> tuple[links.Link, nats_link.Link]:
    """Both connections of one client, once both stand. Raises as `NatsSpine.connect`."""
    plane, control = links.Link(there), nats_link.Link(there)
    tried = await asyncio.gather(plane.open(wait_s=wait_s), control.open(wait_s=wait_s), return_exceptions=True)
    failed = [error for error in tried if error is not None]
    if failed:
        await asyncio.gather(plane.close(), control.close())
        raise failed[0]
    return plane, control


def _address(where: str | Address, *, user: str = "", password: str = "", name: str) -> Address:
    """An address that is one already, or one that is read."""
    if isinstance(where, Address):
        return where
    return addresses.address(where, user=user, password=password, name=name)


def _nothing(error: errors.Rejected, *codes: str) -> None:
    """None for one of these codes; anything else is raised again."""
    if error.code not in codes:
        raise error
