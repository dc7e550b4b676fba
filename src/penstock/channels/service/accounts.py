"""Keep accounts: make them, show them without their secrets, rotate secrets, and really disable.

Another process hears of a change within `account_cache_s`; this one at once.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from penstock.base import errors, ids, settings
from penstock.channels import errors as channel_errors
from penstock.channels import ports
from penstock.channels.model import account as model
from penstock.channels.service import directory, lookup, stores
from penstock.sealing import sealer as sealing


@dataclasses.dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret, told this once: its id and itself."""

    id: str
    secret: settings.Secret


@dataclasses.dataclass(frozen=True, slots=True)
class NewAccount:
    """A new account with its first secret."""

    account: ports.Account
    secret: NewSecret


class Accounts:
    """What an operator does with a tenant's accounts."""

    def __init__(
        self,
        where: directory.Directory,
        store: stores.KeepsAccounts,
        sealer: sealing.Sealer,
        cached: lookup.AccountLookup,
    ) -> None:
        self._where, self._store, self._sealer, self._cached = where, store, sealer, cached

    async def create(
        self,
        tenant: str,
        channel: str,
        name: str,
        *,
        config: Mapping[str, str] | None = None,
        secret: settings.Secret | None = None,
    ) -> NewAccount:
        """Make an account; without a `secret` one is made. Both are told here and never again.

        Raises Rejected: no such tenant (404), suspended (403), no such channel (404), a field of `config` that is
        wrong, `bad_name`, `bad_secret`, and `account_exists` (409).
        """
        owner = ids.tenant_id(tenant)
        await self._where.tenants.require_active(owner)
        entry = self._where.registry.find(channel)
        values = dict(config or {})
        entry.check_fields(values)
        adapter = self._where.channel(entry.slug)
        adapter.check_config(values)
        account = ports.Account(owner, model.new_account_id(), entry.slug, model.checked_name(name), values)
        made = _new_secret(adapter, secret)
        try:
            await self._store.insert(account, await self._sealed(account, made))
        except errors.Rejected as error:
            if error.code != "conflict":
                raise
            raise errors.Rejected(
                "account_exists", f"tenant '{owner}' has an account of that name", status=409, field="name"
            ) from None
        self._cached.forget(account.id)
        return NewAccount(account, made)

    async def list(self, tenant: str) -> Sequence[model.AccountDetails]:
        """A tenant's accounts, by name, disabled ones included."""
        return await self._store.list(ids.tenant_id(tenant))

    async def show(self, tenant: str, account: str) -> model.AccountDetails:
        """One of a tenant's accounts. Raises Rejected `no_account`, also when it is somebody else's."""
        found = await self._store.details(ids.tenant_id(tenant), account)
        if found is None:
            raise channel_errors.no_account()
        return found

    async def add_secret(self, tenant: str, account: str, secret: settings.Secret | None = None) -> NewSecret:
        """Add a second live secret, to rotate: add, tell the platform, retire the old one.

        Raises Rejected `no_account`, `bad_secret`, and `too_many_secrets` (409) when two are live.
        """
        found = await self.show(tenant, account)
        made = _new_secret(self._where.channel(found.account.channel), secret)
        sealed = await self._sealed(found.account, made)
        if not await self._store.add_secret(found.account.tenant, account, sealed):
            raise errors.Rejected(
                "too_many_secrets",
                f"at most {model.LIVE_SECRETS} secrets of an account may live at once",
                hint="Retire one first.",
                status=409,
                field="account",
            )
        self._cached.forget(account)
        return made

    async def retire_secret(self, tenant: str, account: str, secret: str) -> None:
        """Forget a secret. Retiring the last one shuts the account. Raises Rejected `no_account`, `no_such_secret`."""
        found = await self.show(tenant, account)
        if not await self._store.retire_secret(found.account.tenant, account, secret):
            raise errors.Rejected(
                "no_such_secret",
                "this account has no live secret of that id",
                hint="'penstock account show' lists them.",
                status=404,
                field="secret",
            )
        self._cached.forget(account)

    async def disable(self, tenant: str, account: str) -> None:
        """Let nothing in or out through this account. Raises Rejected `no_account`."""
        await self._set_disabled(tenant, account, disabled=True)

    async def enable(self, tenant: str, account: str) -> None:
        """End that. Raises Rejected `no_account`."""
        await self._set_disabled(tenant, account, disabled=False)

    async def _set_disabled(self, tenant: str, account: str, *, disabled: bool) -> None:
        if not await self._store.set_disabled(ids.tenant_id(tenant), account, disabled=disabled):
            raise channel_errors.no_account()
        self._cached.forget(account)

    async def _sealed(self, account: ports.Account, made: NewSecret) -> model.SealedSecret:
        bound_to = lookup.owner(account.id, made.id)
        raw = made.secret.reveal().encode()
        return model.SealedSecret(made.id, await self._sealer.seal(account.tenant, lookup.PURPOSE, bound_to, raw))


def _new_secret(channel: ports.Channel, given: settings.Secret | None) -> NewSecret:
    secret = model.checked_secret(given) if given else model.new_secret()
    channel.check_secret(ports.SecretKind.SIGNING, secret)
    return NewSecret(ids.new_id(), secret)
