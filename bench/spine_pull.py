"""Messages pulled and acknowledged per second by one client from a full stream; and what a message costs in CPU."""

import asyncio

from bench import frame, spine_bus
from penstock.servers import endpoints
from penstock.spine import consumer, ports, provision, stream

COUNT = 40_000
BATCH = 256
UNACKED = 1024
POLICY = consumer.ConsumerPolicy(
    "bench", stream.MESSAGES_INBOUND.name, stream.MESSAGES_INBOUND.subjects[0], max_ack_pending=UNACKED
)


async def ours() -> tuple[float, float]:
    """Through the spine's port: a callback, and one task that acknowledges. Raises spine_bus.Unkept."""
    async with spine_bus.bus() as endpoint, spine_bus.ours(endpoint) as spine:
        bodies = await _filled(endpoint)
        got: list[bytes] = []
        arrived: list[ports.Delivery] = []
        more = asyncio.Event()

        def receive(delivery: ports.Delivery) -> None:
            arrived.append(delivery)
            more.set()

        meter = spine_bus.Meter()
        subscription = await spine.consume(POLICY, receive, window=2 * BATCH)
        async with asyncio.timeout(spine_bus.SETTLES_S):
            while len(got) < COUNT:
                await more.wait()
                more.clear()
                batch, arrived[:] = arrived[:], ()
                for delivery in batch:
                    got.append(delivery.body)
                    await delivery.ack()
        await spine_bus.drained(spine, POLICY.stream, [POLICY.name])
        figures = meter.read(COUNT)
        await subscription.close()
    spine_bus.require_each_once(got, bodies, "messages pulled")
    return figures


async def nats_py() -> tuple[float, float]:
    """Through `fetch`, batch by batch. Raises spine_bus.Unkept."""
    async with (
        spine_bus.bus() as endpoint,
        spine_bus.theirs(endpoint) as client,
        spine_bus.ours(endpoint) as spine,
    ):
        bodies = await _filled(endpoint)
        got: list[bytes] = []
        meter = spine_bus.Meter()
        subscription = await client.jetstream().pull_subscribe_bind(POLICY.name, POLICY.stream)
        while len(got) < COUNT:
            for message in await subscription.fetch(BATCH, timeout=spine_bus.SETTLES_S):
                got.append(message.data)
                await message.ack()
        await spine_bus.drained(spine, POLICY.stream, [POLICY.name])
        figures = meter.read(COUNT)
    spine_bus.require_each_once(got, bodies, "messages pulled")
    return figures


async def _filled(endpoint: endpoints.NatsEndpoint) -> list[bytes]:
    """Fill the stream and make the durable; returns the bodies."""
    messages = spine_bus.said(COUNT)
    async with spine_bus.ours(endpoint) as spine:
        await spine_bus.publish(spine.publish, messages, BATCH)
        await provision.durable(spine, POLICY)
    return [message.body for message in messages]


BENCHMARK = frame.Benchmark(
    name="spine_pull",
    unit="messages/s",
    better="higher",
    ours=ours,
    baseline=nats_py,
    baseline_name=f"nats-py fetch({BATCH})",
    also=(frame.Figure("spine_pull_cpu", "CPU us/message", "lower"),),
)
"""Our pull consumer and the official client's."""
