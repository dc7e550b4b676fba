"""Messages stored per second by one client, each answer awaited, 256 in flight; and what a message costs in CPU."""

from collections.abc import Awaitable, Callable, Iterable

from bench import frame, spine_bus, spine_c_client

COUNT = 40_000
WINDOW = 256


async def ours() -> tuple[float, float]:
    """Through the spine's port. Raises spine_bus.Unkept."""
    messages = spine_bus.said(COUNT)
    async with spine_bus.bus() as endpoint, spine_bus.ours(endpoint) as spine:
        meter = spine_bus.Meter()
        answers = await spine_bus.publish(spine.publish, messages, WINDOW)
        figures = meter.read(COUNT)
    _require_stored([answer.sequence for answer in answers])
    return figures


async def nats_py() -> tuple[float, float]:
    """Through `publish_async`, which keeps the window itself. Raises spine_bus.Unkept."""
    messages = spine_bus.said(COUNT)
    async with spine_bus.bus() as endpoint, spine_bus.theirs(endpoint) as client:
        bus = client.jetstream(publish_async_max_pending=WINDOW)
        meter = spine_bus.Meter()
        asked = [
            await bus.publish_async(message.subject, message.body, headers=dict(message.headers))
            for message in messages
        ]
        answers = [await answer for answer in asked]
        figures = meter.read(COUNT)
    _require_stored([answer.seq for answer in answers])
    return figures


async def c_client() -> tuple[float, float]:
    """Through libnats' `js_PublishMsgAsync`. Raises frame.Absent where it is not installed, spine_bus.Unkept."""
    messages = spine_bus.said(COUNT)
    with spine_c_client.built() as program:
        async with spine_bus.bus() as endpoint:
            measured = await spine_c_client.publish(program, endpoint, messages, WINDOW)
            async with spine_bus.theirs(endpoint) as client:
                info = await client.jetstream().stream_info(messages[0].stream)
    # The program itself counts the answers.
    _require_stored(range(1, info.state.messages + 1))
    return measured


def _require_stored(sequences: Iterable[int]) -> None:
    spine_bus.require_each_once(sequences, range(1, COUNT + 1), "messages stored")


def _cpu_first(measure: Callable[[], Awaitable[tuple[float, float]]]) -> frame.Measure:
    async def measured() -> tuple[float, float]:
        rate, cpu_us = await measure()
        return cpu_us, rate

    return measured


BENCHMARK = frame.Benchmark(
    name="spine_publish",
    unit="messages/s",
    better="higher",
    ours=ours,
    baseline=nats_py,
    baseline_name="nats-py publish_async",
    also=(frame.Figure("spine_publish_cpu", "CPU us/message", "lower"),),
)
"""Our data plane and the official client, both in Python, both on uvloop."""

IN_C = frame.Benchmark(
    name="spine_publish_cpu_c",
    unit="CPU us/message",
    better="lower",
    ours=_cpu_first(ours),
    baseline=_cpu_first(c_client),
    baseline_name="libnats (C)",
    also=(frame.Figure("spine_publish_c", "messages/s", "higher"),),
)
"""The same beside the C client, by what a message costs."""
