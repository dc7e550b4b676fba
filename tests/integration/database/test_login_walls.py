"""`database prepare` makes a login per role, and each process works with nothing but its own."""

import asyncio
import json
import stat

import psycopg
import pytest

from penstock.app import apps, roles
from penstock.app import database_logins as logins
from penstock.base import errors
from penstock.channels.testing import webhook_sender
from penstock.servers import testing as servers
from tests import loopback
from tests.e2e import conversation, installation, processes
from tests.integration.database import stronghold

KEY = "5e" * 32


@pytest.fixture
def folder():
    with servers.temporary_folder() as path:
        yield path
        processes.kill(path)


@pytest.fixture
def admin(fresh_postgres, folder):
    """The file with the administrator's URL."""
    path = folder / "admin.url"
    path.write_text(fresh_postgres.url() + "\n")
    path.chmod(0o600)
    return path


async def members(url, login):
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute(
            "select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid where m.member = %s::regrole",
            (login,),
        )
        return {name for (name,) in await found.fetchall()}


async def test_each_login_is_a_member_of_its_rooms_and_of_nothing_else(admin, folder, fresh_postgres):
    done = await logins.prepare(admin, folder / "logins")
    assert len(done.files) == len(roles.ROLES) + 1
    assert stat.S_IMODE((folder / "logins").stat().st_mode) == 0o700
    assert {path.name for path in (folder / "logins").iterdir()} == set(stronghold.LOGINS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "logins").iterdir()} == {0o600}
    for name in stronghold.LOGINS:
        assert await members(fresh_postgres.url(), logins.PREFIX + name) == set(stronghold.becomes(name))
    assert stronghold.becomes("state") == ("penstock_state", "penstock_relay")
    assert "penstock_rekey" not in stronghold.becomes("inbound")


async def test_what_a_login_does_not_need_any_more_is_taken_away(admin, folder, fresh_postgres):
    await logins.prepare(admin, folder / "logins")
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url(), autocommit=True) as connection:
        await connection.execute("grant penstock_channels, penstock_rekey to penstock_run_state")
    before = (folder / "logins" / "state").read_text()
    again = await logins.prepare(admin, folder / "logins")
    assert again.applied == []
    assert await members(fresh_postgres.url(), "penstock_run_state") == set(stronghold.becomes("state"))
    assert (folder / "logins" / "state").read_text() == before, "the password stays until it is renewed"


async def test_a_password_is_renewed_for_the_named_roles_alone(admin, folder):
    await logins.prepare(admin, folder / "logins")
    urls = {path.name: path.read_text().strip() for path in (folder / "logins").iterdir()}
    await logins.prepare(admin, folder / "logins", names=["state"], renew=True)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(urls["state"])
    for url in ((folder / "logins" / "state").read_text().strip(), urls["inbound"], urls["operator"]):
        await (await psycopg.AsyncConnection.connect(url)).close()


async def test_files_that_others_may_read_and_roles_that_are_none_are_refused(admin, folder):
    with pytest.raises(errors.Rejected) as raised:
        await logins.prepare(admin, folder / "logins", names=["nosuch"])
    assert raised.value.code == "unknown_role"
    admin.chmod(0o644)
    with pytest.raises(errors.Rejected) as raised:
        await logins.prepare(admin, folder / "logins")
    assert raised.value.code == "bad_secret"
    assert not list((folder / "logins").glob("*"))


async def test_who_is_no_administrator_is_told_so(admin, folder):
    await logins.prepare(admin, folder / "logins")
    mere = folder / "logins" / "operator"
    with pytest.raises((errors.Rejected, errors.Broken)) as raised:
        await logins.prepare(mere, folder / "others")
    assert raised.value.code in {"not_administrator", "permission_denied"}


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_three_processes_hold_a_conversation_with_nothing_but_their_own_logins(admin, folder, fresh_nats):
    """The process that keeps quarantine has no sealing key at all, and nobody but the operator could rekey."""
    plain = installation.environment(folder, PENSTOCK_NATS_URL=fresh_nats.url_with_credentials())
    code, out, err = await installation.run(
        plain, "database", "prepare", "--admin-url-file", str(admin), "--logins", str(folder / "logins"), "--json"
    )
    assert code == 0, err
    assert set(json.loads(out)["files"].values()) == {str(path) for path in (folder / "logins").iterdir()}
    for path in (folder / "logins").iterdir():
        word = path.read_text().split("@")[0].rpartition(":")[2]
        assert len(word) > 30
        assert word not in out + err

    def environ(role, **more):
        url = (folder / "logins" / role).read_text().strip()
        ports = {"PENSTOCK_EDGE__PORT": str(loopback.free_port())}
        return {**plain, **ports, "PENSTOCK_POSTGRES_URL": url, **more}

    inbound = environ("inbound", PENSTOCK_SEALING_KEY=KEY)
    operator = environ("operator", PENSTOCK_SEALING_KEY=KEY)
    commands = [
        installation.Command(inbound, "run", "inbound"),
        installation.Command(environ("outbound", PENSTOCK_SEALING_KEY=KEY), "run", "outbound"),
        installation.Command(environ("state"), "run", "state"),
    ]
    try:
        said = await _converse(operator, inbound)
        assert [answer.command.text for answer in said] == [conversation.answer("hello")]
    finally:
        for command in commands:
            await command.close()
    for command in commands:
        assert "permission denied" not in command.err, command.err
        assert "Traceback" not in command.err, command.err


async def _converse(operator, inbound):
    """A tenant and its account, made by the operator's verbs; one message, and what came back."""
    for arguments in (("tenant", "create", "acme"), ("tenant", "ls")):
        code, _, err = await installation.run(operator, *arguments)
        assert code == 0, err
    secret = webhook_sender.fresh_secret()
    async with conversation.Platform([secret], patience_s=60) as platform:
        code, out, err = await installation.run(
            operator, "account", "create", "shop", "-t", "acme", "--set", f"url={platform.url}", "--json"
        )
        assert code == 0, err
        made = json.loads(out)
        platform.use_secrets([made["secret"]])
        port = inbound["PENSTOCK_EDGE__PORT"]
        platform.connect(f"http://127.0.0.1:{port}/webhooks/webhook/{made['id']}")
        async with asyncio.timeout(90), apps.running(installation.ECHO, {**inbound, "PENSTOCK_TENANT": "acme"}):
            posted = await platform.say("room-0", "hello")
            assert posted.status == 200
            await platform.until(lambda: len(platform.arrivals) >= 1, timeout_s=60)
    return platform.arrivals
