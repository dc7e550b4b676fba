"""Many deadlines on one timer: each is kept, none outlives what it was for."""

import asyncio

import pytest

from penstock.spine import deadline


async def within(deadlines: deadline.Deadlines, work: asyncio.Event) -> str:
    limit = deadlines.begin()
    try:
        async with limit:
            await work.wait()
    except TimeoutError:
        return "late"
    finally:
        deadlines.end(limit)
    return "done"


async def test_what_takes_too_long_ends_and_what_does_not_goes_on() -> None:
    deadlines, never, soon = deadline.Deadlines(0.05), asyncio.Event(), asyncio.Event()
    late = [asyncio.create_task(within(deadlines, never)) for _ in range(3)]
    done = asyncio.create_task(within(deadlines, soon))
    await asyncio.sleep(0)
    soon.set()
    assert await asyncio.gather(*late, done) == ["late", "late", "late", "done"]


async def test_a_later_one_has_its_whole_time() -> None:
    deadlines, never, loop = deadline.Deadlines(0.05), asyncio.Event(), asyncio.get_running_loop()
    first = asyncio.create_task(within(deadlines, never))
    assert await first == "late"
    begun = loop.time()
    assert await within(deadlines, never) == "late"
    assert loop.time() - begun >= 0.05


async def test_after_a_quiet_time_the_timer_is_set_again() -> None:
    deadlines, never, soon = deadline.Deadlines(0.02), asyncio.Event(), asyncio.Event()
    soon.set()
    assert await within(deadlines, soon) == "done"
    assert await within(deadlines, never) == "late"
    assert await within(deadlines, never) == "late"


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = deadline.Deadlines(30)
    waiting = asyncio.create_task(within(deadlines, asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    deadlines.close()
    deadlines.close()
