"""Accounts: made with a secret that is told once, rotated, disabled; nobody touches another tenant's."""

import dataclasses

import pytest

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.service import accounts, lookup
from tests.unit.channels import fakes

SIGNING, TOKEN = ports.SecretKind.SIGNING, ports.SecretKind.TOKEN
GIVEN = "whsec_" + "QUJD" * 8


def signing(made: accounts.NewAccount) -> str:
    return made.secrets[SIGNING].secret.reveal()


class House:
    def __init__(self) -> None:
        self.table, self.sealer = fakes.AccountTable(), fakes.Sealer()
        self.cached = lookup.AccountLookup(
            self.table, self.sealer, channels=fakes.REGISTRY, clock=fakes.clock(), fresh_s=10, missing_s=2
        )
        self.tenants = fakes.Tenants(fakes.ACME, fakes.BETA)
        where = fakes.where(
            self.cached, self.tenants, fakes.Platform(), fakes.Platform("terminal"), fakes.Platform("calling")
        )
        self.service = accounts.Accounts(where, self.table, self.sealer, self.cached)

    async def create(self, name: str = "shop", tenant: str = "acme", **more: object) -> accounts.NewAccount:
        return await self.service.create(tenant, str(more.pop("channel", "webhook")), name, **more)  # type: ignore[arg-type]

    async def live(self, account: str) -> list[str]:
        _, credentials = await self.cached.find("webhook", account)
        return [secret.reveal() for secret in credentials.secrets]


@pytest.fixture
def house() -> House:
    return House()


async def test_a_new_account_has_a_secret_of_its_own_that_never_prints(house: House):
    made = await house.create()
    text = signing(made)
    assert text.startswith("whsec_")
    assert text not in repr(made)
    assert await house.live(made.account.id) == [text]
    assert text not in repr(await house.service.list("acme"))


async def test_a_secret_that_was_brought_along_is_kept(house: House):
    made = await house.create(secrets={SIGNING: settings.Secret(GIVEN)})
    assert await house.live(made.account.id) == [GIVEN]


async def test_an_earlier_channel_name_becomes_the_present_one(house: House):
    assert (await house.create(channel="hook")).account.channel == "webhook"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"tenant": "nobody"}, "tenant_suspended", ""),
        ({"tenant": "ac.me"}, "bad_slug", "tenant"),
        ({"tenant": "tenant.*"}, "bad_slug", "tenant"),
        ({"channel": "nowhere"}, "no_such_channel", ""),
        ({"name": ""}, "bad_name", "name"),
        ({"config": {"nope": "x"}}, "bad_config", "config.nope"),
        ({"config": {"url": ""}}, "bad_config", "config.url"),
        ({"config": {"url": "http://elsewhere"}}, "bad_config", "config.url"),
        ({"secrets": {SIGNING: settings.Secret("short")}}, "bad_secret", "secret"),
        ({"secrets": {SIGNING: settings.Secret("none-of-this-platform")}}, "bad_secret", "secret"),
    ],
)
async def test_what_cannot_be_is_refused_by_field(house: House, fields: dict[str, object], code: str, field: str):
    with pytest.raises(errors.Rejected) as caught:
        await house.create(**fields)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == (code, field)
    assert not house.table.rows


async def test_a_name_is_taken_once_per_tenant(house: House):
    await house.create()
    with pytest.raises(errors.Rejected) as caught:
        await house.create()
    assert (caught.value.code, caught.value.status) == ("account_exists", 409)
    await house.create(tenant="beta")
    assert len(house.table.rows) == 2


async def test_a_secret_is_rotated_without_a_gap(house: House):
    made = await house.create()
    id = made.account.id
    second = await house.service.add_secret("acme", id)
    assert await house.live(id) == [second.secret.reveal(), signing(made)]
    with pytest.raises(errors.Rejected) as caught:
        await house.service.add_secret("acme", id)
    assert (caught.value.code, caught.value.status) == ("too_many_secrets", 409)
    await house.service.retire_secret("acme", id, made.secrets[SIGNING].id)
    assert await house.live(id) == [second.secret.reveal()]


async def test_retiring_the_last_secret_shuts_the_account(house: House):
    made = await house.create()
    await house.service.retire_secret("acme", made.account.id, made.secrets[SIGNING].id)
    assert await house.live(made.account.id) == []
    with pytest.raises(errors.Rejected, match="no_such_secret"):
        await house.service.retire_secret("acme", made.account.id, made.secrets[SIGNING].id)


async def test_disabling_is_seen_at_once_and_can_be_undone(house: House):
    id = (await house.create()).account.id
    assert not (await house.cached.find("webhook", id))[0].disabled
    await house.service.disable("acme", id)
    assert (await house.cached.find("webhook", id))[0].disabled
    await house.service.enable("acme", id)
    assert not (await house.cached.find("webhook", id))[0].disabled


@pytest.mark.parametrize("verb", ["show", "add_secret", "disable", "enable", "change"])
async def test_another_tenants_account_is_not_there(house: House, verb: str):
    id = (await house.create()).account.id
    with pytest.raises(errors.Rejected) as caught:
        await getattr(house.service, verb)("beta", id)
    assert (caught.value.code, caught.value.status) == ("no_account", 404)
    assert not (await house.service.show("acme", id)).account.disabled
    assert len(house.table.secrets[id]) == 1


async def calling(house: House, **given: str) -> accounts.NewAccount:
    """An account of a channel that calls with a token, which only its platform gives out."""
    secrets = {ports.SecretKind(kind): settings.Secret(text) for kind, text in given.items()}
    return await house.create(channel="calling", secrets=secrets)


async def test_what_may_be_made_is_made_and_the_rest_is_brought_along(house: House):
    made = await calling(house, token="xoxb-a-token-given-out")
    assert {kind: one.made for kind, one in made.secrets.items()} == {SIGNING: True, TOKEN: False}
    _, credentials = await house.cached.find("calling", made.account.id)
    assert credentials == ports.Credentials(
        (made.secrets[SIGNING].secret,), (settings.Secret("xoxb-a-token-given-out"),)
    )
    assert "xoxb" not in repr(made)
    shown = await house.service.show("acme", made.account.id)
    assert sorted(one.kind for one in shown.secrets) == [SIGNING, TOKEN]


async def test_a_secret_that_only_the_platform_has_is_asked_for_by_name(house: House):
    with pytest.raises(errors.Rejected) as caught:
        await calling(house)
    assert (caught.value.code, caught.value.field, caught.value.hint) == (
        "missing_secret",
        "secret.token",
        "the bot's token",
    )
    assert not house.table.rows


async def test_a_channel_takes_no_kind_of_secret_that_it_has_no_use_for(house: House):
    with pytest.raises(errors.Rejected, match="bad_secret"):
        await house.create(secrets={TOKEN: settings.Secret("xoxb-a-token-given-out")})
    made = await house.create()
    with pytest.raises(errors.Rejected, match="bad_secret"):
        await house.service.add_secret("acme", made.account.id, settings.Secret("x" * 20), kind=TOKEN)
    assert len(house.table.secrets[made.account.id]) == 1


async def test_two_of_each_kind_may_live(house: House):
    id = (await calling(house, token="token-number-one")).account.id
    await house.service.add_secret("acme", id, settings.Secret("token-number-two"), kind=TOKEN)
    await house.service.add_secret("acme", id)
    with pytest.raises(errors.Rejected, match="token secrets"):
        await house.service.add_secret("acme", id, settings.Secret("token-number-3ee"), kind=TOKEN)
    with pytest.raises(errors.Rejected, match="missing_secret"):
        await house.service.add_secret("acme", id, kind=TOKEN)
    _, credentials = await house.cached.find("calling", id)
    assert [token.reveal() for token in credentials.tokens] == ["token-number-two", "token-number-one"]
    assert len(credentials.secrets) == 2


async def test_name_and_configuration_change_and_are_seen_at_once(house: House):
    id = (await house.create(config={"url": "https://one.test/"})).account.id
    await house.cached.find("webhook", id)
    changed = await house.service.change("acme", id, name="store", config={"url": "https://two.test/"})
    assert (changed.account.name, changed.account.config) == ("store", {"url": "https://two.test/"})
    assert (await house.cached.find("webhook", id))[0] == changed.account
    assert (await house.service.change("acme", id, config={"url": ""})).account.config == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": ""}, "bad_name"),
        ({"name": "taken"}, "account_exists"),
        ({"config": {"nope": "x"}}, "bad_config"),
        ({"config": {"nope": ""}}, "bad_config"),
        ({"config": {"url": "http://elsewhere"}}, "bad_config"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_whole(house: House, fields: dict[str, object], code: str):
    await house.create("taken")
    id = (await house.create(config={"url": "https://one.test/"})).account.id
    with pytest.raises(errors.Rejected) as caught:
        await house.service.change("acme", id, **fields)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert (await house.service.show("acme", id)).account.config == {"url": "https://one.test/"}


async def test_of_two_who_change_an_account_at_once_one_is_told(house: House):
    id = (await house.create()).account.id
    show = house.service.show

    async def meanwhile(tenant: str, account: str):
        found = await show(tenant, account)
        house.table.rows[account] = dataclasses.replace(house.table.rows[account], name="faster")
        return found

    house.service.show = meanwhile  # type: ignore[method-assign]
    with pytest.raises(errors.Rejected) as caught:
        await house.service.change("acme", id, name="slower")
    assert (caught.value.code, caught.value.status) == ("account_changed", 409)
