"""Keeps the walls of the bus where they should be: an account for each tenant that there is, with the apps that joined.

It compares what is with what should be: when a tenant was made, when an app joined, and every few seconds. On the
embedded server it writes the accounts and has them read; on a server of one's own, which it does not configure, it
looks which tenants are let in by the login that `penstock nats accounts` gives them.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Collection
from typing import Final

from penstock.app import configuration, logins
from penstock.base import errors, ids, tasks, telemetry
from penstock.database import changes, listener, pool
from penstock.servers import endpoints, folder
from penstock.servers import nats as nats_servers
from penstock.spine import access, accounts, porter, ports, stream
from penstock.spine.adapters import spine_nats
from penstock.spine.plane import link as links
from penstock.tenancy import store as tenancy_store

LOOKS_EVERY_S: Final = 5.0
LET_IN_S: Final = 5.0
_HINT: Final = "See 'penstock nats accounts --help'."

_log = telemetry.logger("app.walls")


@dataclasses.dataclass(frozen=True, slots=True)
class Ground:
    """What the walls stand on: the settings, the data folder, where the bus is, and its server if that is ours."""

    found: configuration.Configuration
    place: folder.DataFolder
    at: endpoints.NatsEndpoint
    server: nats_servers.EmbeddedNats | None


class Walls:
    """Of one installation; made by `kept`."""

    def __init__(self, ground: Ground, tenants: tenancy_store.TenantStore, spine: ports.Spine) -> None:
        self._ground, self._tenants, self._spine = ground, tenants, spine
        self._logins = logins.Logins(ground.place)
        self._files = logins.LoginFiles.of(ground.place.path, ground.found.nats.table())
        self._apps: dict[ids.TenantId, set[str]] = {}
        self._let_in: set[str] = set()
        self._refused: set[str] = set()
        self._news = asyncio.Event()

    def look(self) -> None:
        """Something may have changed."""
        self._news.set()

    async def see_to(self) -> None:
        """Put the walls where they should be. Raises Unavailable."""
        names = [tenant.id for tenant in await self._tenants.all()]
        for state in await self._spine.consumer_states(stream.MESSAGES_INBOUND.name):
            for tenant, apps in porter.apps_of([state.policy.name]).items():
                # Never forgotten while we live: durables that were lost are made again.
                self._apps.setdefault(tenant, set()).update(apps)
        wanted = {tenant: access.of_tenant(tenant, self._apps.get(tenant, ())) for tenant in names}
        if self._ground.server is not None:
            await self._write(self._ground.server, list(wanted.values()))
        for tenant, account in wanted.items():
            if tenant not in self._let_in:
                await self._hand_out(tenant, account)
        self._files.keep_only(names)
        self._let_in &= set(names)
        self._refused &= set(names)

    async def _write(self, server: nats_servers.EmbeddedNats, tenants: Collection[access.Account]) -> None:
        owner = self._ground.at

        def secret_of(login: str) -> str:
            password = owner.password if login == owner.user else self._logins.password(login).reveal()
            return accounts.quoted(password)

        text = accounts.render(owner.user, [*access.ROLES.values(), *tenants], secret_of)
        if await server.admit(text):
            _log.info("accounts of the bus", tenants=len(tenants))

    async def _hand_out(self, tenant: ids.TenantId, account: access.Account) -> None:
        """Leave a tenant's login where its apps find it, once the server takes it.

        One that a server of the operator's does not take is looked at again each time; only a setting makes it ours.
        """
        own = dataclasses.replace(
            self._ground.at, user=account.login, password=self._logins.password(account.login).reveal()
        )
        if await self._is_let_in(own):
            self._files.leave(tenant, own)
            self._let_in.add(tenant)
        elif self._ground.server is not None:
            raise errors.Unavailable("not_let_in", f"the bus does not take the new login of {tenant} yet", after_s=0.1)
        elif tenant not in self._refused:
            self._refused.add(tenant)
            if self._ground.found.servers.share_nats_login:
                _log.warning("no wall around apps", tenant=tenant, hint=_HINT)
                self._files.leave(tenant, self._ground.at)
            else:
                _log.warning("apps have no login", tenant=tenant, hint=f"{_HINT} Or set servers.share_nats_login.")

    async def _is_let_in(self, login: endpoints.NatsEndpoint) -> bool:
        """Whether the server takes a login. Raises Unavailable when it does not answer, Rejected `nats_tls`."""
        there = spine_nats.NatsSpine.address(
            login.url, self._ground.found.nats, user=login.user, password=login.password, name="penstock up"
        )
        trial = links.Link(there)
        try:
            await trial.open(wait_s=LET_IN_S)
        except errors.Rejected as error:
            if error.code != "nats_auth":
                raise
            return False
        await trial.close()
        return True

    async def again(self) -> None:
        """See to them, then wait for news or a while."""
        self._news.clear()
        await self.see_to()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKS_EVERY_S):
                await self._news.wait()


@contextlib.asynccontextmanager
async def kept(ground: Ground, postgres_url: str) -> AsyncGenerator[None]:
    """Walls around every tenant's apps: those that there are when the block begins, and those that come.

    Raises Rejected, Unavailable when they cannot be put up.
    """
    async with contextlib.AsyncExitStack() as stack:
        database = pool.Database(postgres_url, application="penstock up", size=1)
        stack.push_async_callback(database.close)
        there = spine_nats.NatsSpine.address(
            ground.at.url, ground.found.nats, user=ground.at.user, password=ground.at.password, name="penstock up"
        )
        spine = spine_nats.NatsSpine.connecting(there)
        stack.push_async_callback(spine.close)
        walls = Walls(ground, tenancy_store.TenantStore(database), spine)
        stack.callback(logins.LoginFiles.of(ground.place.path, {}).keep_only, ())
        await walls.see_to()
        ear = listener.Listener(postgres_url, application="penstock up")
        ear.on(changes.TENANT, lambda _: walls.look(), walls.look)
        stack.push_async_callback(ear.stop)
        await ear.start()
        running = tasks.Tasks()
        stack.push_async_callback(running.stop)

        async def joined(_: ports.Signal) -> None:
            walls.look()

        await spine.listen(f"{porter.ADMITTED}.*.*", joined)
        running.forever("walls", walls.again)
        yield
