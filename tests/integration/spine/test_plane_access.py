"""Being let in by a real nats-server: passwords, tokens, nkeys, TLS both ways, and permissions. Wrong ones say so."""

import asyncio
import os
import ssl

import pytest
import structlog

from penstock.app import configuration, logins
from penstock.base import errors, ids
from penstock.base import settings as base_settings
from penstock.sdk import connection
from penstock.servers import endpoints
from penstock.spine.adapters import nats_access, nats_nkey, spine_nats
from penstock.spine.plane import ledger, link
from penstock.spine.settings import NatsSettings
from tests import certificates
from tests.integration.spine.plane_stage import QUICK, WITHIN_S, linked, refused, served, until

SECRET = "a-wrong-secret"


@pytest.fixture(params=["plane", "nats-py"])
def client(request):
    """Both clients are let in by the same settings."""
    return request.param


async def let_in(client, urls, **chosen):
    chosen = {field: value for field, value in chosen.items() if value is not None}
    if client == "plane":
        async with linked(urls, **chosen) as one:
            await one.barrier(WITHIN_S)
            assert (await one.call("nobody", b"", 5)).status == "503"
    else:
        where = nats_access.address(urls, NatsSettings(**chosen))
        spine = await spine_nats.NatsSpine.connect(where, wait_s=WITHIN_S)
        try:
            with pytest.raises(errors.Unavailable):
                await spine.request(spine_nats.ports.Signal("nobody", {}, b""), timeout_s=5)
        finally:
            await spine.close()


async def assert_refused(server, urls=None, code="nats_auth", **chosen):
    with structlog.testing.capture_logs() as lines:
        error = await refused(urls or server.url, **chosen)
    assert isinstance(error, errors.Rejected), error
    assert error.code == code
    assert server.url in str(error)
    assert SECRET not in f"{lines} {error!s} {error!r} {error.__cause__!r} {error.__context__!r}"
    return error


async def test_user_and_password(server_folder, client):
    async with served(server_folder / "a", 'authorization { user: "u@x", password: "p:/" }') as server:
        await let_in(client, server.url.replace("://", "://u%40x:p%3A%2F@"))
        await assert_refused(server)
        await assert_refused(server, server.url.replace("://", f"://u%40x:{SECRET}@"))
        await assert_refused(server, server.url.replace("://", f"://{SECRET}:p%3A%2F@"))


async def test_a_token(server_folder, client):
    async with served(server_folder / "a", 'authorization { token: "let-me-in" }') as server:
        await let_in(client, server.url, token=base_settings.Secret("let-me-in"))
        await let_in(client, server.url.replace("://", "://let-me-in@"))
        await assert_refused(server, token=base_settings.Secret(SECRET))
        await assert_refused(server, server.url.replace("://", f"://{SECRET}@"))


async def test_an_nkey(server_folder, client):
    seed, other = nats_nkey.seed_text(os.urandom(32)), nats_nkey.seed_text(os.urandom(32))
    for name, text in (("mine", f"# who we are\n{seed}\n"), ("other", other)):
        (server_folder / name).write_text(text)
        (server_folder / name).chmod(0o600)
    public = nats_nkey.user_key(seed).public_key
    async with served(server_folder / "a", f"authorization {{ users: [{{ nkey: {public} }}] }}") as server:
        await let_in(client, server.url, nkey_seed_file=server_folder / "mine")
        await assert_refused(server, nkey_seed_file=server_folder / "other")
        await assert_refused(server)


@pytest.fixture
def authority(server_folder):
    return certificates.Authority(server_folder)


def tls(authority, name="server", extra=""):
    certificate, key = authority.sign(name)
    return f'tls {{ cert_file: "{certificate}", key_file: "{key}", {extra} }}\n'


async def test_tls(server_folder, authority, client):
    async with served(server_folder / "a", tls(authority)) as server:
        await let_in(client, server.url, ca_file=authority.certificate)
        await let_in(client, server.url.replace("nats://127.0.0.1", "tls://localhost"), ca_file=authority.certificate)
        unknown = await assert_refused(server, code="nats_tls")
        assert "unable to get local issuer certificate" in str(unknown) or "self" in str(unknown)
        stranger = server_folder / "stranger"
        stranger.mkdir()
        await assert_refused(server, code="nats_tls", ca_file=certificates.Authority(stranger).certificate)


async def test_large_messages_and_outages_are_survived_in_tls(server_folder, authority):
    async with (
        served(server_folder / "a", tls(authority)) as server,
        linked(server.url, ca_file=authority.certificate) as one,
    ):
        one.subscribe("ask", lambda asked: one.publish(asked.reply, asked.body))
        for number in (1, 2, 3):
            assert one.connection == number
            bodies = [bytes([n]) * 1_000_000 for n in range(5)]
            calls = [one.call("ask", body, 20) for body in bodies]
            assert [answer.body for answer in await asyncio.gather(*calls)] == bodies
            server.kill()
            await until(lambda: not one.connected)
            await server.start()
            await one.wait_connected(WITHIN_S)


async def test_a_certificate_must_be_for_the_name_that_was_asked_for(server_folder, authority):
    async with served(server_folder / "a", tls(authority)) as server:
        url = server.url.replace("127.0.0.1", "127.0.0.2")
        server.kill()
        (server.folder / "nats.conf").write_text(f'listen: "0.0.0.0:{server.port}"\n' + tls(authority))
        await server.start()
        error = await refused(url, ca_file=authority.certificate)
        assert isinstance(error, errors.Rejected)
        assert "127.0.0.2" in str(error)


async def test_tls_from_the_first_byte(server_folder, authority, client):
    async with served(server_folder / "a", tls(authority, extra="handshake_first: true")) as server:
        await let_in(client, server.url, ca_file=authority.certificate, tls_first=True)
        late = await refused(server.url, ca_file=authority.certificate, wait_s=0.5)
        assert isinstance(late, errors.PenstockError)
    async with served(server_folder / "b", tls(authority)) as server:
        early = await refused(server.url, ca_file=authority.certificate, tls_first=True)
        assert isinstance(early, errors.Rejected)
        assert early.code == "nats_tls"


async def test_a_server_that_asks_for_a_certificate(server_folder, authority, client):
    async with served(
        server_folder / "a", tls(authority, extra=f'ca_file: "{authority.certificate}", verify: true')
    ) as server:
        certificate, key = authority.sign("client")
        mine = {"certificate_file": certificate, "key_file": key}
        await let_in(client, server.url, ca_file=authority.certificate, **mine)
        without = await refused(server.url, ca_file=authority.certificate, wait_s=1)
        assert isinstance(without, errors.PenstockError)
        # The server may be faster to hang up than to say why.
        assert without.code in {"nats_tls", "nats_unreachable"}


async def test_nothing_is_said_in_clear_when_tls_is_asked_for(server_folder, authority):
    with_password = 'authorization { user: "u", password: "p" }'
    async with served(server_folder / "a", with_password) as server:
        where = server.url.replace("://", "://u:p@")
        assert (await assert_refused(server, where, code="nats_tls", ca_file=authority.certificate)).status == 400
        await assert_refused(server, where.replace("nats://", "tls://"), code="nats_tls")


async def test_a_server_that_offers_tls_without_requiring_it_is_taken_at_its_word(server_folder, authority, client):
    async with served(server_folder / "a", tls(authority) + "allow_non_tls: true") as server:
        await let_in(client, server.url, ca_file=authority.certificate)
        await let_in(client, server.url)


PERMISSIONS = """
authorization { users: [ { user: "u", password: "p", permissions: {
  publish: { allow: ["free.>", "half.>"] }, subscribe: { allow: ["free.>", "_MINE.u.>"] } } } ] }
"""


@pytest.fixture
async def strict(server_folder):
    async with served(server_folder / "a", PERMISSIONS) as server:
        server.access = server.url.replace("://", "://u:p@")
        yield server


async def test_an_inbox_prefix_of_our_own(strict, client):
    if client == "plane":
        async with linked(strict.access, inbox_prefix="_MINE.u") as one:
            one.subscribe("free.echo", lambda asked: one.publish(asked.reply, b"heard"))
            assert one.inbox.startswith("_MINE.u.")
            assert (await one.call("free.nobody", b"", 5)).status == "503"
    else:
        where = nats_access.address(strict.access, NatsSettings(inbox_prefix="_MINE.u"))
        spine = await spine_nats.NatsSpine.connect(where, wait_s=WITHIN_S)
        with pytest.raises(errors.Unavailable) as nobody:
            await spine.request(spine_nats.ports.Signal("free.nobody", {}, b""), timeout_s=5)
        assert nobody.value.code == "no_responders"
        await spine.close()


async def test_answers_on_a_prefix_that_is_not_ours_are_an_error_at_once(strict):
    async with linked(strict.access) as one:
        with pytest.raises(errors.Rejected) as refusal:
            one.call("free.nobody", b"", 30)
        assert (refusal.value.code, refusal.value.status) == ("not_permitted", 403)
        assert "INBOX_PREFIX" in refusal.value.hint
        heard = []
        await one.subscribe("free.a", heard.append).established(WITHIN_S)
        one.publish("free.a", b"")
        await one.barrier(WITHIN_S)
        assert len(heard) == 1


async def test_a_call_to_a_subject_that_is_not_permitted_is_an_error_and_not_a_wait(strict):
    async with linked(strict.access, inbox_prefix="_MINE.u") as one:
        allowed = one.call("free.nobody", b"", 30)
        calls = [one.call("forbidden.a", b"", 30) for _ in range(3)]
        for call in calls:
            with pytest.raises(errors.Rejected) as refusal:
                await asyncio.wait_for(call, WITHIN_S)
            assert (refusal.value.code, refusal.value.status) == ("not_permitted", 403)
            assert "forbidden.a" in refusal.value.detail
        assert (await allowed).status == "503"
        assert one.connection == 1


async def test_publishing_where_it_is_not_permitted_is_refused_from_then_on_for_a_while(strict, monkeypatch):
    async with linked(strict.access, inbox_prefix="_MINE.u") as one:
        one.publish("forbidden.a", b"")
        await one.barrier(WITHIN_S)
        with pytest.raises(errors.Rejected) as refusal:
            one.publish("forbidden.a", b"")
        assert refusal.value.code == "not_permitted"
        one.publish("free.a", b"")
        monkeypatch.setattr(ledger, "REFUSED_LIMIT", 0)
        one.publish("forbidden.b", b"")
        await one.barrier(WITHIN_S)
        one.publish("forbidden.b", b"")
        await one.barrier(WITHIN_S)
        assert one.connection == 1


async def test_a_subscription_that_is_not_permitted_says_so(strict):
    async with linked(strict.access, inbox_prefix="_MINE.u") as one:
        for queue in ("", "workers"):
            subscription = one.subscribe("half.a", print, queue=queue)
            for _ in range(2):
                with pytest.raises(errors.Rejected) as refusal:
                    await subscription.established(WITHIN_S)
                assert (refusal.value.code, refusal.value.status) == ("not_permitted", 403)
                assert "half.a" in refusal.value.detail
        await one.subscribe("free.a", print).established(WITHIN_S)
        assert one.connection == 1


async def test_what_is_permitted_later_works_after_the_next_connection(strict):
    async with linked(strict.access, inbox_prefix="_MINE.u") as one:
        heard = []
        subscription = one.subscribe("half.a", heard.append)
        with pytest.raises(errors.Rejected):
            await subscription.established(WITHIN_S)
        strict.kill()
        strict.configure(PERMISSIONS.replace('["free.>", "_MINE.u.>"]', '["free.>", "half.>", "_MINE.u.>"]'))
        await strict.start()
        await one.wait_connected(WITHIN_S) if not one.connected else None
        while one.connection != 2:
            await asyncio.sleep(0.01)
        await subscription.established(WITHIN_S)
        one.publish("half.a", b"")
        await one.barrier(WITHIN_S)
        assert len(heard) == 1


async def test_credentials_that_end_while_we_are_connected_are_tried_again_until_they_hold(server_folder):
    right = 'authorization { user: "u", password: "p" }'
    async with served(server_folder / "a", right) as server, linked(server.url.replace("://", "://u:p@")) as one:
        server.kill()
        server.configure(right.replace('"p"', '"changed"'))
        with structlog.testing.capture_logs() as lines:
            await server.start()
            while not any(line.get("code") == "nats_auth" for line in lines):
                await asyncio.sleep(0.01)
        assert not one.connected
        server.kill()
        server.configure(right)
        await server.start()
        await one.wait_connected(WITHIN_S)
        assert one.connection == 2


def test_an_address_shows_no_secret(server_folder):
    seed = nats_nkey.seed_text(os.urandom(32))
    (server_folder / "seed").write_text(seed)
    (server_folder / "seed").chmod(0o644)
    with structlog.testing.capture_logs() as lines:
        chosen = NatsSettings(token=base_settings.Secret("hush-1"), nkey_seed_file=server_folder / "seed")
        read = nats_access.address("nats://hush-2:hush-3@a:1", chosen)
    made = f"{read!r} {read!s} {read.credentials!r} {chosen!r} {lines} {read.credentials.signer!r}"
    assert seed not in made
    assert "hush" not in made
    assert lines[0]["event"] == "secret file open to others"


async def test_a_link_shows_no_secret():
    one = link.Link(nats_access.address("nats://hush-2:hush-3@a:1", NatsSettings()), timing=QUICK)
    assert "hush" not in f"{one!r} {one.address!r} {vars(one)!r}"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"ca_file": "missing"}, "nats.ca_file: there is no file"),
        ({"ca_file": "nonsense"}, "nats.ca_file: .* holds no certificate in PEM"),
        ({"ca_file": "binary"}, "nats.ca_file: .* is not text"),
        ({"ca_file": "."}, "nats.ca_file: cannot read"),
        ({"certificate_file": "mine.pem", "key_file": "missing"}, "nats.key_file: there is no file"),
        ({"certificate_file": "mine.pem", "key_file": "other.key"}, "nats.certificate_file: .*KEY_VALUES_MISMATCH"),
        ({"certificate_file": "nonsense", "key_file": "mine.key"}, "nats.certificate_file: "),
        ({"nkey_seed_file": "missing"}, "nats.nkey_seed_file: there is no file"),
        ({"nkey_seed_file": "nonsense"}, "nats.nkey_seed_file: .* is no nkey seed"),
        ({"nkey_seed_file": "binary"}, "nats.nkey_seed_file: .* is not text"),
    ],
)
def test_a_wrong_file_is_one_clear_line(server_folder, authority, fields, says):
    authority.sign("mine")
    authority.sign("other")
    (server_folder / "nonsense").write_text(SECRET)
    (server_folder / "binary").write_bytes(b"\xff\x00")
    chosen = NatsSettings(**{field: server_folder / name for field, name in fields.items()})
    with pytest.raises(errors.Rejected, match=says) as wrong:
        nats_access.address("nats://a:1", chosen)
    assert wrong.value.code == "bad_setting"
    assert wrong.value.field.startswith("nats.")
    assert SECRET not in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_no_certificate_is_checked_less_than_by_default(server_folder, authority):
    context = nats_access.address("nats://a:1", NatsSettings(ca_file=authority.certificate)).tls
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


async def test_an_operators_settings_let_the_core_and_an_app_in(server_folder, authority):
    """The same variables for both; an app that finds an installation finds them with it."""
    token = 'authorization { token: "let-me-in" }\n'
    async with served(server_folder / "a", tls(authority) + token) as server:
        nats = {"PENSTOCK_NATS__TOKEN": "let-me-in", "PENSTOCK_NATS__CA_FILE": str(authority.certificate)}
        environ = {**nats, "PENSTOCK_NATS_URL": server.url, "PENSTOCK_DATA": str(server_folder)}
        core = configuration.load(environ)
        assert core.servers.nats_url is not None
        acme = ids.tenant_id("acme")
        where = endpoints.NatsEndpoint(server.url, "", "", "")
        logins.LoginFiles.of(server_folder, core.nats.table()).leave(acme, where)
        found = connection.find(environ, acme)
        beside = connection.find({"PENSTOCK_DATA": str(server_folder)}, acme)
        for url, chosen in (
            (core.servers.nats_url, core.nats),
            (found.url, found.nats),
            (beside.url, beside.nats),
        ):
            there = spine_nats.NatsSpine.address(url.reveal(), chosen)
            spine = await spine_nats.NatsSpine.connect(there, wait_s=WITHIN_S)
            assert spine.connected
            await spine.close()
