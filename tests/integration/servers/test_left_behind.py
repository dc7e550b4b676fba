"""Servers whose supervisor was killed: adopted when they are what would be started, stopped otherwise, never fought."""

import json
import subprocess
import threading
from pathlib import Path

import psycopg

from penstock.servers import embedded, identity
from penstock.servers.settings import ServersSettings
from tests import standstill
from tests.integration.servers.conftest import is_alive, kill_and_wait, wait_until
from tests.integration.servers.use import use_nats, use_postgres


async def test_they_go_on_without_a_supervisor_and_the_next_one_adopts_them(install, server_folder):
    first = install(server_folder / "data")
    first.kill()
    assert await use_nats(first.said["nats_url"]) == 1
    assert use_postgres(first.said["postgres_url"]) == 1
    second = install(server_folder / "data")
    assert second.said["adopted"] == {"nats": True, "postgres": True}
    assert {key: second.said[key] for key in ("pids", "nats_url", "postgres_url")} == {
        key: first.said[key] for key in ("pids", "nats_url", "postgres_url")
    }
    assert await use_nats(second.said["nats_url"]) == 2
    second.stop()
    assert not any(map(is_alive, first.said["pids"].values())), "the adopted ones are stopped like its own"


async def test_after_kill_of_everything_both_start_again_with_what_they_kept(install, server_folder):
    first = install(server_folder / "data")
    await use_nats(first.said["nats_url"])
    use_postgres(first.said["postgres_url"])
    first.kill()
    for pid in first.said["pids"].values():
        kill_and_wait(pid)
    second = install(server_folder / "data")
    assert second.said["adopted"] == {"nats": False, "postgres": False}
    assert second.said["nats_url"] == first.said["nats_url"]
    assert await use_nats(second.said["nats_url"]) == 2
    assert use_postgres(second.said["postgres_url"]) == 2


async def test_one_that_runs_something_else_is_stopped(install, server_folder):
    first = install(server_folder / "data")
    await use_nats(first.said["nats_url"])
    first.kill()
    second = install(server_folder / "data", nats_max_payload_bytes=2 << 20, postgres_connections=50)
    assert second.said["adopted"] == {"nats": False, "postgres": False}
    assert not any(map(is_alive, first.said["pids"].values()))
    assert await use_nats(second.said["nats_url"]) == 2
    with psycopg.connect(second.said["postgres_url"]) as connection:
        assert connection.execute("show max_connections").fetchone() == ("50",)


def test_one_without_an_identity_file_is_found_by_its_slot(install, server_folder):
    first = install(server_folder / "data")
    first.kill()
    for name in ("nats", "postgres"):
        (server_folder / "data" / "run" / f"{name}.json").unlink()
    second = install(server_folder / "data")
    assert second.said["adopted"] == {"nats": False, "postgres": False}
    assert not any(map(is_alive, first.said["pids"].values()))


def test_backends_that_outlive_their_postmaster_hinder_nobody(install, server_folder):
    first = install(server_folder / "data")
    first.kill()

    def compute() -> None:
        # Busy, so it does not notice that the postmaster is gone.
        try:
            with psycopg.connect(first.said["postgres_url"]) as connection:
                connection.execute("select count(*) from generate_series(1, 2000000000)")
        except psycopg.Error:
            ended.append(True)

    ended: list[bool] = []
    busy = threading.Thread(target=compute)
    busy.start()
    try:
        postmaster = first.said["pids"]["postgres"]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
        wait_until(lambda: any("SELECT" in words_of(int(pid)) for pid in children.read_text().split()))
        kill_and_wait(postmaster)
        second = install(server_folder / "data", stop_deadline_s=2)
    finally:
        busy.join(timeout=30)
    assert ended
    assert use_postgres(second.said["postgres_url"]) == 1


def words_of(pid: int) -> str:
    """The arguments of a process, or what it put in their place."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_a_stranger_with_the_pid_of_a_server_is_left_alone(install, server_folder):
    first = install(server_folder / "data")
    first.kill()
    for pid in first.said["pids"].values():
        kill_and_wait(pid)
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    try:
        for name in ("nats", "postgres"):
            path = server_folder / "data" / "run" / f"{name}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": stranger.pid}))
        second = install(server_folder / "data")
        assert second.said["adopted"] == {"nats": False, "postgres": False}
        second.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_what_is_left_behind_can_be_stopped_without_a_start(install, server_folder):
    settings = ServersSettings(data_folder=server_folder / "data")
    assert await embedded.stop_left_behind(settings) == []
    first = install(server_folder / "data")
    first.kill()
    assert await embedded.stop_left_behind(settings) == ["nats", "postgres"]
    assert not any(map(is_alive, first.said["pids"].values()))
    assert await embedded.stop_left_behind(settings) == []


def test_a_frozen_server_is_not_adopted_but_replaced(install, server_folder):
    first = install(server_folder / "data")
    first.kill()
    standstill.bring_about(first.said["pids"]["nats"])
    second = install(server_folder / "data", stop_deadline_s=1, start_deadline_s=2)
    assert second.said["adopted"] == {"nats": False, "postgres": True}
    assert not is_alive(first.said["pids"]["nats"])


def test_the_identity_file_holds_no_secret(install, server_folder):
    said = install(server_folder / "data").said
    for name in ("nats", "postgres"):
        path = server_folder / "data" / "run" / f"{name}.json"
        found = identity.read(path)
        password = json.loads((server_folder / "data" / "secrets" / f"{name}.json").read_text())["password"]
        assert password not in path.read_text()
        assert found.pid == said["pids"][name]
        assert found.is_running()
        assert found.data_folder == str(server_folder / "data")
        assert password not in words_of(found.pid)
