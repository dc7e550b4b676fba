"""Webhooks as fast as they come, and at a steady rate: ours beside a bridge glued by hand.

    python -m bench.webhook ours|bridge|two [rate_per_s [seconds]]      one run while developing, with CPU by process

Both sides are one process of their own on servers started alike (Postgres with fsync, JetStream on file) beside the
process that posts. An event counts when it was answered 200, its row is there once, and its stream has it once.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import nats
import nats.js.errors

from bench import frame, load, loop, webhook_client
from penstock.app import child, configuration, endpoints, house, up
from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import webhook_sender, webhook_signature
from penstock.edge import wiring
from penstock.servers import embedded, probe

DRAINS_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offer:
    """How many events, over how many connections, at which rate (0: as fast as they are answered)."""

    count: int
    connections: int
    rate_per_s: float = 0.0


CEILING = Offer(count=30_000, connections=64)
STEADY = Offer(count=72_000, connections=64, rate_per_s=1000.0)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run: sorted latencies, events per second until the last was published, and answered; CPU in us per event."""

    latencies_ms: list[float]
    per_s: float
    answered_per_s: float
    cpu_us: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Side:
    """What is measured: its webhook in each process, process ids by part, and how many rows and stream messages."""

    urls: tuple[str, ...]
    secret: str
    pids: dict[str, int]
    stored: Callable[[], Awaitable[tuple[int, int]]]


async def measure(side: Side, offer: Offer) -> Measured:
    """Offer it all. Raises load.Unkept when an event was not answered 200, is missing, or is there twice."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(_client(_job(side, url, offer, number)))
            for number, url in enumerate(side.urls)
        ]
        before, begun_s = _cpu(side.pids), time.perf_counter()
        done = await asyncio.gather(*(go() for go in clients))
        answered_s = time.perf_counter() - begun_s
        await _until_stored(side, offer.count)
        seconds = time.perf_counter() - begun_s
        after = _cpu(side.pids)
    statuses = sum((collections.Counter(one.statuses) for one in done), collections.Counter[int]())
    if statuses != {200: offer.count}:
        raise load.Unkept(f"of {offer.count} requests, answers by status: {dict(statuses)}")
    cpu_us = {part: (after[part] - before[part]) / offer.count * 1e6 for part in side.pids}
    return Measured(
        latencies_ms=sorted(latency_ms for one in done for latency_ms in one.latencies_ms),
        per_s=offer.count / seconds,
        answered_per_s=offer.count / answered_s,
        cpu_us={**cpu_us, "client": sum(one.cpu_s for one in done) / offer.count * 1e6},
    )


def _job(side: Side, url: str, offer: Offer, number: int) -> webhook_client.Job:
    at, shares = urlsplit(url), len(side.urls)
    return webhook_client.Job(
        host=at.hostname or "",
        port=at.port or 0,
        path=at.path,
        key=webhook_signature.key_from(side.secret).hex(),
        prefix=f"w{number}",
        count=offer.count // shares,
        connections=offer.connections // shares,
        rate_per_s=offer.rate_per_s / shares,
    )


async def _until_stored(side: Side, count: int) -> None:
    deadline_s = time.monotonic() + DRAINS_S
    while (found := await side.stored()) != (count, count):
        if time.monotonic() > deadline_s or max(found) > count:
            raise load.Unkept(f"{count} events became {found[0]} rows and {found[1]} messages of the stream")
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _client(job: webhook_client.Job) -> AsyncGenerator[Callable[[], Awaitable[webhook_client.Done]]]:
    """The posting process, all requests signed; the yielded function lets it begin and waits for its results."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.webhook_client",
        cwd=loop.REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 << 20,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout
    try:
        into.write(json.dumps(dataclasses.asdict(job)).encode() + b"\n")
        if await out.readline() != b"ready\n":
            raise RuntimeError("the posting process did not start")

        async def go() -> webhook_client.Done:
            into.write(b"go\n")
            found: dict[str, Any] = json.loads(await out.readline())
            statuses = {int(status): count for status, count in found.pop("statuses").items()}
            return webhook_client.Done(statuses=statuses, **found)

        yield go
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def ours(*, processes: int = 1) -> AsyncGenerator[Side]:
    """`penstock up` with one account; more processes take webhooks on ports of their own."""
    secret = webhook_sender.fresh_secret()
    async with contextlib.AsyncExitStack() as stack:
        environ = stack.enter_context(loop.environment())
        found = configuration.load(environ)
        installation = await stack.enter_async_context(up.running(found, environ))
        joined = await stack.enter_async_context(house.of_running_installation(found))
        await joined.tenancy.create(loop.TENANT)
        account = await joined.channels.accounts.create(
            loop.TENANT,
            "webhook",
            "bench",
            config={"url": "https://platform.test/"},
            secrets={ports.SecretKind.SIGNING: settings.Secret(secret)},
        )
        at = installation.endpoints
        messages = await stack.enter_async_context(
            _stream(at.nats_url, "MESSAGES_INBOUND", at.nats_user, at.nats_password)
        )

        async def stored() -> tuple[int, int]:
            async with joined.database.transaction("channels", [loop.TENANT]) as transaction:
                rows = await transaction.fetch_one("select count(*) from channels.message")
                sent = await transaction.fetch_one(
                    "select count(distinct stream_seq), count(*) from channels.outbox where published_at is not null"
                )
            assert rows is not None
            assert sent is not None
            return rows[0], sent[1] if sent[0] == sent[1] == await messages() else min(*sent, await messages())

        pids = {"process": installation.core.pid, **_servers(Path(environ["PENSTOCK_DATA"]))}
        urls = [joined.webhook_url(account.account)]
        for number in range(1, processes):
            pids[f"process {number}"], port = await stack.enter_async_context(_one_more(environ, at))
            urls.append(urlsplit(urls[0])._replace(netloc=f"127.0.0.1:{port}").geturl())
        yield Side(tuple(urls), secret, pids, stored)


@contextlib.asynccontextmanager
async def _one_more(environ: dict[str, str], at: endpoints.Endpoints) -> AsyncGenerator[tuple[int, int]]:
    """One more process that takes webhooks for the same servers: its id and its port."""
    with wiring.bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    there = urlsplit(at.nats_url)
    process = await asyncio.create_subprocess_exec(
        *child.PROGRAM,
        "inbound",
        env={
            **environ,
            "PENSTOCK_NATS_URL": f"nats://{at.nats_user}:{at.nats_password}@{there.hostname}:{there.port}",
            "PENSTOCK_POSTGRES_URL": at.postgres_url,
            "PENSTOCK_EDGE__PORT": str(port),
        },
    )
    try:
        async with asyncio.timeout(loop.STARTS_S):
            while (await probe.http_get("127.0.0.1", port, "/ready"))[0] != 200:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def bridge() -> AsyncGenerator[Side]:
    """The bridge on servers of its own."""
    secret = webhook_sender.fresh_secret()
    async with contextlib.AsyncExitStack() as stack:
        environ = stack.enter_context(loop.environment())
        servers = embedded.EmbeddedServers(configuration.load(environ).servers)
        at = await servers.start()
        stack.push_async_callback(servers.stop)
        environ = {
            **environ,
            "BRIDGE_NATS_URL": at.nats.url_with_credentials(),
            "BRIDGE_POSTGRES_URL": at.postgres_url.reveal(),
            "BRIDGE_SECRET": secret,
            "BRIDGE_PLATFORM_URL": "http://platform.test/",
        }
        url, pid = await stack.enter_async_context(_bridge(environ))
        messages = await stack.enter_async_context(_stream(at.nats.url_with_credentials(), "BRIDGE_IN"))
        rows = await asyncpg.connect(at.postgres_url.reveal())
        stack.push_async_callback(rows.close)

        async def stored() -> tuple[int, int]:
            return await rows.fetchval("select count(*) from bridge_message"), await messages()

        yield Side((url,), secret, {"process": pid, **_servers(Path(environ["PENSTOCK_DATA"]))}, stored)


@contextlib.asynccontextmanager
async def _bridge(environ: dict[str, str]) -> AsyncGenerator[tuple[str, int]]:
    """The bridge's process: its webhook's URL, and its process id."""
    before = _children(os.getpid())
    async with loop.process("bridge", environ) as url:
        (pid,) = _children(os.getpid()) - before
        yield url, pid


@contextlib.asynccontextmanager
async def _stream(
    url: str, name: str, user: str = "", password: str = ""
) -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """Counts the messages of a stream."""
    client = await nats.connect(url, user=user or None, password=password or None)
    try:
        bus = client.jetstream()

        async def messages() -> int:
            return (await bus.stream_info(name)).state.messages

        yield messages
    finally:
        await client.close()


def _servers(data: Path) -> dict[str, int]:
    return {name: int(json.loads((data / "run" / f"{name}.json").read_text())["pid"]) for name in ("postgres", "nats")}


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds of each process and of its children (Postgres has one for each connection)."""
    return {part: sum(map(_cpu_s, {pid, *_children(pid)})) for part, pid in pids.items()}


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.update(map(int, (task / "children").read_text().split()))
    return found


async def _ceiling(side: Callable[[], contextlib.AbstractAsyncContextManager[Side]]) -> Sequence[float]:
    async with side() as opened:
        measured = await measure(opened, CEILING)
    return measured.per_s, measured.cpu_us["process"]


async def _steady(side: Callable[[], contextlib.AbstractAsyncContextManager[Side]]) -> Sequence[float]:
    async with side() as opened:
        measured = await measure(opened, STEADY)
    return load.percentile(measured.latencies_ms, 99), load.percentile(measured.latencies_ms, 50)


SIDES: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Side]]] = {
    "ours": ours,
    "bridge": bridge,
    "two": functools.partial(ours, processes=2),
}
BRIDGE = "Starlette + asyncpg + nats-py"
CEILING_BENCHMARK = frame.Benchmark(
    name="webhook_ceiling",
    unit="requests/s",
    better="higher",
    ours=lambda: _ceiling(ours),
    baseline=lambda: _ceiling(bridge),
    baseline_name=BRIDGE,
    also=(frame.Figure("webhook_cpu", "us", "lower"),),
)
"""Closed loop until the last event was published; and the CPU of the one process for each."""

TWO_BENCHMARK = frame.Benchmark(
    name="webhook_two_processes",
    unit="requests/s",
    better="higher",
    ours=lambda: _ceiling(SIDES["two"]),
    baseline=lambda: _ceiling(ours),
    baseline_name="one process",
    also=(frame.Figure("webhook_two_processes_cpu", "us", "lower"),),
)
"""The same from two processes that share the servers, beside one; and the CPU of the first for each event of both."""

STEADY_BENCHMARK = frame.Benchmark(
    name="webhook_p99",
    unit="ms",
    better="lower",
    ours=lambda: _steady(ours),
    baseline=lambda: _steady(bridge),
    baseline_name=BRIDGE,
    also=(frame.Figure("webhook_p50", "ms", "lower"),),
)
"""From the moment a request is due to its answer, at 1,000 a second for a minute after twelve seconds of warming up."""


async def main(side: str, rate_per_s: float = 0.0, seconds: float = 5.0) -> None:
    """One run, and what it cost."""
    offer = Offer(
        count=round(rate_per_s * seconds) if rate_per_s else round(4000 * seconds),
        connections=64,
        rate_per_s=rate_per_s,
    )
    async with SIDES[side]() as opened:
        measured = await measure(opened, offer)
    latencies_ms = measured.latencies_ms
    percentiles = "  ".join(f"p{percent} {load.percentile(latencies_ms, percent):.2f} ms" for percent in (50, 90, 99))
    print(f"{side}: {measured.per_s:,.0f}/s published, {measured.answered_per_s:,.0f}/s answered")
    print(f"  {percentiles}")
    print("  CPU us per event: " + ", ".join(f"{part} {used:.0f}" for part, used in measured.cpu_us.items()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(float, sys.argv[2:])))
