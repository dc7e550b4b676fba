"""The whole loop, from edge to platform, in one process, so that its spans and metrics can be read."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from penstock.app import configuration, house, roles, schema
from penstock.base import ids, settings, telemetry
from penstock.channels import ports
from penstock.channels.testing import webhook_sender, webhook_simulator
from penstock.database import migrations
from penstock.edge import settings as edge_settings
from penstock.edge import wiring as edge_wiring
from penstock.edge.entrypoints import probes
from penstock.sdk import App, replica
from penstock.servers import endpoints
from penstock.spine import provision
from penstock.spine.adapters import spine_nats

TENANT = ids.TenantId("acme")


@contextlib.asynccontextmanager
async def running(
    app: App, *, postgres: endpoints.PostgresEndpoint, nats: endpoints.NatsEndpoint
) -> AsyncGenerator[webhook_simulator.WebhookSimulator]:
    """A platform that talks to `app` through everything in between, as `penstock up` joins it."""
    found = configuration.load({"PENSTOCK_SEALING_KEY": "ab" * 32})
    await migrations.migrate(postgres.url(), schema.rooms())
    async with contextlib.AsyncExitStack() as stack:
        joined = await stack.enter_async_context(house.opened(found, postgres.url()))
        spine = await spine_nats.NatsSpine.connect(nats.url_with_credentials())
        stack.push_async_callback(spine.close)
        parts = roles.Parts(joined, spine, found)
        for role in roles.select(["channels"]):
            role.furnish(parts)
        address = await stack.enter_async_context(_serving(parts))
        platform = await stack.enter_async_context(_platform(joined, address))
        answering = replica.Replica(app, TENANT, spine)
        await answering.start()
        stack.push_async_callback(answering.drain, 5)
        yield platform


@contextlib.asynccontextmanager
async def _serving(parts: roles.Parts) -> AsyncGenerator[str]:
    """The listener, the workers and the publishers of the roles; yields where they listen."""
    await provision.streams(parts.spine)
    for policy, worker in parts.workers:
        await provision.durable(parts.spine, policy)
        await worker.start()
    for publisher in parts.publishers.values():
        await publisher.start()
    server = edge_wiring.EdgeServer(edge_settings.EdgeSettings(drain_s=2), parts.mounts, probes.Probes({}))
    serving = asyncio.create_task(server.serve())
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop()
        await serving
        await asyncio.gather(*(worker.drain(5) for _, worker in parts.workers))
        await asyncio.gather(*(publisher.stop() for publisher in parts.publishers.values()))


@contextlib.asynccontextmanager
async def _platform(joined: house.House, address: str) -> AsyncGenerator[webhook_simulator.WebhookSimulator]:
    """A tenant with one account on a platform."""
    secret = webhook_sender.fresh_secret()
    async with webhook_simulator.WebhookSimulator([secret]) as platform:
        await joined.tenancy.create(TENANT)
        made = await joined.channels.accounts.create(
            TENANT,
            "webhook",
            "shop",
            config={"url": platform.url},
            secrets={ports.SecretKind.SIGNING: settings.Secret(secret)},
        )
        platform.connect(f"http://{address}/webhooks/webhook/{made.account.id}")
        yield platform


def moved(before: bytes) -> dict[str, float]:
    """By how much each sample that has moved since `before`, an earlier exposition, did so."""
    then, now = _samples(before), _samples(telemetry.exposition())
    changes = {name: value - then.get(name, 0.0) for name, value in now.items()}
    return {name: change for name, change in changes.items() if change}


def _samples(exposition: bytes) -> dict[str, float]:
    lines = [line for line in exposition.decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
