"""A database with sealed secrets of some tenants' accounts, and the keys that open them."""

import dataclasses
import os

from penstock.app import schema
from penstock.base import settings
from penstock.channels.service import lookup
from penstock.channels.store import sealed
from penstock.database import migrations, pool, roles
from penstock.sealing import model, rekey, rekey_store, sealer, store

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))
TENANTS = ("acme", "globex", "initech")
SECRETS = 5
OLD, NEW = model.KeyEncryptionKey(b"o" * 32), model.KeyEncryptionKey(b"n" * 32)


@dataclasses.dataclass
class Safe:
    """What the tests of `rekey` share: a pool, and what was sealed, by tenant and owner."""

    url: str
    database: pool.Database
    plain: dict[tuple[str, str], bytes] = dataclasses.field(default_factory=dict)

    def process(self, *keys) -> sealer.Sealer:
        """As a process with these keys has it, the current one first."""
        return sealer.Sealer(store.KeyStore(self.database), model.KeyRing(keys[0], keys[1:]))

    @property
    def values(self) -> sealed.SealedSecrets:
        """The room's sealed rows."""
        return sealed.SealedSecrets(self.database, lookup.PURPOSE)

    async def account(self, tenant: str) -> None:
        """An account without secrets."""
        async with self.database.transaction("channels", [tenant]) as transaction:
            await transaction.execute(
                "insert into channels.account (tenant, id, channel, name) values (%s, 'acc-1', 'webhook', 'shop')",
                (tenant,),
            )

    async def add(self, sealing: sealer.Sealer, tenant: str, id: str) -> None:
        """Seal a secret and keep it, as the room does."""
        await self.keep(tenant, id, await self.seal(sealing, tenant, id))

    async def seal(self, sealing: sealer.Sealer, tenant: str, id: str) -> bytes:
        """Seal a secret that is kept later."""
        owner = f"acc-1/{id}"
        self.plain[tenant, owner] = os.urandom(40)
        return await sealing.seal(tenant, lookup.PURPOSE, owner, self.plain[tenant, owner])

    async def keep(self, tenant: str, id: str, raw: bytes) -> None:
        """Keep a sealed secret."""
        async with self.database.transaction("channels", [tenant]) as transaction:
            await transaction.execute(
                "insert into channels.account_secret (tenant, account, id, sealed) values (%s, 'acc-1', %s, %s)",
                (tenant, id, raw),
            )

    async def check(self, *keys) -> None:
        """Everything opens with these keys alone, in a process that remembers nothing."""
        sealing = self.process(*keys)
        found = {}
        for tenant in TENANTS:
            for each in await self.values.batch(tenant, "", 1000):
                found[tenant, each.owner] = await sealing.open(tenant, lookup.PURPOSE, each.owner, each.sealed)
        assert found == self.plain

    async def generations(self, tenant: str) -> set[int]:
        """Under which generations of the data key a tenant's values are sealed."""
        return {model.generation_of(each.sealed) for each in await self.values.batch(tenant, "", 1000)}

    async def rekey(self, *keys, **options) -> tuple[rekey.Rekey, rekey_store.RekeyStore]:
        """A rekeyer with these keys; close its store."""
        held = await rekey_store.connected(self.database)
        return rekey.Rekey(held, model.KeyRing(keys[0], keys[1:]), [self.values], **options), held


async def opened(endpoint) -> Safe:
    """Three tenants whose secrets are sealed under the old key."""
    await migrations.migrate(endpoint.url(), schema.rooms(), login=LOGIN)
    url = endpoint.url(user=LOGIN.name, password=LOGIN.password.reveal())
    safe = Safe(url, pool.Database(url, application="test", size=8))
    sealing = safe.process(OLD)
    await sealing.verify()
    for tenant in TENANTS:
        await safe.account(tenant)
        for number in range(SECRETS):
            await safe.add(sealing, tenant, f"s{number}")
    return safe
