"""Tasks that somebody owns: they outlive errors, wait longer each time, and stop when told."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, tasks


@pytest.fixture
async def owned() -> AsyncIterator[tasks.Tasks]:
    made = tasks.Tasks()
    yield made
    await made.stop()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pauses after errors are asked for but not waited; which attempts they were."""
    attempts: list[int] = []

    def none(attempt: int) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(tasks, "backoff_s", none)
    return attempts


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@given(st.integers(1, 10_000), st.floats(0.001, 1), st.floats(1, 60))
def test_law_a_backoff_doubles_up_to_its_cap_with_jitter_in_the_upper_half(
    attempt: int, first_s: float, most_s: float
) -> None:
    whole = min(most_s, first_s * 2 ** min(attempt - 1, 32))
    assert whole / 2 <= tasks.backoff_s(attempt, first_s=first_s, most_s=most_s) <= whole


async def test_work_that_is_done_once_is_done_once(owned: tasks.Tasks) -> None:
    calls: list[int] = []

    async def work() -> None:
        calls.append(1)

    await owned.once("work", work())
    assert calls == [1]


async def test_an_error_of_work_done_once_is_counted_and_goes_no_further(owned: tasks.Tasks) -> None:
    async def work() -> None:
        raise ValueError

    before = tasks.crashes.labels("fails once")._value.get()
    await owned.once("fails once", work())
    assert tasks.crashes.labels("fails once")._value.get() == before + 1


async def test_work_done_for_ever_begins_again_after_its_end(owned: tasks.Tasks) -> None:
    calls: list[int] = []

    async def work() -> None:
        calls.append(1)

    owned.forever("work", work)
    await until(lambda: len(calls) >= 5)


async def test_work_done_for_ever_outlives_errors_and_waits_longer_each_time(
    owned: tasks.Tasks, no_pauses: list[int]
) -> None:
    ends: list[Exception | None] = [ValueError(), ValueError(), ValueError(), None, ValueError()]
    done = asyncio.Event()

    async def work() -> None:
        if not ends:
            done.set()
            await asyncio.Event().wait()
        if error := ends.pop(0):
            raise error

    before = tasks.crashes.labels("fails often")._value.get()
    owned.forever("fails often", work)
    async with asyncio.timeout(5):
        await done.wait()
    assert tasks.crashes.labels("fails often")._value.get() == before + 4
    assert no_pauses == [1, 2, 3, 1]


async def test_unavailable_is_waited_for_and_is_no_crash(owned: tasks.Tasks, no_pauses: list[int]) -> None:
    calls: list[int] = []

    async def work() -> None:
        calls.append(1)
        raise errors.Unavailable("away", "come back", after_s=0.0)

    before = tasks.crashes.labels("waits")._value.get()
    owned.forever("waits", work)
    await until(lambda: len(calls) >= 3)
    assert tasks.crashes.labels("waits")._value.get() == before
    assert no_pauses[:2] == [1, 2]


async def test_stopping_ends_everything_and_waits_for_it(owned: tasks.Tasks) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("tidy")

    running = [owned.once("one", work()), owned.forever("two", work)]
    await asyncio.sleep(0)
    await owned.stop()
    assert ended == ["tidy", "tidy"]
    assert all(task.done() for task in running)
    assert {task.get_name() for task in running} == {"one", "two"}
    await owned.stop()


async def test_work_that_is_stopped_before_its_first_step_is_closed_and_not_forgotten(owned: tasks.Tasks) -> None:
    async def never_begun() -> None:
        raise AssertionError

    work = never_begun()
    owned.once("never begun", work)
    await owned.stop()
    assert work.cr_frame is None


def test_a_terminal_that_closes_ends_a_process_unless_it_was_told_to_ignore_that():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert tasks.ending_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert tasks.ending_signals() == [signal.SIGTERM, signal.SIGINT], "nohup"
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_cancellation_of_something_the_work_waited_for_does_not_end_it(
    owned: tasks.Tasks, no_pauses: list[int]
) -> None:
    runs = 0
    done = asyncio.Event()

    async def waits_for_something_cancelled() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            done.set()
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    owned.forever("stray", waits_for_something_cancelled)
    async with asyncio.timeout(5):
        await done.wait()
    assert no_pauses[:2] == [1, 2]
