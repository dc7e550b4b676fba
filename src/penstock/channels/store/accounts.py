"""Rows of `account`, `account_directory` and `account_secret`."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from penstock.base import ids
from penstock.channels import ports
from penstock.channels.model import account as model
from penstock.database import changes, pool

_COLUMNS = "tenant, id, channel, name, config, created_at, disabled_at"
_ONE = f"select {_COLUMNS} from channels.account where tenant = %s and id = %s"  # noqa: S608 - our own words
_ALL = f"select {_COLUMNS} from channels.account where tenant = %s order by name, id"  # noqa: S608 - our own words
_SECRETS = """
select account, id, kind, created_at, retired_at from channels.account_secret
where tenant = %s and (%s = '' or account = %s) order by created_at desc, id desc"""
# Of the kinds that this build knows: a later one that runs beside it may have more.
_SEALED = """
select id, kind, sealed from channels.account_secret
where tenant = %s and account = %s and retired_at is null and kind in ('signing', 'token')
order by created_at desc, id desc"""
_FIRST_SECRET = """
insert into channels.account_secret (tenant, account, id, kind, sealed) values (%s, %s, %s, %s, %s)"""
_ADD_SECRET = """
insert into channels.account_secret (tenant, account, id, kind, sealed)
select tenant, id, %s::text, %s::text, %s::bytea from channels.account where tenant = %s and id = %s and 2 > (
    select count(*) from channels.account_secret
    where tenant = %s and account = %s and kind = %s and retired_at is null)"""
_RETIRE_SECRET = """
update channels.account_secret set retired_at = now(), sealed = null
where tenant = %s and account = %s and id = %s and retired_at is null"""


@dataclasses.dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account with its live secrets as they are stored, newest first."""

    account: ports.Account
    secrets: Sequence[model.SealedSecret]


class AccountStore:
    """Accounts in Postgres."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def find(self, account: str) -> FoundAccount | None:
        """An account by its global id, whoever's it is; None when there is none.

        Two transactions: the directory says whose it is, and only then is that tenant bound.
        """
        async with self._database.transaction("channels", []) as transaction:
            row = await transaction.fetch_one("select tenant from channels.account_directory where id = %s", (account,))
        if row is None:
            return None
        tenant = ids.TenantId(row[0])
        async with self._database.transaction("channels", [tenant]) as transaction:
            found = await transaction.fetch_one(_ONE, (tenant, account))
            sealed = await transaction.fetch_all(_SEALED, (tenant, account))
        if found is None:
            return None
        secrets = [model.SealedSecret(id, ports.SecretKind(kind), bytes(raw)) for id, kind, raw in sealed]
        return FoundAccount(_account(found), secrets)

    async def insert(self, account: ports.Account, secrets: Sequence[model.SealedSecret]) -> None:
        """Write a new account with its first secrets. Raises Rejected `conflict` when its tenant has that name."""
        tenant, id = account.tenant, account.id
        async with self._database.transaction("channels", [tenant]) as transaction:
            await transaction.execute(
                "insert into channels.account (tenant, id, channel, name, config) values (%s, %s, %s, %s, %s::jsonb)",
                (tenant, id, account.channel, account.name, _json(account)),
            )
            await transaction.execute(
                "insert into channels.account_directory (id, tenant, channel) values (%s, %s, %s)",
                (id, tenant, account.channel),
            )
            for secret in secrets:
                transaction.send(_FIRST_SECRET, (tenant, id, secret.id, secret.kind.value, secret.bytes))
            changes.tell(transaction, changes.ACCOUNT, id)

    async def list(self, tenant: ids.TenantId) -> list[model.AccountDetails]:
        """A tenant's accounts, by name."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            accounts = await transaction.fetch_all(_ALL, (tenant,))
            secrets = await transaction.fetch_all(_SECRETS, (tenant, "", ""))
        return [_details(row, secrets) for row in accounts]

    async def details(self, tenant: ids.TenantId, account: str) -> model.AccountDetails | None:
        """One of a tenant's accounts; None when it has no such account."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            row = await transaction.fetch_one(_ONE, (tenant, account))
            secrets = await transaction.fetch_all(_SECRETS, (tenant, account, account))
        return _details(row, secrets) if row else None

    async def add_secret(self, tenant: ids.TenantId, account: str, secret: model.SealedSecret) -> bool:
        """Add a live secret; False when two of its kind are live already.

        The account's row is locked first, in a statement of its own, so that the count sees what others committed.
        """
        kind = secret.kind.value
        async with self._database.transaction("channels", [tenant]) as transaction:
            await transaction.fetch_one(
                "select 1 from channels.account where tenant = %s and id = %s for update", (tenant, account)
            )
            added = await transaction.execute(
                _ADD_SECRET,
                (secret.id, kind, secret.bytes, tenant, account, tenant, account, kind),
            )
            if added:
                changes.tell(transaction, changes.ACCOUNT, account)
        return added == 1

    async def retire_secret(self, tenant: ids.TenantId, account: str, secret: str) -> bool:
        """Retire a live secret and forget it; False when there is none of that id."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            retired = await transaction.execute(_RETIRE_SECRET, (tenant, account, secret))
            if retired:
                changes.tell(transaction, changes.ACCOUNT, account)
        return retired == 1

    async def set_disabled(self, tenant: ids.TenantId, account: str, *, disabled: bool) -> bool:
        """Disable or enable; False when there is no such account. Disabling twice keeps the first time."""
        async with self._database.transaction("channels", [tenant]) as transaction:
            changed = await transaction.execute(
                "update channels.account set disabled_at = case when %s then coalesce(disabled_at, now()) end"
                " where tenant = %s and id = %s",
                (disabled, tenant, account),
            )
            if changed:
                changes.tell(transaction, changes.ACCOUNT, account)
        return changed == 1

    async def change(self, before: ports.Account, after: ports.Account) -> bool:
        """Give an account another name and configuration; False when it is not as it was `before` any more.

        Raises Rejected `conflict` when its tenant has that name.
        """
        async with self._database.transaction("channels", [before.tenant]) as transaction:
            changed = await transaction.execute(
                "update channels.account set name = %s, config = %s::jsonb"
                " where tenant = %s and id = %s and name = %s and config = %s::jsonb",
                (after.name, _json(after), before.tenant, before.id, before.name, _json(before)),
            )
            if changed:
                changes.tell(transaction, changes.ACCOUNT, before.id)
        return changed == 1


def _json(account: ports.Account) -> str:
    return json.dumps(dict(account.config))


def _account(row: Sequence[Any]) -> ports.Account:
    tenant, id, channel, name, config, _, disabled_at = row
    return ports.Account(tenant, id, channel, name, config, disabled=disabled_at is not None)


def _details(row: Sequence[Any], secrets: Sequence[Sequence[Any]]) -> model.AccountDetails:
    account = _account(row)
    created_at: datetime = row[5]
    own = [
        model.SecretDetails(id, ports.SecretKind(kind), made, retired)
        for owner, id, kind, made, retired in secrets
        if owner == account.id
    ]
    return model.AccountDetails(account, created_at, row[6], own)
