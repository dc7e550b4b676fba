"""Who may log in to the embedded nats-server is replaced while it runs, and never lost."""

import pytest

from penstock.base import errors
from penstock.servers import nats, testing
from penstock.servers.endpoints import NatsEndpoint
from penstock.spine.adapters import spine_nats


def block(endpoint: NatsEndpoint, *others: str) -> str:
    more = "".join(f'\n"{name}" {{ users: [{{ user: "{name}", password: "x" }}] }}' for name in others)
    owner = f'{{ user: "{endpoint.user}", password: "{endpoint.password}" }}'
    return f"accounts {{\nPENSTOCK {{ jetstream: enabled, users: [{owner}] }}{more}\n}}\n"


async def let_in(endpoint: NatsEndpoint, user: str, password: str = "x") -> bool:
    try:
        spine = await spine_nats.NatsSpine.connect(endpoint.url, user=user, password=password, wait_s=10)
    except errors.Rejected:
        return False
    await spine.close()
    return True


async def test_accounts_come_and_go_and_connections_stay():
    async with testing.held_nats() as held:
        server, endpoint = held.server, held.endpoint
        assert isinstance(server, nats.EmbeddedNats)
        assert server.accounts_file.stat().st_mode & 0o777 == 0o600
        staying = await spine_nats.NatsSpine.connect(endpoint.url_with_credentials(), wait_s=10)
        assert not await let_in(endpoint, "one")
        assert await server.admit(block(endpoint, "one", "two"))
        assert not await server.admit(block(endpoint, "one", "two"))
        assert [await let_in(endpoint, user) for user in ("one", "two")] == [True, True]
        assert await server.admit(block(endpoint, "two"))
        assert [await let_in(endpoint, user) for user in ("one", "two")] == [False, True]
        assert staying.connection == 1
        async with held.away():
            pass
        assert await let_in(endpoint, "two")
        await staying.close()


async def test_what_the_server_does_not_take_is_taken_back(monkeypatch):
    monkeypatch.setattr(nats, "RELOADED_S", 1.0)
    async with testing.held_nats() as held:
        server, endpoint = held.server, held.endpoint
        assert isinstance(server, nats.EmbeddedNats)
        await server.admit(block(endpoint, "one"))
        for wrong in ("accounts {", 'include "nowhere.conf"'):
            with pytest.raises(errors.Unavailable, match="not_reloaded"):
                await server.admit(wrong)
        assert server.accounts_file.read_text() == block(endpoint, "one")
        async with held.away():
            pass
        assert await let_in(endpoint, "one")


async def test_without_our_own_login_the_file_is_made_anew():
    """As when the secret was removed to have a new one."""
    async with testing.held_nats() as held:
        server, endpoint = held.server, held.endpoint
        assert isinstance(server, nats.EmbeddedNats)
        await server.stop()
        server.accounts_file.write_text(block(endpoint, "one").replace(endpoint.password, "of-earlier"))
        assert await server.start() == endpoint
        assert await let_in(endpoint, endpoint.user, endpoint.password)
        assert not await let_in(endpoint, "one")


async def test_what_was_written_and_never_read_is_read():
    """As when `up` was killed in between: the server lives on, and the next `up` finds the file as it wants it."""
    async with testing.held_nats() as held:
        server, endpoint = held.server, held.endpoint
        assert isinstance(server, nats.EmbeddedNats)
        await server.admit(block(endpoint, "one"))
        server.accounts_file.write_text(block(endpoint, "one", "two"))
        assert not await let_in(endpoint, "two")
        assert await server.admit(block(endpoint, "one", "two"))
        assert await let_in(endpoint, "two")
        assert not await server.admit(block(endpoint, "one", "two"))
