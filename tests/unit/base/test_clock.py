"""Clocks: a manual one moves only when told, and wakes sleepers in the order of their deadlines."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from penstock.base import clock as clocks

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = clocks.ManualClock(START)
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    await clock.advance(90.5)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90.5), 90.5)


async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before() -> None:
    clock = clocks.ManualClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.advance(9.999)
    assert not sleeper.done()
    await clock.advance(0.001)
    assert sleeper.done()


async def test_a_sleep_of_nothing_returns_at_once() -> None:
    clock = clocks.ManualClock()
    async with asyncio.timeout(10):
        await clock.sleep(0)
        await clock.sleep(-1)
    assert clock.monotonic() == 0.0


async def test_a_sleeper_sees_the_time_of_its_own_deadline_and_may_sleep_again() -> None:
    clock, seen = clocks.ManualClock(), list[float]()

    async def tick() -> None:
        while True:
            await clock.sleep(10)
            seen.append(clock.monotonic())

    ticking = asyncio.create_task(tick())
    await clock.advance(0)
    await clock.advance(35)
    assert seen == [10, 20, 30]
    assert clock.monotonic() == 35
    ticking.cancel()


async def test_a_sleeper_that_is_cancelled_harms_nobody() -> None:
    clock = clocks.ManualClock()
    gone, stays = asyncio.create_task(clock.sleep(5)), asyncio.create_task(clock.sleep(5))
    await clock.advance(1)
    gone.cancel()
    await clock.advance(10)
    assert gone.cancelled()
    assert stays.done()


@given(st.lists(st.floats(0.001, 1000), max_size=20))
async def test_law_sleepers_wake_in_the_order_of_their_deadlines(delays: list[float]) -> None:
    clock, woken = clocks.ManualClock(), list[float]()

    async def sleep(delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append(delay_s)

    sleeping = [asyncio.create_task(sleep(delay)) for delay in delays]
    await clock.advance(0)
    await clock.advance(1000)
    assert woken == sorted(delays)
    await asyncio.gather(*sleeping)


async def test_the_system_clock_is_aware_and_goes_forward() -> None:
    clock = clocks.SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
