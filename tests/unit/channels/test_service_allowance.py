"""An account may keep so many events of unknown kinds, and so many bytes of them, and no more."""

import pytest

from penstock.base import clock as clocks
from penstock.channels import ports
from penstock.channels.model import unknown as model
from penstock.channels.service import allowance
from tests.unit.channels import fakes

MOST_EVENTS, MOST_BYTES = 3, 100


class House:
    """An allowance over a table that others write into as well."""

    def __init__(self) -> None:
        self.table, self.clock = fakes.MessageTable(), clocks.ManualClock()
        self.allowed = allowance.Allowance(self.table, clock=self.clock, most_events=MOST_EVENTS, most_bytes=MOST_BYTES)

    async def admit(self, *events: model.Kept, account: ports.Account | None = None) -> list[str]:
        return [one.event_id for one in await self.allowed.admit(account or fakes.account(), events)]

    async def store(self, *events: model.Kept, account: ports.Account | None = None) -> None:
        await self.table.add(account or fakes.account(), [], [], events)


@pytest.fixture
def house() -> House:
    return House()


def event(event_id: str, size_bytes: int = 1) -> model.Kept:
    return model.Kept(event_id, "kind", b"x" * size_bytes, size_bytes, fakes.NOW)


async def test_as_many_as_the_settings_say(house: House):
    assert await house.admit(*(event(f"u{number}") for number in range(5))) == ["u0", "u1", "u2"]


async def test_as_many_bytes_as_the_settings_say_and_a_smaller_one_still_fits(house: House):
    assert await house.admit(event("large", MOST_BYTES + 1), event("fits", MOST_BYTES), event("over", 1)) == ["fits"]


async def test_what_was_there_before_counts_and_each_account_counts_by_itself(house: House):
    await house.store(event("a"), event("b"), event("c"))
    assert await house.admit(event("d")) == []
    for other in (fakes.account(letter="b"), fakes.account(fakes.BETA, "c")):
        assert await house.admit(event("d"), account=other) == ["d"]


async def test_what_is_stored_meanwhile_is_counted_without_another_look(house: House):
    for name in ("a", "b", "c"):
        assert await house.admit(event(name)) == [name]
        house.allowed.added(fakes.account(), [event(name)])
    assert await house.admit(event("d")) == []
    assert house.table.looks == 1


async def test_what_was_admitted_and_never_stored_takes_no_room(house: House):
    for _ in range(10):
        assert await house.admit(event("a")) == ["a"]


async def test_after_a_while_it_looks_again_and_finds_what_others_added_or_removed(house: House):
    assert await house.admit(event("a")) == ["a"]
    await house.store(event("b"), event("c"), event("d"))
    await house.clock.advance(allowance.FRESH_S)
    assert await house.admit(event("e")) == []
    house.table.unknown.clear()
    await house.clock.advance(allowance.FRESH_S)
    assert await house.admit(event("e")) == ["e"]


async def test_memory_is_bounded_whatever_the_number_of_accounts(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(allowance, "ACCOUNTS", 2)
    for letter in "abcd":
        await house.admit(event("a"), account=fakes.account(letter=letter))
    await house.admit(event("a"), account=fakes.account(letter="d"))
    assert house.table.looks == 4
    await house.admit(event("a"), account=fakes.account(letter="a"))
    assert house.table.looks == 5
