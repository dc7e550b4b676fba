"""What the spine's benchmarks share: a fresh nats-server, messages as Penstock sends them, and what they cost.

Each run has a nats-server of its own from the wheel, with an empty store on the same disk, and streams made by the
same policies; ours and the baseline publish the same bytes under the same headers and count every message.
"""

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable

import nats
from nats.aio.client import Client

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2
from penstock.servers import endpoints
from penstock.servers import testing as server_testing
from penstock.spine import ports, provision, route, stream
from penstock.spine.adapters import spine_nats

TENANT = ids.tenant_id("bench")
BODY_BYTES = 256
CONVERSATIONS = 500
SETTLES_S = 30.0


class Unkept(Exception):
    """A message was lost or came twice, so the figure is worth nothing."""


class Meter:
    """Seconds, and CPU seconds of this process, from when it was made until `read`."""

    def __init__(self) -> None:
        self._begun, self._cpu_s = time.perf_counter(), cpu_s()

    def read(self, count: int) -> tuple[float, float]:
        """Messages per second, and CPU microseconds per message."""
        seconds, used_s = time.perf_counter() - self._begun, cpu_s() - self._cpu_s
        return count / seconds, used_s / count * 1e6


def cpu_s() -> float:
    """CPU seconds that this process has used in all its threads; servers are processes of their own."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def said(count: int) -> list[ports.Outgoing]:
    """Messages of 256 bytes that people said in conversations that take turns, each with an id of its own."""
    return [route.INBOUND.encode(contexts.start(TENANT), _message(number)) for number in range(count)]


def _message(number: int) -> message_pb2.Message:
    made = message_pb2.Message(
        event_id=f"event-{number:06}",
        tenant=TENANT,
        channel="webhook",
        account="acc-1",
        conversation=f"room-{number % CONVERSATIONS:03}",
        message_id=f"message-{number:06}",
        sender=message_pb2.Sender(id="ann", kind=message_pb2.SENDER_KIND_PERSON),
        text="x",
    )
    made.sent_at.GetCurrentTime()
    made.sent_at.nanos = 123_456_789
    made.text = "x" * (1 + BODY_BYTES - len(made.SerializeToString()))
    # From 128 characters on the length itself takes a byte more.
    made.text = made.text[: len(made.text) + BODY_BYTES - len(made.SerializeToString())]
    return made


@contextlib.asynccontextmanager
async def bus() -> AsyncGenerator[endpoints.NatsEndpoint]:
    """A fresh nats-server that has the streams of conversations."""
    async with server_testing.running_nats() as endpoint:
        async with ours(endpoint) as spine:
            await provision.streams(spine, [stream.MESSAGES_INBOUND, stream.MESSAGES_OUTBOUND])
        yield endpoint


@contextlib.asynccontextmanager
async def ours(endpoint: endpoints.NatsEndpoint) -> AsyncGenerator[spine_nats.NatsSpine]:
    """Our client."""
    spine = await spine_nats.NatsSpine.connect(
        endpoint.url, user=endpoint.user, password=endpoint.password, name="bench", wait_s=10
    )
    try:
        yield spine
    finally:
        await spine.close()


@contextlib.asynccontextmanager
async def theirs(endpoint: endpoints.NatsEndpoint) -> AsyncGenerator[Client]:
    """nats-py's client."""
    client = await nats.connect(endpoint.url, user=endpoint.user, password=endpoint.password)
    try:
        yield client
    finally:
        await client.close()


async def publish(
    store: Callable[[ports.Outgoing], Awaitable[ports.Published]], messages: Iterable[ports.Outgoing], window: int
) -> list[ports.Published]:
    """Publish all of them, `window` at a time, each awaiting its answer before the next."""
    remaining = iter(messages)
    answers: list[ports.Published] = []

    async def one_at_a_time() -> None:
        for message in remaining:
            answers.append(await store(message))  # noqa: PERF401 - the iterator is shared

    await asyncio.gather(*(one_at_a_time() for _ in range(window)))
    return answers


async def drained(spine: ports.Spine, in_stream: str, durables: Collection[str]) -> None:
    """Return once the durables have nothing to give and nothing un-acked. Raises Unkept."""
    async with asyncio.timeout(SETTLES_S):
        for durable in durables:
            while await spine.backlog(in_stream, durable) != (0, 0):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.002)


def require_each_once(got: Iterable[object], wanted: Iterable[object], what: str) -> None:
    """Raise Unkept unless `got` is `wanted`, each once, in any order."""
    heard, expected = list(got), set(wanted)
    missing, doubled = expected - set(heard), len(heard) - len(set(heard))
    if missing or doubled or len(heard) != len(expected):
        raise Unkept(f"{what}: {len(missing)} of {len(expected)} missing, {doubled} doubled, {len(heard)} in all")
