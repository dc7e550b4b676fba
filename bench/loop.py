"""The whole loop under load: webhook, app, and back to the platform; on Penstock and on the hand-glued bridge.

Both sides run on servers started alike (`servers.embedded`: Postgres with fsync, nats-server with file storage), the
bridge or the core in one process and the app in another, beside the process that offers the load and plays platform.
"""

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from pathlib import Path

from bench import frame, load
from penstock.app import apps, configuration, examples, house, up
from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import webhook_simulator
from penstock.servers import embedded
from penstock.servers import testing as server_testing

OFFERED = load.Load()
TENANT = "bench"
REPOSITORY = Path(__file__).resolve().parents[1]
STARTS_S = 20.0


async def _percentiles(loop: Callable[[load.Load], Awaitable[list[float]]]) -> tuple[float, float]:
    """p99 and p50 of the load that is offered."""
    latencies_ms = await loop(OFFERED)
    return load.percentile(latencies_ms, 99), load.percentile(latencies_ms, 50)


async def ours(offered: load.Load) -> list[float]:
    """Latencies in ms, sorted, of `penstock up` with the echo app. Raises load.Unkept."""
    async with running() as side:
        return await load.offer(side.platform, offered)


@dataclasses.dataclass(frozen=True)
class Running:
    """Ours, ready: the platform that talks to it, and its processes."""

    platform: webhook_simulator.WebhookSimulator
    core_pid: int
    app_pid: int


@contextlib.asynccontextmanager
async def running(**more: str) -> AsyncGenerator[Running]:
    """`penstock up` with the echo app and a connected platform; `more` variables for both."""
    platform, secret = load.simulator()
    async with platform, contextlib.AsyncExitStack() as stack:
        environ = stack.enter_context(environment()) | more
        found = configuration.load(environ)
        installation = await stack.enter_async_context(up.running(found, environ))
        async with house.of_running_installation(found) as joined:
            await joined.tenancy.create(TENANT)
            account = await joined.channels.accounts.create(
                TENANT,
                "webhook",
                "bench",
                config={"url": platform.url},
                secrets={ports.SecretKind.SIGNING: settings.Secret(secret)},
            )
            platform.connect(joined.webhook_url(account.account))
        of_app = {**installation.environ, "PENSTOCK_TENANT": TENANT}
        app = await stack.enter_async_context(apps.running(examples.path("echo") / "app.py", of_app))
        yield Running(platform, installation.core.pid, app.pid)


async def bridge(offered: load.Load) -> list[float]:
    """Latencies in ms, sorted, of the hand-glued bridge. Raises load.Unkept."""
    platform, secret = load.simulator()
    async with platform, contextlib.AsyncExitStack() as stack:
        environ = stack.enter_context(environment())
        servers = embedded.EmbeddedServers(configuration.load(environ).servers)
        at = await servers.start()
        stack.push_async_callback(servers.stop)
        environ = {
            **environ,
            "BRIDGE_NATS_URL": at.nats.url_with_credentials(),
            "BRIDGE_POSTGRES_URL": at.postgres_url.reveal(),
            "BRIDGE_SECRET": secret,
            "BRIDGE_PLATFORM_URL": platform.url,
        }
        platform.connect(await stack.enter_async_context(process("bridge", environ)))
        await stack.enter_async_context(process("app", environ))
        return await load.offer(platform, offered)


@contextlib.asynccontextmanager
async def process(part: str, environ: Mapping[str, str]) -> AsyncGenerator[str]:
    """One process of the bridge; yields the line it says when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.baseline_bridge",
        part,
        env=environ,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_S):
            line = (await process.stdout.readline()).decode().strip()
        if not line:
            raise RuntimeError(f"the {part} process of the baseline did not start")
        yield line
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.contextmanager
def environment() -> Generator[dict[str, str]]:
    """A data folder that is gone afterwards, in an environment without the user's own settings."""
    with server_testing.temporary_folder() as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        yield {
            **kept,
            "PENSTOCK_DATA": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PENSTOCK_TELEMETRY__LOG_LEVEL": "error",
            "PENSTOCK_SDK__LOG_LEVEL": "error",
        }


BENCHMARK = frame.Benchmark(
    name="loop_p99",
    unit="ms",
    better="lower",
    ours=lambda: _percentiles(ours),
    baseline=lambda: _percentiles(bridge),
    baseline_name="Starlette + asyncpg + nats-py + httpx",
    also=(frame.Figure("loop_p50", "ms", "lower"),),
)
"""From the moment a message is due to the arrival of its answer, at 500 conversations a second."""
