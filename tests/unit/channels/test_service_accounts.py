"""Accounts: made with a secret that is told once, rotated, disabled; nobody touches another tenant's."""

import pytest

from penstock.base import errors, settings
from penstock.channels.service import accounts, lookup
from tests.unit.channels import fakes

GIVEN = "whsec_" + "QUJD" * 8


class House:
    def __init__(self) -> None:
        self.table, self.sealer = fakes.AccountTable(), fakes.Sealer()
        self.cached = lookup.AccountLookup(
            self.table, self.sealer, channels=fakes.REGISTRY, clock=fakes.clock(), fresh_s=10, missing_s=2
        )
        self.tenants = fakes.Tenants(fakes.ACME, fakes.BETA)
        where = fakes.where(self.cached, self.tenants, fakes.Platform(), fakes.Platform("terminal"))
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
    text = made.secret.secret.reveal()
    assert text.startswith("whsec_")
    assert text not in repr(made)
    assert await house.live(made.account.id) == [text]
    assert text not in repr(await house.service.list("acme"))


async def test_a_secret_that_was_brought_along_is_kept(house: House):
    made = await house.create(secret=settings.Secret(GIVEN))
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
        ({"secret": settings.Secret("short")}, "bad_secret", "secret"),
        ({"secret": settings.Secret("none-of-this-platform")}, "bad_secret", "secret"),
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
    assert await house.live(id) == [second.secret.reveal(), made.secret.secret.reveal()]
    with pytest.raises(errors.Rejected) as caught:
        await house.service.add_secret("acme", id)
    assert (caught.value.code, caught.value.status) == ("too_many_secrets", 409)
    await house.service.retire_secret("acme", id, made.secret.id)
    assert await house.live(id) == [second.secret.reveal()]


async def test_retiring_the_last_secret_shuts_the_account(house: House):
    made = await house.create()
    await house.service.retire_secret("acme", made.account.id, made.secret.id)
    assert await house.live(made.account.id) == []
    with pytest.raises(errors.Rejected, match="no_such_secret"):
        await house.service.retire_secret("acme", made.account.id, made.secret.id)


async def test_disabling_is_seen_at_once_and_can_be_undone(house: House):
    id = (await house.create()).account.id
    assert not (await house.cached.find("webhook", id))[0].disabled
    await house.service.disable("acme", id)
    assert (await house.cached.find("webhook", id))[0].disabled
    await house.service.enable("acme", id)
    assert not (await house.cached.find("webhook", id))[0].disabled


@pytest.mark.parametrize("verb", ["show", "add_secret", "disable", "enable"])
async def test_another_tenants_account_is_not_there(house: House, verb: str):
    id = (await house.create()).account.id
    with pytest.raises(errors.Rejected) as caught:
        await getattr(house.service, verb)("beta", id)
    assert (caught.value.code, caught.value.status) == ("no_account", 404)
    assert not (await house.service.show("acme", id)).account.disabled
    assert len(house.table.secrets[id]) == 1
