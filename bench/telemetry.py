"""What it costs to watch: the loop with spans to a collector and logs at info, beside the same loop with neither.

Both sides are ours, in turn in one run, so the ratio is the price of telemetry: 0.9 is a tenth slower with it on. The
collector is a process that takes what it is sent, counts the spans and forgets them; each run checks that all came.

`python -m bench.telemetry collector` runs that collector; `... on|off [conversations a second]` measures one side once.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from bench import frame, load, loop

SPANS = 8
"""Spans of one conversation: receive, store, publish, handle, reply, handle, send, publish of the receipt."""
OFFERED = load.Load(rate_per_s=250.0)
"""Half of what `loop_p99` offers: below the ceiling on both sides, where a difference is a price and not a queue."""


async def _on() -> tuple[float, float, float]:
    """p99 and p50 in ms, and CPU of core and app in ms a conversation, with everything recorded."""
    async with _collector() as collector:
        port = (await collector.stdout.readline()).decode().strip() if collector.stdout else ""
        endpoint = {"PENSTOCK_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        quiet = {"PENSTOCK_TELEMETRY__LOG_LEVEL": "info", "PENSTOCK_SDK__LOG_LEVEL": "info"}
        measured = await _measure(**endpoint, **quiet)
        collector.terminate()
        said = (await collector.stdout.read()).decode().strip() if collector.stdout else ""
    wanted = OFFERED.count * SPANS
    if int(said or 0) < wanted:
        raise load.Unkept(f"the collector got {said} spans of {wanted}")
    return measured


async def _off() -> tuple[float, float, float]:
    """The same with nothing recorded."""
    return await _measure()


async def _measure(**more: str) -> tuple[float, float, float]:
    async with loop.running(**more) as side:
        before_s = _cpu_s(side.core_pid) + _cpu_s(side.app_pid)
        latencies_ms = await load.offer(side.platform, OFFERED)
        cpu_s = _cpu_s(side.core_pid) + _cpu_s(side.app_pid) - before_s
    return load.percentile(latencies_ms, 99), load.percentile(latencies_ms, 50), cpu_s / OFFERED.count * 1000


def _cpu_s(pid: int) -> float:
    """Seconds of CPU of all threads of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def _collector() -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.telemetry", "collector", cwd=loop.REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def collect() -> None:
    """Listen on a free port of loopback, say which, and on SIGTERM how many spans came."""
    import signal

    bodies: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    parsed = (trace_service_pb2.ExportTraceServiceRequest.FromString(body) for body in bodies)
    print(sum(len(scope.spans) for one in parsed for group in one.resource_spans for scope in group.scope_spans))


BENCHMARK = frame.Benchmark(
    name="telemetry_p99",
    unit="ms",
    better="lower",
    ours=_on,
    baseline=_off,
    baseline_name="the same, telemetry off",
    also=(frame.Figure("telemetry_p50", "ms", "lower"), frame.Figure("telemetry_cpu", "ms CPU", "lower")),
)
"""The loop at half its rate, everything recorded, beside nothing recorded."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["collector"]:
        asyncio.run(collect())
    else:
        if len(sys.argv) > 2:
            OFFERED = load.Load(rate_per_s=float(sys.argv[2]))
        figures = asyncio.run(_on() if sys.argv[1:2] == ["on"] else _off())
        print("p99 {:.1f} ms, p50 {:.1f} ms, {:.3f} ms CPU a conversation".format(*figures))
