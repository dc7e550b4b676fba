"""The channels room over a real Postgres: its own schema, real sealing and tenancy, platforms that can be steered."""

import asyncio
import dataclasses
import os
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from penstock.app import schema
from penstock.base import ids, tasks
from penstock.channels import ports, wiring
from penstock.channels.settings import ChannelsSettings
from penstock.database import migrations, pool
from penstock.edge import settings as edge_settings
from penstock.edge import wiring as edge_wiring
from penstock.edge.entrypoints import http as edge_http
from penstock.edge.entrypoints import probes
from penstock.sealing import model as sealing_model
from penstock.sealing import sealer, store
from penstock.servers.endpoints import PostgresEndpoint
from penstock.tenancy import service as tenancy
from penstock.tenancy import store as tenancy_store
from tests.unit.channels import fakes

ROOMS = ("tenancy", "sealing", "channels")


@dataclasses.dataclass
class House:
    """Everything that outlives a process (the database, the platforms), and the room of the process that runs now."""

    url: str
    database: pool.Database
    tenancy: tenancy.Tenancy
    sealer: sealer.Sealer
    platform: fakes.Platform
    terminal: fakes.Platform
    room: wiring.ChannelsRoom

    def restart(self, limits: ChannelsSettings | None = None) -> wiring.ChannelsRoom:
        """The process is gone with all that it remembered; another one starts over the same rows."""
        around = wiring.Surroundings(self.database, self.sealer, self.tenancy)
        platforms: dict[str, ports.Channel] = {"webhook": self.platform, "terminal": self.terminal}
        self.room = wiring.build(limits or ChannelsSettings(terminal_poll_s=0.05), around, platforms)
        return self.room

    async def account(self, tenant: str = "acme", name: str = "shop", channel: str = "webhook") -> ports.Account:
        config = {"url": "https://example.test/hook"} if channel == "webhook" else {}
        made = await self.room.accounts.create(tenant, channel, name, config=config)
        return made.account

    async def rows(self, sql: str, *values: Any, tenant: str = "acme") -> list[tuple[Any, ...]]:
        async with self.database.transaction("channels", [tenant]) as transaction:
            return await transaction.fetch_all(sql, values)

    async def outbox(self, stream: str, *, tenant: str = "acme") -> Sequence[tuple[Any, ...]]:
        """Subject, message id and body of what waits to be published, in order."""
        return await self.rows(
            "select subject, message_id, body from channels.outbox where stream = %s order by seq",
            stream,
            tenant=tenant,
        )


@pytest.fixture
async def house(fresh_postgres: PostgresEndpoint) -> AsyncGenerator[House]:
    url = fresh_postgres.url()
    await migrations.migrate(url, [one for one in schema.rooms() if one.room in ROOMS])
    database = pool.Database(url, application="test", size=8)
    ring = sealing_model.KeyRing(sealing_model.KeyEncryptionKey(os.urandom(32)), ())
    tenants = tenancy.Tenancy(tenancy_store.TenantStore(database))
    found = House(
        url,
        database,
        tenants,
        sealer.Sealer(store.KeyStore(database), ring),
        fakes.Platform(),
        fakes.Platform("terminal"),
        room=None,  # type: ignore[arg-type]
    )
    found.restart()
    for tenant in (fakes.ACME, fakes.BETA):
        await tenants.create(ids.TenantId(tenant))
    try:
        yield found
    finally:
        await found.room.close()
        await database.close()


@pytest.fixture
async def shipped(house: Any) -> AsyncGenerator[wiring.ChannelsRoom]:
    """The room with the adapters that people get."""
    around = wiring.Surroundings(house.database, house.sealer, house.tenancy)
    limits = ChannelsSettings(terminal_poll_s=0.05, body_limit_bytes=10_000, account_cache_s=0)
    room = house.room = wiring.build(limits, around)
    yield room
    await room.close()


@pytest.fixture
async def address(shipped: wiring.ChannelsRoom) -> AsyncGenerator[str]:
    """Where the room listens."""
    mounts = [edge_http.Mount("/webhooks/", shipped.webhooks), edge_http.Mount("/v1/terminal/", shipped.terminal)]
    probe = probes.Probes({})
    server = edge_wiring.EdgeServer(edge_settings.EdgeSettings(drain_s=2), mounts, probe)
    own = tasks.Tasks()
    serving = own.once("edge", server.serve())
    yield f"127.0.0.1:{server.port}"
    shipped.stop()
    server.stop()
    async with asyncio.timeout(10):
        await serving
