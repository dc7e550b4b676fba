"""A server that dies is started again where it was; a log that grows is set aside; a sick one is replaced."""

import asyncio
import contextlib
import os
import resource
import signal

import nats
import pytest

from penstock.base.settings import Secret
from penstock.servers import embedded, folder, testing
from penstock.servers.settings import ServersSettings
from tests import standstill
from tests.integration.servers.conftest import is_alive
from tests.integration.servers.use import use_nats, use_postgres


@contextlib.asynccontextmanager
async def running(data_folder, **settings):
    servers = embedded.EmbeddedServers(
        ServersSettings(data_folder=data_folder, **settings), durable=False, rounds=embedded.Rounds(0.05, 2)
    )
    addresses = await servers.start()
    try:
        yield servers, addresses
    finally:
        await servers.stop()


async def until(holds, *, timeout_s: float = 20.0):
    async with asyncio.timeout(timeout_s):
        while not await holds():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["nats", "postgres"])
async def test_a_killed_server_comes_back_at_the_same_address(server_folder, name):
    async with running(server_folder / "data") as (servers, addresses):
        await use_nats(addresses.nats.url_with_credentials())
        use_postgres(addresses.postgres_url.reveal())
        killed = servers._servers[name].station.process.pid
        before = embedded.restarts.labels(name)._value.get()
        os.kill(killed, signal.SIGKILL)

        async def is_back() -> bool:
            process = servers._servers[name].station.process
            return process is not None and process.pid != killed and not any((await servers.health()).values())

        await until(is_back)
        # More than once, where a full machine does not let the first start in time.
        assert embedded.restarts.labels(name)._value.get() > before
        assert await use_nats(addresses.nats.url_with_credentials()) == 2
        assert use_postgres(addresses.postgres_url.reveal()) == 2


async def test_a_frozen_nats_server_is_replaced(server_folder):
    async with running(server_folder / "data", stop_deadline_s=1) as (servers, addresses):
        frozen = servers._servers["nats"].station.process.pid
        standstill.bring_about(frozen)

        async def is_replaced() -> bool:
            return not is_alive(frozen) and not (await servers.health())["nats"]

        await until(is_replaced)
        assert await use_nats(addresses.nats.url_with_credentials()) == 1


async def test_a_stream_that_could_not_be_written_heals(server_folder):
    """As after a full disk: here a limit of the first process, which the one that replaces it does not have."""
    url_of_another = Secret("postgresql://nobody@127.0.0.1/none")
    async with testing.running_nats(server_folder / "data"):
        pass
    with files_limited_to(512 << 10):
        started = running(server_folder / "data", postgres_url=url_of_another)
        servers, addresses = await started.__aenter__()
    try:
        url = addresses.nats.url_with_credentials()
        limited = servers._servers["nats"].station.process.pid
        await use_nats(url)
        client = await nats.connect(url)
        for _ in range(20):
            await client.publish("kept.large", bytes(64 << 10))
        await client.flush()
        await client.close()

        async def is_replaced() -> bool:
            return not is_alive(limited) and not (await servers.health())["nats"]

        await until(is_replaced)
        assert await use_nats(url) > 1
    finally:
        await started.__aexit__(None, None, None)


@contextlib.contextmanager
def files_limited_to(most_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_health_says_what_is_wrong(server_folder):
    async with running(server_folder / "data") as (servers, _):
        assert await servers.health() == {"nats": "", "postgres": ""}
        await servers._tasks.stop()
        for name in ("nats", "postgres"):
            await servers._servers[name].stop()
        assert await servers.health() == {"nats": "nats-server does not run", "postgres": "Postgres does not run"}


async def test_a_log_that_has_grown_is_set_aside(server_folder):
    log = folder.DataFolder(server_folder / "data").log("nats")
    async with running(server_folder / "data", log_bytes=200):

        async def is_aside() -> bool:
            return log.with_suffix(".log.1").exists() and log.stat().st_size < 200

        await until(is_aside)
        assert "Server is ready" in log.with_suffix(".log.1").read_text()


async def test_nothing_is_left_when_a_start_is_interrupted(server_folder):
    servers = embedded.EmbeddedServers(ServersSettings(data_folder=server_folder / "data"), durable=False)
    starting = asyncio.create_task(servers.start())

    async def has_begun() -> bool:
        return (server_folder / "data" / "run" / "nats.json").exists()

    await until(has_begun)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with running(server_folder / "data") as (_, addresses):
        assert use_postgres(addresses.postgres_url.reveal()) == 1


async def test_what_a_url_replaces_is_not_started(server_folder):
    given = {"nats_url": Secret("nats://me:w%40rd@127.0.0.1:9"), "postgres_url": Secret("postgresql://x@127.0.0.1/y")}
    async with running(server_folder / "data", **given) as (servers, addresses):
        assert await servers.health() == {}
        assert (addresses.nats.url, addresses.nats.user, addresses.nats.password) == (
            "nats://127.0.0.1:9",
            "me",
            "w@rd",
        )
        assert addresses.postgres_url == given["postgres_url"]
        assert not (server_folder / "data" / "postgres").exists()
