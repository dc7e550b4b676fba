"""What an operator must change is said in one sentence, and nothing is left running."""

import contextlib
import json
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.base import errors
from penstock.servers import embedded, ports, testing, watermark
from penstock.servers.settings import ServersSettings
from tests.integration.servers.conftest import is_alive


@contextlib.contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Somebody else's program on a port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((ports.HOST, port))
        other.listen()
        yield other.getsockname()[1]


async def refusal(**settings: object) -> errors.PenstockError:
    """How a start is refused; fails when it is not, or not in one sentence."""
    settings["data_folder"] = Path(settings["data_folder"])
    servers = embedded.EmbeddedServers(ServersSettings(**settings), durable=False)
    with pytest.raises((errors.Rejected, errors.Unavailable)) as refused:
        await servers.start()
    assert refused.value.detail
    assert "\n" not in refused.value.detail
    assert "Traceback" not in refused.value.detail
    assert len(refused.value.detail) < 300
    return refused.value


async def test_a_fixed_port_that_is_in_use(server_folder):
    with listening() as port:
        refused = await refusal(data_folder=server_folder / "data", nats_port=port)
        assert (refused.code, refused.field) == ("port_in_use", "servers.nats_port")
        assert f"port {port} " in refused.detail
        refused = await refusal(data_folder=server_folder / "data", nats_monitor_port=port)
        assert (refused.code, refused.field) == ("port_in_use", "servers.nats_monitor_port")
    for name in ("nats", "postgres"):
        path = server_folder / "data" / "run" / f"{name}.json"
        assert not path.exists() or not is_alive(json.loads(path.read_text())["pid"]), "nothing was left running"


async def test_a_remembered_port_that_is_in_use_is_given_up(server_folder):
    async with testing.running_nats(server_folder / "data") as before:
        remembered = int(before.url.rpartition(":")[2])
    with listening(remembered):
        async with testing.running_nats(server_folder / "data") as after:
            assert after.url != before.url
            assert after.monitor_url == before.monitor_url
            assert after.password == before.password


async def test_a_fixed_port_is_used(server_folder):
    port, monitor = ports.any_free(), ports.any_free()
    settings = ServersSettings(nats_port=port, nats_monitor_port=monitor)
    async with testing.running_nats(server_folder / "data", settings) as endpoint:
        assert endpoint.url == f"nats://127.0.0.1:{port}"
        assert endpoint.monitor_url == f"http://127.0.0.1:{monitor}"


async def test_a_second_up_on_the_same_folder(install, server_folder):
    first = install(server_folder / "data")
    refused = await refusal(data_folder=server_folder / "data")
    assert refused.code == "data_folder_in_use"
    assert f"process {first.process.pid})" in refused.detail
    assert all(map(is_alive, first.said["pids"].values()))


async def test_a_cluster_of_another_postgres(server_folder):
    async with testing.running_postgres(server_folder / "data"):
        pass
    (server_folder / "data" / "postgres" / "PG_VERSION").write_text("17\n")
    refused = await refusal(data_folder=server_folder / "data")
    assert refused.code == "other_postgres_major"
    assert "Postgres 17" in refused.detail
    assert "Postgres 18" in refused.detail


async def test_a_folder_of_a_newer_build(server_folder):
    async with testing.running_nats(server_folder / "data"):
        pass
    (server_folder / "data" / "format").write_text(json.dumps({"format": 2, "build": "9.9.9"}))
    refused = await refusal(data_folder=server_folder / "data")
    assert refused.code == "newer_data_folder"
    assert "Penstock 9.9.9" in refused.detail


async def test_a_folder_that_holds_other_things(server_folder):
    (server_folder / "letters.txt").write_text("dear")
    refused = await refusal(data_folder=server_folder)
    assert refused.code == "not_a_data_folder"
    assert stat.S_IMODE(server_folder.stat().st_mode) == 0o711, "and it is left as it was"
    assert (await refusal(data_folder=server_folder / "letters.txt")).code == "bad_folder"
    assert (await refusal(data_folder=server_folder / "letters.txt" / "data")).code == "bad_folder"


async def test_a_folder_that_postgres_did_not_make(server_folder):
    async with testing.running_nats(server_folder / "data"):
        pass
    (server_folder / "data" / "postgres").mkdir()
    assert (await refusal(data_folder=server_folder / "data")).code == "not_a_cluster"


def test_a_folder_that_may_not_be_written(install, server_folder):
    closed = server_folder / "closed"
    closed.mkdir(mode=0o555)
    settings = {}
    if os.geteuid() == 0:
        # Root may write everywhere; an ordinary user may not.
        settings = {"user": pwd.getpwnam("nobody").pw_uid, "programs": str(server_folder / "programs")}
    said = install(closed / "data", refused=True, **settings).said
    assert (said["refused"], said["code"]) == ("Rejected", "folder_denied")
    assert str(closed) in said["detail"]


async def test_a_place_where_nobody_makes_a_folder():
    refused = await refusal(data_folder="/proc/penstock-test")
    assert refused.code in {"bad_folder", "folder_denied", "read_only_folder"}
    assert "/proc" in refused.detail


async def test_a_full_disk(server_folder, monkeypatch):
    def few_bytes(path) -> int:
        return 5 << 20

    monkeypatch.setattr(watermark.require_space, "__kwdefaults__", {"free": few_bytes})
    refused = await refusal(data_folder=server_folder / "data")
    assert (refused.code, type(refused)) == ("disk_full", errors.Unavailable)
    assert "only 5 MiB" in refused.detail


async def test_a_folder_out_of_reach_of_roots_servers(server_folder):
    closed = server_folder / "closed"
    closed.mkdir(mode=0o700)
    if os.geteuid() == 0:
        refused = await refusal(data_folder=closed / "data")
        assert refused.code == "folder_out_of_reach"
        assert str(closed) in refused.detail
    else:
        async with testing.running_nats(closed / "data") as endpoint:
            assert endpoint.url


async def test_a_damaged_or_exposed_secret(server_folder):
    async with testing.running_nats(server_folder / "data"):
        pass
    secret = server_folder / "data" / "secrets" / "nats.json"
    secret.chmod(0o644)
    assert (await refusal(data_folder=server_folder / "data")).code == "secret_exposed"
    secret.chmod(0o600)
    secret.write_text("{}")
    assert (await refusal(data_folder=server_folder / "data")).code == "bad_secret"


async def test_a_lost_password(server_folder):
    async with testing.running_postgres(server_folder / "data"):
        pass
    (server_folder / "data" / "secrets" / "postgres.json").unlink()
    assert (await refusal(data_folder=server_folder / "data")).code == "secret_lost"
