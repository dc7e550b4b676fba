"""The laws of waiting, over every mixture of joining, leaving, groups that land and callers that give up."""

import asyncio
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from penstock.base import errors
from penstock.database import waiting
from tests.unit.database import rows

LIMITS = waiting.GroupLimits(rows=4, size_bytes=60, waiting_rows=20, waiting_bytes=400, wait_s=5.0, row_bytes=100)


@pytest.fixture
def loop() -> Generator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def entry(loop: asyncio.AbstractEventLoop, *of: rows.Row, at: float = 0.0) -> Any:
    return waiting.Entry(of, sum(row.size_bytes for row in of), at, loop.create_future())


def test_what_fits_leaves_together_in_order(loop: asyncio.AbstractEventLoop) -> None:
    queue = waiting.Waiting[Any, Any](LIMITS)
    made = [entry(loop, rows.Row(str(number), lane=str(number))) for number in range(6)]
    for one in made:
        queue.add(one)
    assert queue.take() == made[:4]
    assert queue.take() == made[4:]
    assert queue.take() == []


def test_one_caller_with_more_than_a_group_takes_leaves_alone(loop: asyncio.AbstractEventLoop) -> None:
    queue = waiting.Waiting[Any, Any](LIMITS)
    many = entry(loop, *(rows.Row(str(number), lane=f"many {number}") for number in range(9)))
    large = entry(loop, rows.Row("large", lane="large", size_bytes=90))
    small = entry(loop, rows.Row("small", lane="small"))
    for one in (many, large, small):
        queue.add(one)
    assert [queue.take() for _ in range(3)] == [[many], [large], [small]]


def test_nobody_overtakes_in_a_lane_and_nobody_else_waits_for_it(loop: asyncio.AbstractEventLoop) -> None:
    queue = waiting.Waiting[Any, Any](LIMITS)
    first = entry(loop, rows.Row("1", lane="a"))
    queue.add(first)
    assert queue.take() == [first]
    both, other, later = (
        entry(loop, rows.Row("2", lane="a"), rows.Row("3", lane="b")),
        entry(loop, rows.Row("4", lane="c")),
        entry(loop, rows.Row("5", lane="b")),
    )
    for one in (both, other, later):
        queue.add(one)
    assert queue.take() == [other]
    assert queue.take() == []
    queue.landed([first])
    assert queue.take() == [both, later]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (rows.Row("x", tenant="not a tenant"), "bad_slug"),
        (rows.Row("x", tenant=""), "bad_slug"),
        (rows.Row("x", size_bytes=101), "row_too_large"),
    ],
)
def test_what_cannot_be_sent_does_not_join(row: rows.Row, code: str) -> None:
    with pytest.raises(errors.Rejected) as caught:
        waiting.Waiting[Any, Any](LIMITS).measure([rows.Row("fine"), row])
    assert caught.value.code == code


@pytest.mark.parametrize("size_bytes", [1, 99])
def test_there_is_room_for_so_many_rows_and_bytes_and_again_when_they_have_left(
    loop: asyncio.AbstractEventLoop, size_bytes: int
) -> None:
    queue, most = waiting.Waiting[Any, Any](LIMITS), 20 if size_bytes == 1 else 4
    for number in range(most):
        row = rows.Row(str(number), size_bytes=size_bytes)
        assert queue.measure([row]) == size_bytes
        queue.add(entry(loop, row))
    with pytest.raises(errors.Unavailable) as caught:
        queue.measure([rows.Row("too many", size_bytes=size_bytes)])
    assert caught.value.code == "overloaded"
    queue.take()
    assert queue.measure([rows.Row("again", size_bytes=size_bytes)]) == size_bytes


def test_who_has_waited_too_long_is_named_once(loop: asyncio.AbstractEventLoop) -> None:
    queue = waiting.Waiting[Any, Any](LIMITS)
    early, gone, late = (entry(loop, rows.Row(str(at), lane=str(at)), at=at) for at in (1.0, 1.5, 4.0))
    for one in (early, gone, late):
        queue.add(one)
    gone.done.cancel()
    assert queue.impatient(5.9) == []
    assert queue.impatient(6.0) == [early]
    assert queue.impatient(6.0) == []
    assert queue.take() == [late]


@hypothesis.given(st.lists(st.tuples(st.sampled_from("jjjtlcg"), st.integers(0, 7)), max_size=80))
def test_the_laws_hold_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """j: join with rows of up to three lanes; t: take; l: a group lands; c: a caller leaves; g: somebody gives up."""
    loop = asyncio.new_event_loop()
    try:
        queue, under_way, left, joined = waiting.Waiting[Any, Any](LIMITS), [], [], []
        for now, (what, number) in enumerate(steps):
            if what == "j":
                of = [
                    rows.Row(f"{now}-{lane}", lane=lane)
                    for lane in {0: "a", 1: "b", 2: "ab"}.get(number, "abc"[number % 3])
                ]
                one = entry(loop, *of, at=float(now))
                queue.add(one)
                joined.append(one)
            elif what == "t":
                taken = queue.take()
                lanes = [row.lane for group in under_way for one in group for row in one.rows]
                assert not set(lanes) & {row.lane for one in taken for row in one.rows}, "a lane in two groups"
                assert len(taken) == 1 or sum(len(one.rows) for one in taken) <= LIMITS.rows
                if taken:
                    under_way.append(taken)
                    left.extend(taken)
            elif what == "l" and under_way:
                queue.landed(under_way.pop(number % len(under_way)))
            elif what == "c" and joined:
                joined[number % len(joined)].done.cancel()
            elif what == "g":
                for one in queue.impatient(float(now)):
                    assert one.joined_s + LIMITS.wait_s <= now
                    one.done.cancel()
        for group in under_way:
            queue.landed(group)
        while taken := queue.take():
            left.extend(taken)
            queue.landed(taken)
        assert len(queue) == 0
        assert queue.measure([]) == 0
        assert {id(one) for one in joined if not one.left} <= {id(one) for one in left}, "somebody was forgotten"
        for lane in "abc":
            order = [one.joined_s for one in left for row in one.rows if row.lane == lane]
            assert order == sorted(set(order)), "overtaken, or taken twice"
    finally:
        loop.close()
