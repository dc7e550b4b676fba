"""Lanes keep order per key, run keys in parallel, and let no key starve another."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.spine import lane


def test_the_items_of_one_key_come_out_one_at_a_time_and_in_order() -> None:
    lanes: lane.Lanes[int] = lane.Lanes()
    for item in (1, 2, 3):
        lanes.add("k", item)
    assert lanes.take() == ("k", 1)
    assert lanes.take() is None
    lanes.done("k")
    assert lanes.take() == ("k", 2)
    lanes.release("k")
    assert lanes.take() == ("k", 2)


def test_a_busy_key_goes_to_the_end_of_the_line() -> None:
    lanes: lane.Lanes[str] = lane.Lanes()
    for item in ("a1", "a2", "a3"):
        lanes.add("a", item)
    lanes.add("b", "b1")
    order: list[str] = []
    while taken := lanes.take():
        order.append(taken[1])
        lanes.done(taken[0])
    assert order == ["a1", "b1", "a2", "a3"]


def test_clear_gives_back_everything_in_order() -> None:
    lanes: lane.Lanes[int] = lane.Lanes()
    for key, item in (("a", 1), ("b", 2), ("a", 3)):
        lanes.add(key, item)
    lanes.take()
    assert sorted(lanes.clear()) == [1, 2, 3]
    assert len(lanes) == 0
    assert lanes.take() is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["add", "done", "release"])), max_size=200))
def test_law_every_key_is_handed_out_in_the_order_it_was_added(steps: list[tuple[str, str]]) -> None:
    lanes: lane.Lanes[int] = lane.Lanes()
    added: dict[str, list[int]] = {}
    finished: dict[str, list[int]] = {}
    out: dict[str, int] = {}
    for number, (key, what) in enumerate(steps):
        if what == "add":
            lanes.add(key, number)
            added.setdefault(key, []).append(number)
        elif key in out:
            item = out.pop(key)
            if what == "done":
                finished.setdefault(key, []).append(item)
                lanes.done(key)
            else:
                lanes.release(key)
        if (taken := lanes.take()) is not None:
            assert taken[0] not in out
            out[taken[0]] = taken[1]
    for key, items in finished.items():
        assert items == added[key][: len(items)]
