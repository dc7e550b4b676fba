"""A real key service: what its administrator can do to us, moving there and back, and waiting for it at the start."""

import contextlib

import pytest

from penstock.base import errors, settings
from penstock.sealing.adapters import key_service_vault
from penstock.servers import testing
from tests.e2e import installation, processes
from tests.integration.sealing import safe as safes
from tests.integration.sealing import vault as vaults
from tests.integration.sealing.safe import OLD, TENANTS

SECRET, PLACE = bytes(range(32)), b"a place"


@pytest.fixture(scope="module")
def vault():
    with testing.temporary_folder() as folder, vaults.running(folder) as running:
        yield running


@pytest.fixture
async def service(vault):
    made = vault.service()
    yield made
    await made.close()


@pytest.fixture
async def safe(fresh_postgres):
    made = await safes.opened(fresh_postgres)
    yield made
    await made.database.close()


async def run(safe, *keys, **options):
    rekeyer, store = await safe.rekey(*keys)
    try:
        return await rekeyer.run(**options)
    finally:
        store.close()


async def test_keys_move_to_the_service_and_back_while_everything_opens(safe, service):
    there = await run(safe, service, OLD, data_keys=False)
    assert (there.kek_id, there.wrapped, there.emptied) == ("vault:transit/penstock", len(TENANTS), [OLD.id])
    await safe.check(service)
    await safe.process(service).verify()
    await safe.add(safe.process(service), "acme", "new")
    renewed = await run(safe, service, data_keys=True)
    assert (renewed.renewed, renewed.broken) == (len(TENANTS), [])
    await safe.check(service)
    back = await run(safe, OLD, service, data_keys=False)
    assert (back.wrapped, back.emptied) == (2 * len(TENANTS), [service.id])
    await safe.check(OLD)


async def test_the_servers_key_is_rotated_there_and_what_is_wrapped_still_opens(vault, service):
    before = await service.wrap(SECRET, PLACE)
    vault.ask("transit/keys/penstock/rotate")
    after = await service.wrap(SECRET, PLACE)
    assert before.split(b":")[1] != after.split(b":")[1]
    assert await service.unwrap(before, PLACE) == await service.unwrap(after, PLACE) == SECRET


async def test_another_server_with_the_same_names_is_refused_before_it_wraps_anything(safe, vault, service):
    await run(safe, service, OLD, data_keys=False)
    vault.ask("sys/mounts/elsewhere", type="transit")
    vault.ask("elsewhere/keys/penstock")

    class Elsewhere(key_service_vault.VaultKeyService):
        """What a process is pointed at by mistake: to it, and to us, the key has the name of ours."""

        id = service.id

    access = key_service_vault.Access(token=settings.Secret(vault.root))
    other = Elsewhere(vault.url, mount="elsewhere", access=access, timeout_s=20.0)
    await other.check()
    process = safe.process(other)
    for refused in (process.check(), process.seal("umbrella", "channel-secret", "row", b"x")):
        with pytest.raises(errors.Rejected) as raised:
            await refused
        assert raised.value.code == "sealing_key_differs"
    await other.close()
    await safe.process(service).check()


async def test_versions_are_given_up_after_new_data_keys_and_processes_still_start(safe, vault, service):
    """As docs/operations/secrets.md says to: the proof of the key is of the newest version too."""
    await run(safe, service, OLD, data_keys=False)
    newest = vault.ask("transit/keys/penstock/rotate")["data"]["latest_version"]
    await run(safe, service, data_keys=True)
    rekeyer, store = await safe.rekey(service, grace_s=0.0)
    assert (await rekeyer.run(data_keys=False)).discarded == len(TENANTS)
    store.close()
    vault.ask("transit/keys/penstock/config", min_decryption_version=newest)
    try:
        await safe.process(service).check()
        await safe.check(service)
    finally:
        vault.ask("transit/keys/penstock/config", min_decryption_version=1)


async def test_a_version_that_the_server_gives_up_is_refused_and_not_called_broken(vault):
    vault.ask("transit/keys/short")
    made = vault.service(key="short", token=vault.root)
    wrapped = await made.wrap(SECRET, PLACE)
    vault.ask("transit/keys/short/rotate")
    vault.ask("transit/keys/short/config", min_decryption_version=2)
    with pytest.raises(errors.Rejected) as raised:
        await made.unwrap(wrapped, PLACE)
    assert raised.value.code == "key_service_refused"
    await made.close()


@pytest.mark.parametrize("what", ["token", "mount", "key"])
async def test_a_wrong_token_mount_or_key_is_refused_at_the_first_check(vault, what):
    wrong = {"token": "s.nobody", "mount": "elsewhere", "key": "nobodys"}[what]
    made = vault.service(**{what: wrong})
    with pytest.raises(errors.Rejected) as raised:
        await made.check()
    assert raised.value.code == "key_service_refused"
    assert wrong not in str(raised.value)
    await made.close()


async def test_a_token_that_was_taken_back_is_refused_until_the_file_has_another(vault, tmp_path):
    file = tmp_path / "token"
    file.write_text(token := vault.fresh_token())
    file.chmod(0o600)
    made = vault.service(access=key_service_vault.Access(token_file=file))
    await made.check()
    vault.ask("auth/token/revoke", token=token)
    with pytest.raises(errors.Rejected):
        await made.check()
    file.write_text(vault.fresh_token())
    await made.check()
    await made.close()


async def test_our_token_can_do_nothing_but_wrap_and_unwrap(vault):
    ours = vaults.Vault(vault.url, vault.token, vault.process)
    for path in ("transit/keys/penstock/rotate", "transit/keys/other", "transit/encrypt/other", "auth/token/create"):
        with pytest.raises(Exception, match="403"):
            ours.ask(path)


async def test_a_rekeyer_goes_on_when_the_service_is_back(safe, vault):
    hasty = vault.service(timeout_s=0.3)
    with contextlib.ExitStack() as away:
        rekeyer, store = await safe.rekey(
            hasty, OLD, reached=lambda point: away.enter_context(vault.away()) if point == "retired" else None
        )
        with pytest.raises(errors.Unavailable):
            await rekeyer.run(data_keys=False)
        store.close()
    await hasty.close()
    await safe.check(OLD)
    patient = vault.service()
    report = await run(safe, patient, OLD, data_keys=False)
    assert (report.resumed, report.wrapped) == (True, len(TENANTS))
    await safe.check(patient)
    await patient.close()


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_an_installation_waits_for_its_key_service_and_starts_when_it_is_there(vault):
    """No key file is made, the token is in a file, and an account's secret is sealed under a key that is elsewhere."""
    with testing.temporary_folder() as folder:
        token = folder / "token"
        token.write_text(vault.token)
        token.chmod(0o600)
        environ = installation.environment(
            folder,
            PENSTOCK_SEALING__SERVICE="vault",
            PENSTOCK_SEALING__VAULT_URL=vault.url,
            PENSTOCK_SEALING__VAULT_TOKEN_FILE=str(token),
            PENSTOCK_SEALING__VAULT_TIMEOUT_S="1",
        )
        with vault.away():
            starting = installation.Installation(environ)
            await processes.until(lambda: "waits to start" in starting.err, "up waits", timeout_s=60)
            assert (starting.out, starting.running) == ("", True)
        try:
            await starting.ready()
            await starting.cli("tenant", "create", "acme")
            await starting.cli("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/")
            found = await starting.cli("secret", "status")
            assert (found["current"], found["keys"][0]["data_keys"]) == ("vault:transit/penstock", 1)
        finally:
            await starting.close()
            processes.kill(folder)
        assert not (folder / "config" / "penstock" / "key").exists()
        assert vault.token not in starting.err + starting.out
