"""Walls of the bus in a running installation: a login for each tenant, and none for anybody else's apps."""

import asyncio
import json
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.app import apps, examples
from penstock.base import errors, ids
from penstock.sdk import connection
from penstock.servers import ports, probe, testing
from penstock.spine import consumer, provision
from penstock.spine.adapters import spine_nats
from tests.integration.app import installation

WITHIN_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def login(data: Path, tenant: str) -> dict[str, str]:
    path = data / "run" / "apps" / f"{tenant}.json"
    until(path.is_file)
    return json.loads(path.read_text())


async def join(url: str, owner: dict[str, str], tenant: str, app: str) -> None:
    spine = await spine_nats.NatsSpine.connect(url, user=owner["nats_user"], password=owner["nats_password"], wait_s=10)
    try:
        await provision.durable(spine, consumer.of_app(ids.tenant_id(tenant), app))
    finally:
        await spine.close()


async def what_it_may(known: dict[str, str]) -> bytes:
    spine = await spine_nats.NatsSpine.connect(
        known["nats_url"], user=known["nats_user"], password=known["nats_password"], wait_s=10
    )
    try:
        answer = await spine.request(spine_nats.ports.Signal("$JS.API.INFO", {}, b""), timeout_s=10)
        return answer.body
    finally:
        await spine.close()


def test_a_tenant_that_is_made_while_all_runs_gets_a_login_of_its_own(installed):
    assert installed.call("tenant", "create", "walled").code == 0
    known = login(installed.data, "walled")
    owner = json.loads((installed.data / "run" / "endpoints.json").read_text())
    assert known["nats_user"] == "apps-walled"
    assert known["nats_url"] == owner["nats_url"]
    assert known["nats_password"] != owner["nats_password"]
    assert b"JetStream not enabled for account" in asyncio.run(what_it_may(known))
    assert b"not enabled" not in asyncio.run(what_it_may(owner))
    path = installed.data / "run" / "apps" / "walled.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    everything = "".join(each.read_text() for each in (installed.data / "log").iterdir())
    assert known["nats_password"] not in everything


def test_an_app_listens_by_its_tenants_login(installed):
    assert installed.call("tenant", "create", "listening").code == 0
    until((installed.data / "run" / "apps" / "listening.json").is_file)

    async def listens() -> None:
        environ = {**installed.environ, "PENSTOCK_TENANT": "listening"}
        async with apps.running(examples.path("echo") / "app.py", environ) as process:
            assert process.returncode is None

    asyncio.run(listens())
    text = (installed.data / "nats" / "accounts.conf").read_text()
    assert "$JS.API.CONSUMER.MSG.NEXT.MESSAGES_INBOUND.app_listening_echo_r7" in text


def test_an_app_of_a_tenant_that_is_not_there_is_told_so(installed):
    environ = {"PENSTOCK_DATA": str(installed.data)}
    with pytest.raises(errors.Unavailable, match="no_login"):
        connection.find(environ, ids.tenant_id("nobody"))


def test_the_block_for_a_server_of_ones_own_names_every_tenant(installed):
    assert installed.call("tenant", "create", "printed").code == 0
    printed = installed.call("nats", "accounts")
    assert printed.code == 0, printed.err
    assert 'user: "apps-printed", password: $PENSTOCK_APPS_PRINTED_PASSWORD' in printed.out
    wrong = installed.call("nats", "accounts", "-t", "acme", "--app", "globex/echo")
    assert (wrong.code, "TENANT/APP" in wrong.err) == (2, True)


@pytest.mark.parametrize("role", ["inbound", "outbound"])
def test_a_role_runs_apart_by_a_login_that_makes_nothing(installed, tmp_path, role):
    owner = json.loads((installed.data / "run" / "endpoints.json").read_text())
    made = installed.call(
        "nats", "accounts", "-t", "acme", "--into", str(tmp_path / "walls"), "--url", owner["nats_url"]
    )
    assert made.code == 0, made.err
    known = json.loads((tmp_path / "walls" / "core" / f"role-{role}.json").read_text())
    port = ports.choose(0, remembered=0, setting="test")
    login = f"{known['nats_user']}:{known['nats_password']}@"
    environ = {
        **installed.environ,
        "PENSTOCK_NATS_URL": known["nats_url"].replace("//", f"//{login}"),
        "PENSTOCK_NATS__API_PREFIX": "penstock.api",
        "PENSTOCK_POSTGRES_URL": owner["postgres_url"],
        "PENSTOCK_EDGE__PORT": str(port),
    }
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([*installation.PENSTOCK, "run", role], env=environ, stdout=said, stderr=said)
    try:
        until(lambda: process.poll() is not None or asyncio.run(probe.http_get("127.0.0.1", port, "/ready"))[0] == 200)
        assert process.poll() is None, (tmp_path / "said").read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_walls_on_a_server_of_ones_own():
    """The block is what nats-server reads, and `up` tells whom that server lets in from whom it does not."""
    with testing.temporary_folder() as folder:
        environ = installation.environment(folder)
        port = ports.choose(0, remembered=0, setting="test")
        url, walls = f"nats://127.0.0.1:{port}", folder / "walls"
        made = installation.run(
            environ, "nats", "accounts", "-t", "acme", "--app", "acme/echo", "--into", str(walls), "--url", url
        )
        assert made.code == 0, made.err
        assert not [path for path in walls.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
        config = walls / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js", max_file_store: 20G }}\n'
            'include "./accounts.conf"\n'
        )
        server = subprocess.Popen(
            [str(Path(sysconfig.get_path("scripts")) / "nats-server"), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            core = json.loads((walls / "core" / "penstock.json").read_text())
            ours = url.replace("//", f"//{core['nats_user']}:{core['nats_password']}@")
            with installation.up({**environ, "PENSTOCK_NATS_URL": ours}) as installed:
                for tenant in ("acme", "globex"):
                    assert installed.call("tenant", "create", tenant).code == 0
                assert login(installed.data, "acme")["nats_user"] == "apps-acme"
                assert not (installed.data / "run" / "apps" / "globex.json").exists(), "nobody said to share our login"
                asyncio.run(join(url, core, "acme", "late"))
                again = installation.run({**environ, "PENSTOCK_NATS_URL": ours}, "nats", "accounts", "-t", "acme")
                assert "app_acme_late_r7" in again.out, "an app that has joined would be cut off by the next reload"
                assert json.loads((walls / "apps" / "acme.json").read_text()) == login(installed.data, "acme")
            shared = {**environ, "PENSTOCK_NATS_URL": ours, "PENSTOCK_SERVERS__SHARE_NATS_LOGIN": "true"}
            with installation.up(shared) as installed:
                assert login(installed.data, "globex")["nats_user"] == core["nats_user"]
                assert login(installed.data, "acme")["nats_user"] == "apps-acme"
        finally:
            server.terminate()
            server.wait()
