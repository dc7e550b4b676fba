"""A bus with walls: the embedded server, an account per tenant, the core's porter, and apps that come in as guests."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import Any

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2
from penstock.servers import endpoints, testing
from penstock.servers.nats import EmbeddedNats
from penstock.spine import access, accounts, consumer, desk, porter, ports, provision, route, worker
from penstock.spine.adapters import nats_guest, spine_nats
from penstock.spine.plane import address
from penstock.spine.plane import link as links

ACME, GLOBEX = ids.tenant_id("acme"), ids.tenant_id("globex")
APP = "echo"
WITHIN_S = 30.0


async def until(condition: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    """Return when something is so. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@dataclasses.dataclass
class Walled:
    """The bus in the hands of a test. `core` is the owner's client."""

    held: testing.Held[endpoints.NatsEndpoint]
    core: spine_nats.NatsSpine
    apps: dict[str, set[str]]

    @property
    def server(self) -> EmbeddedNats:
        assert isinstance(self.held.server, EmbeddedNats)
        return self.held.server

    def password(self, login: str) -> str:
        return self.held.endpoint.password if login == self.held.endpoint.user else f"word of {login}"

    async def admit(self) -> None:
        """Write the accounts of the tenants and apps that there are."""
        tenants = [access.of_tenant(tenant, apps) for tenant, apps in self.apps.items()]
        everybody = [*access.ROLES.values(), *tenants]
        await self.server.admit(
            accounts.render(self.held.endpoint.user, everybody, lambda login: accounts.quoted(self.password(login)))
        )

    async def admitted(self, signal: ports.Signal) -> None:
        """An app has joined."""
        *_, tenant, app = signal.subject.split(".")
        if app not in self.apps.setdefault(tenant, set()):
            self.apps[tenant].add(app)
            await self.admit()

    def login(self, account: access.Account) -> dict[str, Any]:
        return {"user": account.login, "password": self.password(account.login)}

    @contextlib.asynccontextmanager
    async def link(self, tenant: str) -> AsyncGenerator[links.Link]:
        """A bare client of a tenant's account, to do with it what one likes."""
        made = links.Link(address.address(self.held.endpoint.url, **self.login(access.of_tenant(tenant))))
        await made.open(wait_s=WITHIN_S)
        try:
            yield made
        finally:
            await made.close()

    @contextlib.asynccontextmanager
    async def guest(self, tenant: ids.TenantId, app: str = APP) -> AsyncGenerator[nats_guest.GuestSpine]:
        """An app's client, once its app has joined."""
        there = address.address(self.held.endpoint.url, **self.login(access.of_tenant(tenant)))
        spine = await nats_guest.enter(there, desk.Who(tenant, app), wait_s=WITHIN_S)
        assert isinstance(spine, nats_guest.GuestSpine)
        try:
            await self.join(spine)
            yield spine
        finally:
            await spine.close()

    @staticmethod
    async def join(spine: nats_guest.GuestSpine) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    await spine.desk.join()
                    return
                except nats_guest.errors.Unavailable:
                    await asyncio.sleep(0.05)

    async def say(self, tenant: ids.TenantId, conversation: str, text: str) -> ports.Published:
        """Somebody says something to a tenant."""
        message = message_pb2.Message(
            event_id=f"{conversation}/{text}",
            tenant=tenant,
            channel="webhook",
            account="acc-1",
            conversation=conversation,
            text=text,
        )
        return await self.core.publish(route.INBOUND.encode(contexts.start(tenant), message))


@contextlib.asynccontextmanager
async def walls_of(held: testing.Held[endpoints.NatsEndpoint], *tenants: ids.TenantId) -> AsyncGenerator[Walled]:
    """A bus with accounts for these tenants, and nothing else."""
    core = await spine_nats.NatsSpine.connect(held.endpoint.url_with_credentials())
    try:
        made = Walled(held, core, {tenant: set[str]() for tenant in tenants})
        await made.admit()
        yield made
    finally:
        await core.close()


@contextlib.asynccontextmanager
async def walled(*tenants: ids.TenantId) -> AsyncGenerator[Walled]:
    """A bus with streams, these tenants, and a porter."""
    async with testing.held_nats() as held, walls_of(held, *tenants) as made:
        keeps = porter.Porter(made.core)
        try:
            await provision.streams(made.core)
            await made.core.listen(f"{porter.ADMITTED}.*.*", made.admitted)
            await keeps.start()
            yield made
        finally:
            await keeps.stop()


@contextlib.asynccontextmanager
async def answering(spine: ports.Spine, tenant: ids.TenantId, handle: worker.Handler) -> AsyncGenerator[worker.Worker]:
    """An app at work, with a handler of the test's."""
    policy = consumer.of_app(tenant, APP)
    made = worker.Worker(spine, policy, handle, lane_of=lambda delivery: delivery.subject)
    await made.start()
    try:
        yield made
    finally:
        await made.drain(5)
