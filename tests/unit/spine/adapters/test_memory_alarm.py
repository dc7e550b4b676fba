"""The alarm of the in-memory transport rings at the moments of its clock, in order."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from penstock.base import clock as clocks
from penstock.spine.adapters import memory_alarm, spine_memory


@given(st.lists(st.floats(0, 100), max_size=20))
async def test_law_it_rings_in_order_and_never_early(moments: list[float]) -> None:
    clock, rung = clocks.ManualClock(), list[tuple[float, float]]()
    alarm = memory_alarm.Alarm(clock)
    for moment in moments:
        alarm.at(moment, lambda moment=moment: rung.append((moment, clock.monotonic())))
    await clock.advance(100)
    assert [moment for moment, _ in rung] == sorted(moments)
    assert all(now >= moment for moment, now in rung)


async def test_an_alarm_may_be_set_from_an_alarm() -> None:
    clock, rung = clocks.ManualClock(), list[float]()
    alarm = memory_alarm.Alarm(clock)

    def again() -> None:
        rung.append(clock.monotonic())
        alarm.at(clock.monotonic() + 10, again)

    alarm.at(5, again)
    await clock.advance(30)
    alarm.stop()
    await clock.advance(30)
    assert rung == [5, 15, 25]


async def test_waiting_for_an_event_ends_with_it_or_with_time() -> None:
    clock, event = clocks.ManualClock(), asyncio.Event()
    waiting = asyncio.create_task(memory_alarm.wait_for(event, clock, 10))
    await clock.advance(11)
    assert await waiting is False
    waiting = asyncio.create_task(memory_alarm.wait_for(event, clock, 10))
    await clock.advance(1)
    event.set()
    assert await waiting is True


def test_patterns_overlap_when_a_subject_matches_both() -> None:
    for first, second in [("a.>", "a.b"), ("a.*", "*.b"), (">", "a"), ("a.*.c", "a.b.>"), ("a", "a")]:
        assert spine_memory.overlap(first, second)
        assert spine_memory.overlap(second, first)
    for first, second in [("a.b", "a.c"), ("a", "a.b"), ("a.*", "b.*"), ("a.*", "a.b.c")]:
        assert not spine_memory.overlap(first, second)
        assert not spine_memory.overlap(second, first)
