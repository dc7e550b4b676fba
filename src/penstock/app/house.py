"""The rooms, joined over one database: what roles run on and what the command line calls."""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from penstock.app import configuration, endpoints, schema
from penstock.base import errors
from penstock.channels import ports as channel_ports
from penstock.channels import registry as channel_registry
from penstock.channels import wiring as channels_wiring
from penstock.database import changes, listener, migrations, pool
from penstock.sealing import model as sealing_model
from penstock.sealing import sealer
from penstock.sealing import store as sealing_store
from penstock.sealing import wiring as sealing_wiring
from penstock.servers import folder, watermark
from penstock.state import erasures, failures, losses, quarantine
from penstock.tenancy import service as tenancy
from penstock.tenancy import store as tenancy_store


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    """Services of every room; each binds its own tenant and role in the database.

    `listener` is for processes that live: once started, what others change is forgotten here at once.
    """

    database: pool.Database
    tenancy: tenancy.Tenancy
    channels: channels_wiring.ChannelsRoom
    quarantine: quarantine.Quarantine
    failures: failures.Failures
    losses: losses.Losses
    erasures: erasures.Erasures
    listener: listener.Listener
    database_url: str
    http_url: str

    def webhook_url(self, account: channel_ports.Account) -> str:
        """Where an account's platform posts to."""
        return f"{self.http_url}/webhooks/{account.channel}/{account.id}"

    async def check(self) -> str:
        """Empty when Postgres answers, else one sentence."""
        try:
            await self.database.ping()
        except errors.PenstockError as error:
            return error.detail
        return ""


@contextlib.asynccontextmanager
async def opened(
    found: configuration.Configuration,
    database_url: str,
    *,
    http_url: str = "",
    application: str = "penstock",
    seals: bool = True,
    lives: bool = True,
) -> AsyncGenerator[House]:
    """The rooms over a database that this build's migrations were applied to.

    A process that never `seals` needs no key, and no login that may read sealed ones; one that `lives` proves that its
    key can be used now, before it takes anything in. Raises Rejected `newer_schema`, `sealing_key_missing` or
    `sealing_key_wrong` when this process could not open the database's secrets, Unavailable while the database, or a
    key service, is away or the schema behind.
    """
    none = sealing_model.KeyRing(sealing_model.NoKey())
    ring = sealing_wiring.ring(found.sealing, found.key_file) if seals else none
    await migrations.check(database_url, schema.rooms())
    database = pool.Database(database_url, application=application, size=found.database.connections)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        sealing = sealer.Sealer(sealing_store.KeyStore(database), ring, cache_s=found.sealing.data_key_cache_s)
        stack.push_async_callback(sealing.close)
        if seals:
            await sealing.verify()
        if seals and lives:
            await sealing.check()
        tenants = tenancy.Tenancy(tenancy_store.TenantStore(database))
        around = channels_wiring.Surroundings(
            database=database, sealer=sealing, tenants=tenants, intake_open=_intake(found)
        )
        channels = channels_wiring.build(found.channels, around)
        stack.push_async_callback(channels.close)
        ear = listener.Listener(database_url, application=application)
        ear.on(changes.TENANT, tenants.forget, tenants.forget_all)
        ear.on(changes.ACCOUNT, channels.forget, channels.forget_all)
        stack.push_async_callback(ear.stop)
        yield House(
            database,
            tenants,
            channels,
            quarantine.Quarantine(database),
            failures.Failures(database, schema.OUTBOXES),
            losses.Losses(database, schema.OUTBOXES),
            erasures.Erasures(database, sealing),
            ear,
            database_url,
            http_url,
        )


@contextlib.asynccontextmanager
async def of_running_installation(found: configuration.Configuration) -> AsyncGenerator[House]:
    """The rooms of the installation that runs in the data folder, or else over the database that the settings name.

    Raises Unavailable `not_running` when there is neither.
    """
    postgres_url, http_url = located(found)
    async with opened(found, postgres_url, http_url=http_url, application="penstock cli", lives=False) as joined:
        yield joined


def known_channels(found: configuration.Configuration) -> channel_registry.Registry:
    """Every channel that accounts may be made for, those of other distributions among them. Raises Rejected."""
    return channels_wiring.extended(found.channels)[0]


def located(found: configuration.Configuration) -> tuple[str, str]:
    """Where verbs find the database, and the edge if it is known. Raises Unavailable `not_running`."""
    try:
        where = endpoints.read(folder.absolute(found.servers.data_folder))
    except errors.Unavailable:
        if found.servers.postgres_url is None:
            raise
        return found.servers.postgres_url.reveal(), ""
    return where.postgres_url, where.http_url


def _intake(found: configuration.Configuration) -> Callable[[], bool]:
    """Whether there is room on the disk that the embedded servers write to; always, where both are elsewhere."""
    path: Path = found.servers.data_folder
    if not path.is_dir():
        return lambda: True
    limits = found.servers
    mark = watermark.Watermark(path, limits.stop_intake_below_bytes, limits.resume_intake_above_bytes)
    return lambda: mark.intake_open
