"""Accounts are found fast, never older than promised, and a flood of made-up ids costs nothing that lasts."""

import asyncio
import dataclasses

import pytest

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.model import account as model
from penstock.channels.service import lookup
from penstock.channels.store import accounts
from tests.unit.channels import fakes


class House:
    def __init__(self) -> None:
        self.table, self.clock, self.sealer = fakes.AccountTable(), fakes.clock(), fakes.Sealer()
        self.lookup = lookup.AccountLookup(
            self.table, self.sealer, channels=fakes.REGISTRY, clock=self.clock, fresh_s=10, missing_s=2
        )

    def add(self, account: ports.Account, *secrets: str) -> None:
        self.table.rows[account.id] = account
        self.table.secrets[account.id] = [
            model.SealedSecret(
                str(n), ports.SecretKind.SIGNING, f"{account.tenant} channel-secret {account.id}/{n}|{text}".encode()
            )
            for n, text in enumerate(secrets)
        ]

    async def find(self, letter: str = "a", channel: str = "webhook") -> tuple[ports.Account, ports.Credentials]:
        return await self.lookup.find(channel, fakes.account_id(letter))


@pytest.fixture
def house() -> House:
    found = House()
    found.add(fakes.account(), "whsec_old", "whsec_new")
    return found


async def test_secrets_are_opened_newest_first(house: House):
    _, credentials = await house.find()
    assert credentials == ports.Credentials((settings.Secret("whsec_new"), settings.Secret("whsec_old")))
    assert "whsec_new" not in repr(credentials)


async def test_an_account_is_looked_for_once_and_again_when_it_is_old(house: House):
    for _ in range(5):
        await house.find()
    assert house.table.looks == 1
    house.table.rows[fakes.account_id()] = fakes.account(disabled=True)
    await house.clock.advance(9.9)
    assert (await house.find())[0].disabled is False
    await house.clock.advance(0.2)
    assert (await house.find())[0].disabled is True


async def test_a_change_made_here_is_seen_at_once(house: House):
    await house.find()
    house.table.rows[fakes.account_id()] = fakes.account(disabled=True)
    house.lookup.forget(fakes.account_id())
    assert (await house.find())[0].disabled is True


async def test_a_thousand_at_once_look_once(house: House):
    await asyncio.gather(*(house.find() for _ in range(1000)))
    assert house.table.looks == 1


async def test_whoever_came_first_may_leave(house: House):
    first, second = asyncio.create_task(house.find()), asyncio.create_task(house.find())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)[0].id == fakes.account_id()


async def test_another_channel_has_no_such_account_but_an_earlier_name_has(house: House):
    with pytest.raises(errors.Rejected, match="no_account"):
        await house.find(channel="terminal")
    assert (await house.find(channel="hook"))[0].channel == "webhook"


async def test_an_account_made_under_an_earlier_name_is_found_under_the_new_one(house: House):
    house.add(fakes.account(letter="b", channel="hook"), "whsec_x")
    assert (await house.find("b"))[0].channel == "webhook"


@pytest.mark.parametrize("text", ["", "acc-1", "../../x", "acc-" + "A" * 26, "x" * 10_000])
async def test_what_is_no_id_is_never_looked_for(house: House, text: str):
    with pytest.raises(errors.Rejected) as caught:
        await house.lookup.find("webhook", text)
    assert (caught.value.status, house.table.looks) == (404, 0)


async def test_what_was_not_found_is_not_looked_for_again_for_a_while(house: House):
    for _ in range(5):
        with pytest.raises(errors.Rejected):
            await house.find("z")
    assert house.table.looks == 1
    house.add(fakes.account(letter="z"), "whsec_z")
    await house.clock.advance(2.1)
    assert (await house.find("z"))[0].id == fakes.account_id("z")


async def test_a_flood_of_made_up_ids_grows_nothing_and_pushes_nobody_out(house: House):
    await house.find()
    for _ in range(lookup.MISSING * 3):
        with pytest.raises(errors.Rejected):
            await house.lookup.find("webhook", model.new_account_id())
    assert len(house.lookup._missing) == lookup.MISSING
    looks = house.table.looks
    await house.find()
    assert house.table.looks == looks


async def test_few_unknown_ids_are_looked_for_at_once_and_a_known_one_does_not_queue_behind(house: House):
    await house.find()
    await house.clock.advance(11)
    gate, at_once, most = asyncio.Event(), 0, 0
    original = house.table.find

    async def slow(account: str) -> accounts.FoundAccount | None:
        nonlocal at_once, most
        if account == fakes.account_id():
            return await original(account)
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1
        return None

    house.table.find = slow  # type: ignore[method-assign]
    flood = [
        asyncio.create_task(house.lookup.find("webhook", model.new_account_id()))
        for _ in range(lookup.UNKNOWN_WAITING + 50)
    ]
    await asyncio.sleep(0)
    assert (await house.find())[0].id == fakes.account_id()
    gate.set()
    results = await asyncio.gather(*flood, return_exceptions=True)
    assert most == lookup.UNKNOWN_AT_ONCE
    assert sum(isinstance(found, errors.Unavailable) for found in results) == 50
    assert sum(isinstance(found, errors.Rejected) for found in results) == lookup.UNKNOWN_WAITING


@pytest.mark.parametrize("everything", [False, True])
async def test_a_known_account_that_has_changed_does_not_queue_behind_a_flood_either(house: House, everything: bool):
    await house.find()
    gate, original = asyncio.Event(), house.table.find

    async def slow(account: str) -> accounts.FoundAccount | None:
        if account != fakes.account_id():
            await gate.wait()
        return await original(account)

    house.table.find = slow  # type: ignore[method-assign]
    flood = [
        asyncio.create_task(house.lookup.find("webhook", model.new_account_id())) for _ in range(lookup.UNKNOWN_WAITING)
    ]
    await asyncio.sleep(0)
    house.lookup.forget(fakes.account_id())
    if everything:
        house.lookup.forget_all()
        assert "whsec" not in "".join(s.reveal() for e in house.lookup._known.values() for s in e.credentials.secrets)
    assert (await house.find())[1].secrets[0] == settings.Secret("whsec_new")
    gate.set()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_postgres_away_is_unavailable_and_nothing_stale_is_trusted(house: House):
    await house.find()
    await house.clock.advance(11)
    house.table.away = True
    with pytest.raises(errors.Unavailable):
        await house.find()
    house.table.away = False
    assert (await house.find())[0].id == fakes.account_id()


async def test_a_secret_moved_to_another_account_does_not_open(house: House):
    stolen = house.table.secrets[fakes.account_id()]
    house.table.rows[fakes.account_id("b")] = dataclasses.replace(fakes.account(letter="b"), tenant=fakes.BETA)
    house.table.secrets[fakes.account_id("b")] = stolen
    with pytest.raises(errors.Broken):
        await house.find("b")


async def test_a_process_without_the_key_asks_to_be_tried_again(house: House):
    house.sealer.locked = True
    with pytest.raises(errors.Unavailable) as caught:
        await house.find()
    assert caught.value.code == "sealing_key_wrong"


async def test_a_change_made_while_somebody_looks_is_not_overwritten_by_what_they_saw(house: House):
    gate, original = asyncio.Event(), house.table.find

    async def slow(account: str) -> accounts.FoundAccount | None:
        found = await original(account)
        await gate.wait()
        return found

    house.table.find = slow  # type: ignore[method-assign]
    early = asyncio.create_task(house.find())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    house.table.find = original  # type: ignore[method-assign]
    house.table.rows[fakes.account_id()] = fakes.account(disabled=True)
    house.lookup.forget(fakes.account_id())
    assert (await house.find())[0].disabled is True
    gate.set()
    assert (await early)[0].disabled is False
    assert (await house.find())[0].disabled is True


async def test_everything_is_looked_for_again_when_changes_may_have_been_missed(house: House):
    """Also what is being looked for at that moment: it may have been read before the change."""
    house.add(fakes.account(letter="b"), "whsec_b")
    await house.find()
    with pytest.raises(errors.Rejected):
        await house.find("c")
    reading = asyncio.create_task(house.find("b"))
    await asyncio.sleep(0)
    house.lookup.forget_all()
    await reading
    looks = house.table.looks
    house.add(fakes.account(letter="c"), "whsec_c")
    for letter in "abc":
        await house.find(letter)
    assert house.table.looks == looks + 3
