"""Group commit over a database in memory: who shares a transaction, and who hears what."""

import asyncio
from typing import Any

import pytest

from penstock.base import errors
from penstock.database import group, waiting
from tests.unit.database import rows


def made(database: rows.Database, **limits: Any) -> Any:
    return group.Group(database, "kitchen", rows.write, kind="test", limits=waiting.GroupLimits(**limits))


async def settled(*futures: Any) -> list[Any]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*futures, return_exceptions=True)


async def test_one_row_leaves_at_once_and_alone() -> None:
    database = rows.Database()
    assert await made(database).join([rows.Row("soup")]) == ["did soup"]
    assert database.names == ["soup"]


async def test_what_comes_in_one_turn_of_the_loop_shares_a_transaction() -> None:
    database = rows.Database()
    dishes = made(database)
    answers = await settled(*(dishes.join([rows.Row(name, lane=name)]) for name in ("b", "a", "c")))
    assert answers == [["did b"], ["did a"], ["did c"]]
    assert [[row.name for row in one] for one in database.committed] == [["b", "a", "c"]]


async def test_groups_grow_while_the_places_are_taken() -> None:
    database = rows.Database()
    database.gate.clear()
    dishes = made(database, in_flight=2, rows=4)
    futures = []
    for number in range(12):
        futures.append(dishes.join([rows.Row(f"{number:02}", lane=str(number))]))
        await asyncio.sleep(0)
    database.gate.set()
    await settled(*futures)
    assert [len(one) for one in database.committed] == [1, 1, 4, 4, 2]
    assert database.most_running == 2


async def test_a_large_group_has_the_way_for_itself_unless_it_is_in_trouble() -> None:
    for bad in (None, rows.REFUSED):
        database = rows.Database()
        dishes = made(database, in_flight=2, small_rows=3)
        large = [dishes.join([rows.Row(f"a{n}", lane=f"a{n}", bad=bad if n == 0 else None)]) for n in range(8)]
        await asyncio.sleep(0)
        small = [dishes.join([rows.Row(f"b{n}", lane=f"b{n}")]) for n in range(2)]
        await settled(*large, *small)
        assert database.most_running == (1 if bad is None else 2)
        assert len(database.names) == (10 if bad is None else 9)


async def test_rows_of_a_caller_are_written_together_and_answered_in_their_order() -> None:
    database = rows.Database()
    dishes = made(database)
    first, second = await settled(
        dishes.join([rows.Row("z", lane="1"), rows.Row("b", lane="2")]), dishes.join([rows.Row("a", lane="3")])
    )
    assert (first, second) == (["did z", "did b"], ["did a"])


async def test_exactly_the_tenants_of_the_group_are_bound() -> None:
    database = rows.Database()
    dishes = made(database)
    await settled(*(dishes.join([rows.Row(str(n), lane=str(n), tenant=t)]) for n, t in enumerate(("b", "a", "b"))))
    await dishes.join([rows.Row("x", tenant="c")])
    assert database.tenants == [["a", "b"], ["c"]]


@pytest.mark.parametrize("bad", [rows.REFUSED, rows.BUSY, errors.Broken("bug", "ours"), ZeroDivisionError()])
async def test_a_bad_row_fails_alone(bad: Exception) -> None:
    database = rows.Database()
    dishes = made(database)
    answers = await settled(
        *(dishes.join([rows.Row(f"{n:02}", lane=str(n), bad=bad if n == 5 else None)]) for n in range(40))
    )
    assert type(answers[5]) is type(bad)
    assert answers[:5] + answers[6:] == [[f"did {n:02}"] for n in range(40) if n != 5]
    assert sorted(database.names) == [f"{n:02}" for n in range(40) if n != 5]


async def test_order_in_a_lane_holds_when_a_group_is_split() -> None:
    database = rows.Database()
    dishes = made(database)
    bad = {3: rows.REFUSED, 11: rows.REFUSED}
    await settled(*(dishes.join([rows.Row(f"{n:02}", lane=str(n % 2), bad=bad.get(n))]) for n in range(20)))
    for lane in "01":
        names = [row.name for one in database.committed for row in one if row.lane == lane]
        assert names == sorted(names)


@pytest.mark.parametrize("code", ["database_away", "commit_unknown", "database_busy"])
async def test_what_the_world_does_is_told_to_every_row_as_it_is_and_nothing_is_tried_again(code: str) -> None:
    database = rows.Database()
    database.away = errors.Unavailable(code, "gone", after_s=7.0)
    dishes = made(database)
    answers = await settled(*(dishes.join([rows.Row(str(n), lane=str(n))]) for n in range(5)))
    assert [(one.code, one.after_s) for one in answers] == [(code, 7.0)] * 5
    assert len({id(one) for one in answers}) == 5, "an error raised in two tasks gathers the tracks of both"
    assert database.committed == []
    database.away = None
    assert await dishes.join([rows.Row("later")]) == ["did later"]


async def test_a_caller_who_leaves_harms_nobody() -> None:
    database = rows.Database()
    database.gate.clear()
    dishes = made(database, in_flight=1)
    on_its_way, waits, stays = (dishes.join([rows.Row(n, lane=n)]) for n in ("a", "b", "c"))
    await asyncio.sleep(0)
    more = [dishes.join([rows.Row(n, lane=n)]) for n in ("d", "e")]
    await asyncio.sleep(0)
    on_its_way.cancel()
    waits.cancel()
    more[0].cancel()
    database.gate.set()
    assert await settled(stays, more[1]) == [["did c"], ["did e"]]
    assert database.names == ["a", "b", "c", "e"], "what was on its way is written, what waited is not"


async def test_answers_that_cannot_be_read_are_told_to_all_and_nothing_is_written_twice() -> None:
    def unreadable(bound: Any, of: Any, places: Any) -> Any:
        rows.write(bound, of, places)
        return lambda: ["only one"]

    database = rows.Database()
    dishes: Any = group.Group(database, "kitchen", unreadable, kind="test")
    answers = await settled(*(dishes.join([rows.Row(str(n), lane=str(n))]) for n in range(3)))
    assert [one.code for one in answers] == ["answer_unread"] * 3
    assert len(database.committed) == 1


async def test_when_too_much_waits_nobody_may_join_and_who_waits_too_long_gives_up() -> None:
    database = rows.Database()
    database.gate.clear()
    dishes = made(database, in_flight=1, waiting_rows=2, wait_s=0.05)
    held = dishes.join([rows.Row("held")])
    await asyncio.sleep(0)
    waits = [dishes.join([rows.Row(n, lane=n)]) for n in ("a", "b")]
    with pytest.raises(errors.Unavailable) as caught:
        dishes.join([rows.Row("c")])
    assert (caught.value.code, caught.value.after_s) == ("overloaded", 1.0)
    assert [one.code for one in await settled(*waits)] == ["overloaded"] * 2
    database.gate.set()
    assert await held == ["did held"]
    assert await dishes.join([rows.Row("d")]) == ["did d"]
    assert database.names == ["held", "d"]


async def test_nothing_to_write_costs_no_transaction() -> None:
    database = rows.Database()
    assert await made(database).join([]) == []
    assert database.tenants == []


async def test_closing_waits_for_what_is_on_its_way_and_tells_the_rest() -> None:
    database = rows.Database()
    database.gate.clear()
    dishes = made(database, in_flight=1)
    held = dishes.join([rows.Row("held")])
    await asyncio.sleep(0)
    waits = dishes.join([rows.Row("waits")])
    closing = asyncio.create_task(dishes.close())
    await asyncio.sleep(0)
    database.gate.set()
    await closing
    assert await held == ["did held"]
    with pytest.raises(errors.Unavailable):
        await waits
    assert database.names == ["held"]
