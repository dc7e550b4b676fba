"""The servers start for root and for ordinary users, from awkward paths, several on one machine."""

import asyncio
import json
import os
import pwd
import stat
from pathlib import Path

import psycopg
import pytest

from penstock.servers import testing
from tests.integration.servers.use import use_nats, use_postgres


def server_uids(data_folder: Path) -> set[int]:
    return {(data_folder / name).stat().st_uid for name in ("nats", "postgres")}


def socket_folders_outside() -> set[Path]:
    return set(Path("/tmp").glob(f"penstock-{os.geteuid()}-*"))


def test_a_socket_folder_outside_the_data_folder_is_removed_at_the_end(server_folder):
    before = socket_folders_outside()
    with testing.running(lambda: testing.running_postgres(server_folder / ("long" * 40))) as endpoint:
        assert Path(endpoint.host) in socket_folders_outside() - before
        assert stat.S_IMODE(Path(endpoint.host).stat().st_mode) == 0o700
    assert not Path(endpoint.host).exists()


@pytest.mark.parametrize("name", ["data", "with spaces", "größe 大 'quoted' 100%, {so}", "long" * 40])
async def test_both_servers_work_from_awkward_paths(install, server_folder, name):
    said = install(server_folder / name).said
    assert await use_nats(said["nats_url"]) == 1
    assert use_postgres(said["postgres_url"]) == 1


async def test_pgvector_is_there_and_nothing_listens_on_tcp(server_folder):
    async with testing.running_postgres(server_folder / "data") as endpoint:
        with psycopg.connect(endpoint.url()) as connection:
            connection.execute("create extension vector")
            assert connection.execute("select '[1,2]'::vector <-> '[1,3]'").fetchone() == (1.0,)
            assert connection.execute("show listen_addresses").fetchone() == ("",)
            assert connection.execute("show server_encoding").fetchone() == ("UTF8",)


async def test_nobody_gets_in_without_the_password(nats_endpoint, postgres_endpoint):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_endpoint.url(user="postgres", password="wrong"))
    login = json.dumps({"user": nats_endpoint.user, "pass": nats_endpoint.password, "verbose": True})
    assert (await greet_nats(nats_endpoint, login)).startswith(b"+OK")
    assert b"Authorization Violation" in await greet_nats(nats_endpoint, '{"user": "penstock", "pass": "wrong"}')
    assert b"Authorization Violation" in await greet_nats(nats_endpoint, "{}")


async def greet_nats(endpoint, login: str) -> bytes:
    """The server's answer to a client that introduces itself like this."""
    host, _, port = endpoint.url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.readline()
        writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_two_data_folders_on_one_machine(install, server_folder):
    first, second = install(server_folder / "a").said, install(server_folder / "b").said
    assert len({first["nats_url"], second["nats_url"], first["monitor_url"], second["monitor_url"]}) == 4
    assert await use_nats(first["nats_url"]) == await use_nats(second["nats_url"]) == 1
    assert use_postgres(first["postgres_url"]) == use_postgres(second["postgres_url"]) == 1


def test_servers_of_root_run_as_nobody_else_and_ours_as_ourselves(install, server_folder):
    install(server_folder / "data")
    uids = server_uids(server_folder / "data")
    accounts = {account.pw_uid for account in pwd.getpwall()}
    if os.geteuid() == 0:
        assert len(uids) == 1
        assert not uids & accounts
    else:
        assert uids == {os.geteuid()}


async def test_an_ordinary_user_starts_them(install, server_folder):
    data_folder, settings = server_folder / "data", {}
    if os.geteuid() == 0:
        data_folder.mkdir(mode=0o700)
        nobody = pwd.getpwnam("nobody")
        os.chown(data_folder, nobody.pw_uid, nobody.pw_gid)
        settings = {"user": nobody.pw_uid, "programs": str(server_folder / "programs")}
    installation = install(data_folder, **settings)
    said = installation.said
    assert await use_nats(said["nats_url"]) == 1
    assert use_postgres(said["postgres_url"]) == 1
    assert server_uids(data_folder) == {data_folder.stat().st_uid} == {settings.get("user", os.geteuid())}
    assert installation.stop().count("error") == 0


def test_nobody_else_may_read_what_is_in_the_data_folder(install, server_folder):
    data_folder = server_folder / "data"
    install(data_folder)
    for path in [data_folder, *data_folder.rglob("*")]:
        if path.relative_to(data_folder).parts[:1] == ("programs",):
            continue
        mode = path.lstat().st_mode
        assert not mode & (0o066 if stat.S_ISDIR(mode) else 0o077) or stat.S_ISSOCK(mode), path


async def test_a_strict_umask_hinders_nobody(install, server_folder):
    (server_folder / "data").mkdir(mode=0o711)
    said = install(server_folder / "data", umask=0o077).said
    assert await use_nats(said["nats_url"]) == 1
    assert use_postgres(said["postgres_url"]) == 1


async def test_a_second_start_finds_everything_again(install, server_folder):
    first = install(server_folder / "data")
    await use_nats(first.said["nats_url"])
    use_postgres(first.said["postgres_url"])
    first.stop()
    second = install(server_folder / "data")
    assert second.said["nats_url"] == first.said["nats_url"], "ports and credentials stay"
    assert second.said["postgres_url"] == first.said["postgres_url"]
    assert second.said["pids"] != first.said["pids"]
    assert await use_nats(second.said["nats_url"]) == 2
    assert use_postgres(second.said["postgres_url"]) == 2
