"""The accounts block for a nats-server of one's own, from the same table as the embedded server's, and its logins."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import penstock
from penstock.app import configuration, house, logins, streams
from penstock.base import errors, ids
from penstock.servers import endpoints, files, folder, given
from penstock.spine import access, accounts, porter, stream

CONFIGURATION: Final = "accounts.conf"


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Whose accounts: apps by tenant, and the login of the owner."""

    apps: Mapping[ids.TenantId, frozenset[str]]
    owner: str = "penstock"

    @property
    def accounts(self) -> list[access.Account]:
        """Roles, then tenants."""
        return [*access.ROLES.values(), *(access.of_tenant(tenant, apps) for tenant, apps in self.apps.items())]


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Where everything was written."""

    configuration: str
    logins: str
    accounts: Sequence[str]


async def wanted(
    found: configuration.Configuration, tenants: Sequence[str], apps: Sequence[str], *, owner: str
) -> Wanted:
    """The tenants named, else all of the installation that runs; apps are `TENANT/APP`.

    To those come the apps of these tenants that have joined: leaving one out would cut it off at the next reload.
    Raises Rejected `bad_app`, Unavailable `not_running`.
    """
    if not tenants:
        async with house.of_running_installation(found) as joined:
            tenants = [tenant.id for tenant in await joined.tenancy.list()]
    chosen: dict[ids.TenantId, set[str]] = {ids.tenant_id(tenant): set() for tenant in tenants}
    for app in apps:
        tenant, _, name = app.partition("/")
        if tenant not in chosen:
            raise errors.Rejected(
                "bad_app",
                f"'{ids.suggest_slug(tenant)}' is none of the tenants",
                hint="Name apps as TENANT/APP, for example --app acme/echo.",
                field="app",
            )
        chosen[ids.tenant_id(tenant)].add(ids.slug(name, "app"))
    for tenant, names in (await _joined(found)).items():
        if tenant in chosen:
            chosen[tenant] |= names
    return Wanted({tenant: frozenset(names) for tenant, names in chosen.items()}, owner)


async def _joined(found: configuration.Configuration) -> dict[ids.TenantId, set[str]]:
    """The apps that have durables on the bus; none where there is no bus yet."""
    try:
        async with streams.connected(found) as spine:
            states = await spine.consumer_states(stream.MESSAGES_INBOUND.name)
    except errors.Unavailable:
        return {}
    return porter.apps_of([state.policy.name for state in states])


def with_variables(who: Wanted) -> str:
    """The block, with a variable of the server's environment for each password."""
    return accounts.render(who.owner, who.accounts, accounts.variable)


def write(found: configuration.Configuration, who: Wanted, into: Path, url: str) -> Written:
    """Write the block with passwords, and the login of each account, into a folder, readable by us only.

    Passwords derive from a secret in the data folder: the same accounts have the same ones every time. Raises Rejected
    for a folder that cannot be used, or a URL that names no server.
    """
    known = logins.Logins(folder.prepare(found.servers.data_folder, build=penstock.__version__))
    where = dataclasses.replace(given.nats_endpoint(url), user="", password="")
    with files.explained(into):
        # One that is there may be anybody's, /tmp even: it stays as open as it is, and no file in it is.
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = accounts.render(who.owner, who.accounts, lambda login: accounts.quoted(known.password(login).reveal()))
        files.write_private(into / CONFIGURATION, text)
        for tenant in who.apps:
            login = access.of_tenant(tenant).login
            logins.LoginFiles(into / "apps", {}).leave(tenant, _as(where, login, known))
        for name in (who.owner, *(role.login for role in access.ROLES.values())):
            logins.LoginFiles(into / "core", {}).leave(name, _as(where, name, known))
    return Written(str(into / CONFIGURATION), str(into / "apps"), [access.OWNER, *(one.name for one in who.accounts)])


def _as(where: endpoints.NatsEndpoint, login: str, known: logins.Logins) -> endpoints.NatsEndpoint:
    return dataclasses.replace(where, user=login, password=known.password(login).reveal())
