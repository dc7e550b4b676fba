"""Keep accounts: make them, show them without their secrets, change and rotate, and really disable.

Every process that listens (`database.listener`) hears of a change once it is committed; one that cannot listen just
now sees it within `account_cache_s`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from penstock.base import errors, ids, settings
from penstock.channels import errors as channel_errors
from penstock.channels import ports, registry
from penstock.channels.model import account as model
from penstock.channels.service import directory, lookup, stores
from penstock.sealing import sealer as sealing


@dataclasses.dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that was just added: `made` by us, who tell it this once, or brought along by somebody who has it."""

    id: str
    kind: ports.SecretKind
    secret: settings.Secret
    made: bool


@dataclasses.dataclass(frozen=True, slots=True)
class NewAccount:
    """A new account with its first secrets, one of each kind that its channel needs."""

    account: ports.Account
    secrets: Mapping[ports.SecretKind, NewSecret]


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
        secrets: Mapping[ports.SecretKind, settings.Secret] | None = None,
    ) -> NewAccount:
        """Make an account. Secrets that are not brought along are made, where that is possible, and told here only.

        Raises Rejected: no such tenant (404), suspended (403), no such channel (404), a field of `config` that is
        wrong, `bad_name`, `bad_secret`, `missing_secret`, and `account_exists` (409).
        """
        owner = ids.tenant_id(tenant)
        await self._where.tenants.require_active(owner)
        entry = self._where.registry.find(channel)
        values = dict(config or {})
        entry.check_fields(values)
        adapter = self._where.channel(entry.slug)
        adapter.check_config(values)
        account = ports.Account(owner, model.new_account_id(), entry.slug, model.checked_name(name), values)
        given = dict(secrets or {})
        for kind in given:
            entry.secret(kind)
        made = {field.kind: _new_secret(adapter, field, given.get(field.kind)) for field in entry.secrets}
        try:
            await self._store.insert(account, [await self._sealed(account, one) for one in made.values()])
        except errors.Rejected as error:
            raise _taken(error, owner) from None
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

    async def change(
        self, tenant: str, account: str, *, name: str | None = None, config: Mapping[str, str] | None = None
    ) -> model.AccountDetails:
        """Give it another name, and these fields of its configuration other values; an empty one takes a field away.

        Raises Rejected `no_account`, `bad_name`, what is wrong with a field, `account_exists` (409) for a name that is
        taken, and `account_changed` (409) when somebody else changed it meanwhile.
        """
        found = await self.show(tenant, account)
        before = found.account
        asked = {**before.config, **(config or {})}
        values = {field: value for field, value in asked.items() if value or field not in before.config}
        self._where.registry.find(before.channel).check_fields(values)
        self._where.channel(before.channel).check_config(values)
        after = dataclasses.replace(
            before, name=before.name if name is None else model.checked_name(name), config=values
        )
        try:
            changed = await self._store.change(before, after)
        except errors.Rejected as error:
            raise _taken(error, before.tenant) from None
        if not changed:
            raise errors.Rejected(
                "account_changed", "somebody changed this account meanwhile", hint="Look at it again.", status=409
            )
        self._cached.forget(account)
        return dataclasses.replace(found, account=after)

    async def add_secret(
        self,
        tenant: str,
        account: str,
        secret: settings.Secret | None = None,
        *,
        kind: ports.SecretKind = ports.SecretKind.SIGNING,
    ) -> NewSecret:
        """Add a second live secret of a kind, to rotate: add, tell the platform, retire the old one.

        Raises Rejected `no_account`, `bad_secret`, `missing_secret`, and `too_many_secrets` (409) when two are live.
        """
        found = await self.show(tenant, account)
        channel = self._where.channel(found.account.channel)
        made = _new_secret(channel, self._where.registry.find(channel.name).secret(kind), secret)
        sealed = await self._sealed(found.account, made)
        if not await self._store.add_secret(found.account.tenant, account, sealed):
            raise errors.Rejected(
                "too_many_secrets",
                f"at most {model.LIVE_SECRETS} {kind} secrets of an account may live at once",
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
        sealed = await self._sealer.seal(account.tenant, lookup.PURPOSE, bound_to, raw)
        return model.SealedSecret(made.id, made.kind, sealed)


def _new_secret(channel: ports.Channel, field: registry.SecretField, given: settings.Secret | None) -> NewSecret:
    if given is None and not field.made:
        raise errors.Rejected(
            "missing_secret",
            f"{channel.name} needs a {field.kind} secret, which its platform gives out",
            hint=field.meaning,
            field=f"secret.{field.kind}",
        )
    secret = model.new_secret() if given is None else model.checked_secret(given)
    channel.check_secret(field.kind, secret)
    return NewSecret(ids.new_id(), field.kind, secret, made=given is None)


def _taken(error: errors.Rejected, tenant: str) -> errors.Rejected:
    """What a conflict of rows means here."""
    if error.code != "conflict":
        return error
    return errors.Rejected("account_exists", f"tenant '{tenant}' has an account of that name", status=409, field="name")
