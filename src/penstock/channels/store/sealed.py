"""The secrets of accounts as sealed bytes only: what sealing asks for when it replaces data keys."""

from collections.abc import Sequence

from penstock.base import ids
from penstock.database import pool
from penstock.sealing import ports as sealing


class SealedSecrets:
    """`sealing.ports.SealedValues` over `account_secret`; an owner is `<account>/<secret>`."""

    def __init__(self, database: pool.Database, purpose: str) -> None:
        self._database, self._purpose = database, purpose

    @property
    def purpose(self) -> str:
        """As `SealedValues.purpose`."""
        return self._purpose

    async def batch(self, tenant: str, after: str, limit: int) -> Sequence[sealing.SealedValue]:
        """As `SealedValues.batch`, by account and secret. A retired secret is forgotten already."""
        account, _, secret = after.partition("/")
        async with self._database.transaction("channels", [ids.TenantId(tenant)]) as transaction:
            rows = await transaction.fetch_all(
                "select account, id, sealed from channels.account_secret where tenant = %s and sealed is not null "
                "and (account, id) > (%s::text, %s::text) order by account, id limit %s::bigint",
                (tenant, account, secret, limit),
            )
        return [sealing.SealedValue(f"{account}/{secret}", bytes(sealed)) for account, secret, sealed in rows]

    async def replace(self, tenant: str, owner: str, *, old: bytes, new: bytes) -> bool:
        """As `SealedValues.replace`."""
        account, _, secret = owner.partition("/")
        async with self._database.transaction("channels", [ids.TenantId(tenant)]) as transaction:
            changed = await transaction.execute(
                "update channels.account_secret set sealed = %s where tenant = %s and account = %s and id = %s "
                "and sealed = %s",
                (new, tenant, account, secret, old),
            )
        return changed == 1
