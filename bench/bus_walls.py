"""What the walls of the bus cost: the app of `spine_hop` on its tenant's account, and on the owner's as baseline.

Behind a wall every pull, answer and settling passes a service import, and what an app may not ask the server it asks
the core, which is in this process too.
"""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator

from bench import frame, spine_bus, spine_hop
from penstock.servers import endpoints
from penstock.servers import testing as server_testing
from penstock.servers.nats import EmbeddedNats
from penstock.spine import access, accounts, porter, provision

APP = "bench"
WORD = "word-of-bench"


async def ours() -> tuple[float, float]:
    """The app with its tenant's login. Raises spine_bus.Unkept."""
    async with _walled() as (endpoint, of_app):
        return await spine_hop.answered(endpoint, of_app)


async def open_bus() -> tuple[float, float]:
    """The app with the owner's login, on a bus that is the same else. Raises spine_bus.Unkept."""
    async with _walled() as (endpoint, _):
        return await spine_hop.answered(endpoint, endpoint)


@contextlib.asynccontextmanager
async def _walled() -> AsyncGenerator[tuple[endpoints.NatsEndpoint, endpoints.NatsEndpoint]]:
    """A bus with streams, an account of a tenant with the app, and the core's porter; the logins of both."""
    async with server_testing.held_nats() as held, spine_bus.ours(held.endpoint) as core:
        assert isinstance(held.server, EmbeddedNats)
        account, owner = access.of_tenant(spine_bus.TENANT, [APP]), held.endpoint
        words = {owner.user: owner.password, account.login: WORD}
        await held.server.admit(accounts.render(owner.user, [account], lambda login: accounts.quoted(words[login])))
        await provision.streams(core)
        keeps = porter.Porter(core)
        await keeps.start()
        try:
            yield owner, dataclasses.replace(owner, user=account.login, password=WORD)
        finally:
            await keeps.stop()


BENCHMARK = frame.Benchmark(
    name="bus_walls",
    unit="messages/s",
    better="higher",
    ours=ours,
    baseline=open_bus,
    baseline_name="the owner's login, without walls",
    also=(frame.Figure("bus_walls_cpu", "CPU us/message", "lower"),),
)
"""Messages answered per second by one app behind its tenant's wall."""
