"""The rooms, joined over one database: what roles run on and what the command line calls."""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from penstock.app import configuration, endpoints, schema
from penstock.base import errors
from penstock.channels import ports as channel_ports
from penstock.channels import wiring as channels_wiring
from penstock.database import migrations, pool
from penstock.sealing import keys, sealer
from penstock.sealing import store as sealing_store
from penstock.servers import folder, watermark
from penstock.state import failures, losses, quarantine
from penstock.tenancy import service as tenancy
from penstock.tenancy import store as tenancy_store


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    """Services of every room; each binds its own tenant and role in the database."""

    database: pool.Database
    tenancy: tenancy.Tenancy
    channels: channels_wiring.ChannelsRoom
    quarantine: quarantine.Quarantine
    failures: failures.Failures
    losses: losses.Losses
    database_url: str
    http_url: str

    def webhook_url(self, account: channel_ports.Account) -> str:
        """Where an account's platform posts to."""
        return f"{self.http_url}/webhooks/{account.channel}/{account.id}"

    async def check(self) -> str:
        """Empty when Postgres answers, else one sentence."""
        try:
            async with self.database.transaction("tenancy") as transaction:
                await transaction.fetch_one("select 1")
        except errors.PenstockError as error:
            return error.detail
        return ""


@contextlib.asynccontextmanager
async def opened(
    found: configuration.Configuration, database_url: str, *, http_url: str = "", application: str = "penstock"
) -> AsyncGenerator[House]:
    """The rooms over a database that this build's migrations were applied to.

    Raises Rejected `newer_schema`, `sealing_key_missing` or `sealing_key_wrong` when this process could not open the
    database's secrets, Unavailable while the database is away or its schema behind.
    """
    ring = keys.load(found.sealing, found.key_file)
    await migrations.check(database_url, schema.rooms())
    database = pool.Database(database_url, application=application, size=found.database.connections)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        sealing = sealer.Sealer(sealing_store.KeyStore(database), ring)
        await sealing.verify()
        tenants = tenancy.Tenancy(tenancy_store.TenantStore(database))
        around = channels_wiring.Surroundings(
            database=database, sealer=sealing, tenants=tenants, intake_open=_intake(found)
        )
        channels = channels_wiring.build(found.channels, around)
        stack.push_async_callback(channels.close)
        yield House(
            database,
            tenants,
            channels,
            quarantine.Quarantine(database),
            failures.Failures(database, schema.OUTBOXES),
            losses.Losses(database, schema.OUTBOXES),
            database_url,
            http_url,
        )


@contextlib.asynccontextmanager
async def of_running_installation(found: configuration.Configuration) -> AsyncGenerator[House]:
    """The rooms of the installation that runs in the data folder. Raises Unavailable `not_running`."""
    where = endpoints.read(folder.absolute(found.servers.data_folder))
    async with opened(found, where.postgres_url, http_url=where.http_url, application="penstock cli") as joined:
        yield joined


def _intake(found: configuration.Configuration) -> Callable[[], bool]:
    """Whether there is room on the disk that the embedded servers write to; always, where both are elsewhere."""
    path: Path = found.servers.data_folder
    if not path.is_dir():
        return lambda: True
    limits = found.servers
    mark = watermark.Watermark(path, limits.stop_intake_below_bytes, limits.resume_intake_above_bytes)
    return lambda: mark.intake_open
