"""Messages answered per second by one app: consumed, handled, answered into another stream, acknowledged.

Ours is the public SDK (`penstock.sdk.App`) with all that it does: lanes by conversation, leases, metrics, tenants,
derived command ids. The baseline is FastStream's pull subscriber on JetStream, which has none of that, with a handler
that reads the same protobuf message and publishes the same command; it is set up as it is fastest here (a batch of 256
handled at once: a third more than with `max_workers`). Both find the same backlog, and time counts from the first
message handled.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Iterable

import faststream.nats
from nats.js import api

from bench import frame, spine_bus
from penstock import sdk
from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.servers import endpoints
from penstock.spine import ports, stream

COUNT = 10_000
AT_ONCE = 32
BATCH = 256
UNACKED = 256
STARTS_S = 20.0


class Tally:
    """What a handler has answered; the clock runs from its first message on."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.everything = asyncio.Event()
        self.meter: spine_bus.Meter | None = None

    def begin(self, event: str) -> None:
        """A message is about to be answered."""
        if self.meter is None:
            self.meter = spine_bus.Meter()
        self.events.append(event)
        if len(self.events) >= COUNT:
            self.everything.set()

    def read(self) -> tuple[float, float]:
        """As Meter.read, once everything is settled."""
        assert self.meter is not None
        return self.meter.read(COUNT)


async def ours() -> tuple[float, float]:
    """An app of the SDK. Raises spine_bus.Unkept."""
    async with spine_bus.bus() as endpoint:
        return await answered(endpoint, endpoint)


async def answered(endpoint: endpoints.NatsEndpoint, of_app: endpoints.NatsEndpoint) -> tuple[float, float]:
    """An app of the SDK with a login of its own, on a bus whose owner fills it and looks. Raises spine_bus.Unkept."""
    app, tally = sdk.App("bench", concurrency=AT_ONCE), Tally()

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        tally.begin(message.event_id)
        await message.reply(_reply(message.text))

    async with spine_bus.ours(endpoint) as spine:
        async with _serving(app, of_app):
            durables = await _durables(endpoint)
        messages = await _filled(endpoint)
        async with _serving(app, of_app), asyncio.timeout(spine_bus.SETTLES_S):
            await tally.everything.wait()
            await spine_bus.drained(spine, stream.MESSAGES_INBOUND.name, durables)
            figures = tally.read()
        await _require_answered(spine, messages, tally)
    return figures


async def fast_stream() -> tuple[float, float]:
    """A subscriber of FastStream. Raises spine_bus.Unkept."""
    tally = Tally()
    async with spine_bus.bus() as endpoint, spine_bus.ours(endpoint) as spine:
        messages = await _filled(endpoint)
        broker = _broker(endpoint, tally)
        async with broker, asyncio.timeout(spine_bus.SETTLES_S):
            await broker.start()
            await tally.everything.wait()
            await spine_bus.drained(spine, stream.MESSAGES_INBOUND.name, ["bench"])
            figures = tally.read()
        await _require_answered(spine, messages, tally)
    return figures


def _broker(endpoint: endpoints.NatsEndpoint, tally: Tally) -> faststream.nats.NatsBroker:
    broker = faststream.nats.NatsBroker(endpoint.url_with_credentials(), logger=None)

    @broker.subscriber(
        stream.MESSAGES_INBOUND.subjects[0],
        stream=faststream.nats.JStream(stream.MESSAGES_INBOUND.name, declare=False),
        durable="bench",
        config=api.ConsumerConfig(max_ack_pending=UNACKED, ack_wait=10),
        pull_sub=faststream.nats.PullSub(batch_size=BATCH, timeout=1),
    )
    async def answer(body: bytes, message: faststream.nats.NatsMessage) -> None:
        event = message_pb2.Message.FromString(body)
        tally.begin(event.event_id)
        command = _command(event)
        await broker.publish(
            command.SerializeToString(),
            f"tenant.{event.tenant}.messages.out.p00.webhook.{event.account}.{event.conversation}",
            headers=_headers(message.headers, command),
            stream=stream.MESSAGES_OUTBOUND.name,
        )

    return broker


def _command(event: message_pb2.Message) -> outbound_pb2.SendCommand:
    """The command that the SDK makes of a reply."""
    made = outbound_pb2.SendCommand(
        command_id=ids.derive_id("command", event.tenant, event.account, event.event_id, "bench", "0"),
        tenant=event.tenant,
        channel=event.channel,
        account=event.account,
        conversation=event.conversation,
        text=_reply(event.text),
        app="bench",
        cause_event_id=event.event_id,
    )
    made.relation.reply.message_id = event.message_id
    made.created_at.GetCurrentTime()
    return made


def _headers(found: dict[str, str], command: outbound_pb2.SendCommand) -> dict[str, str]:
    """The headers that our command has, in the same trace."""
    trace = found["trace-id"]
    return {
        contexts.TENANT: command.tenant,
        contexts.CORRELATION: found[contexts.CORRELATION],
        contexts.TRACEPARENT: f"00-{trace}-{secrets.token_hex(8)}-01",
        contexts.CORRELATION_PLAIN: found[contexts.CORRELATION],
        contexts.TRACE: trace,
        contexts.MESSAGE_ID: f"{command.tenant}:{command.command_id}",
        contexts.MESSAGE_TYPE: command.DESCRIPTOR.full_name,
    }


def _reply(text: str) -> str:
    return f"You said: {text}"


@contextlib.asynccontextmanager
async def _serving(app: sdk.App, endpoint: endpoints.NatsEndpoint) -> AsyncGenerator[None]:
    """The app at work, until the end of the block."""
    environ = {"PENSTOCK_NATS_URL": endpoint.url_with_credentials(), "PENSTOCK_SDK__LOG_LEVEL": "error"}
    kept = dict(os.environ)
    os.environ.update(environ)
    serving = asyncio.create_task(app.serve(tenants=[spine_bus.TENANT]))
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        os.environ.clear()
        os.environ.update(kept)


async def _durables(endpoint: endpoints.NatsEndpoint) -> list[str]:
    """The durables of the app once they stay the same, which is when it has made them all."""
    found: list[str] = []
    async with spine_bus.theirs(endpoint) as client, asyncio.timeout(STARTS_S):
        while True:
            await asyncio.sleep(0.2)
            names = [info.name for info in await client.jetstream().consumers_info(stream.MESSAGES_INBOUND.name)]
            if names and names == found:
                return names
            found = names


async def _filled(endpoint: endpoints.NatsEndpoint) -> list[ports.Outgoing]:
    messages = spine_bus.said(COUNT)
    async with spine_bus.ours(endpoint) as spine:
        await spine_bus.publish(spine.publish, messages, BATCH)
    return messages


async def _require_answered(spine: ports.Spine, messages: Iterable[ports.Outgoing], tally: Tally) -> None:
    """Each message was handled once and has one answer in the stream. Raises spine_bus.Unkept."""
    asked = [message_pb2.Message.FromString(message.body).event_id for message in messages]
    spine_bus.require_each_once(tally.events, asked, "messages handled")
    answered: list[str] = []
    async with contextlib.aclosing(spine.browse(stream.MESSAGES_OUTBOUND.name, ">", after=0)) as entries:
        async for entry in entries:
            answered.append(outbound_pb2.SendCommand.FromString(entry.body).cause_event_id)
            if len(answered) == len(asked):
                break
    spine_bus.require_each_once(answered, asked, "answers stored")


BENCHMARK = frame.Benchmark(
    name="spine_hop",
    unit="messages/s",
    better="higher",
    ours=ours,
    baseline=fast_stream,
    baseline_name="FastStream, NATS JetStream pull",
    also=(frame.Figure("spine_hop_cpu", "CPU us/message", "lower"),),
)
"""What one process of an app answers, and what an answer costs."""
