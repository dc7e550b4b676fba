"""Balance: fair shares with few moves, and members that settle on one owner of each range whatever they missed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.spine import balance

RANGES = 8


def no_load(_: int) -> int:
    return 0


def test_shares_are_even_and_move_little() -> None:
    assert balance.shares({"a": 8}, 8) == {"a": 8}
    assert balance.shares({"a": 8, "b": 0}, 8) == {"a": 4, "b": 4}
    assert balance.shares({"a": 4, "b": 0, "c": 4}, 8) == {"a": 3, "c": 3, "b": 2}
    assert balance.shares({"a": 2, "b": 2, "c": 2, "d": 2, "e": 0}, 8) == {"a": 2, "b": 2, "c": 2, "d": 1, "e": 1}
    assert sum(balance.shares({str(n): 0 for n in range(11)}, 8).values()) == 8


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 8), min_size=1, max_size=12))
def test_law_shares_add_up_and_differ_by_one_at_most(counts: dict[str, int]) -> None:
    found = balance.shares(counts, RANGES)
    assert sum(found.values()) == RANGES
    assert max(found.values()) - min(found.values()) <= 1


def test_whoever_is_alone_takes_everything() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    assert made.plan(0.0, no_load) == balance.Plan(take=tuple(range(8)))


def test_members_that_are_gone_take_up_no_room() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    for number in range(1000):
        made.hear(f"restarted {number}", (1,), leaves=False, now_s=0.0)
    made.plan(balance.FORGOTTEN_AFTER_S + 0.1, no_load)
    assert vars(made)["_others"] == {}


def test_what_holds_least_is_let_go_of_first() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    for number in range(8):
        made.took(number)
    made.hear("b", (), leaves=False, now_s=0.0)
    assert made.plan(0.0, lambda number: 0 if number in {1, 2, 3, 6} else 5).let_go == (1, 2, 3, 6)
    for number in (1, 2, 3, 6):
        made.lets_go(number)
    assert made.plan(0.1, no_load).let_go == ()


def test_what_was_let_go_of_is_not_asked_for_again_for_a_while() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    made.took(0)
    made.gone(0, 0.0)
    for now_s in (1.0, 3.0, balance.BARRED_S - 0.1):
        assert 0 not in made.plan(now_s, no_load).take
    assert 0 in made.plan(balance.BARRED_S, no_load).take


def test_a_member_that_says_nothing_is_forgotten_and_one_that_leaves_needs_no_share() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    made.hear("b", range(8), leaves=False, now_s=0.0)
    assert made.members(0.0) == 2
    assert made.plan(balance.FORGOTTEN_AFTER_S, no_load).take == ()
    assert made.plan(balance.FORGOTTEN_AFTER_S + 0.1, no_load).take == tuple(range(8))
    other = balance.Balance("a", RANGES, 0.0)
    other.hear("b", (7,), leaves=True, now_s=0.0)
    assert other.plan(0.0, no_load).take == tuple(range(7))
    other.hear("b", (), leaves=True, now_s=0.1)
    assert 7 in other.plan(0.1, no_load).take


def test_who_slept_says_nothing_of_what_was_its_own_and_yields() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    for number in range(4):
        made.took(number)
    later_s = 30.0
    made.hear("b", range(8), leaves=False, now_s=later_s)
    assert made.plan(later_s, no_load).let_go == (0, 1, 2, 3)
    assert made.claims == frozenset()
    made.gone(0, later_s)
    made.hear("b", range(1), leaves=False, now_s=later_s + 2.0)
    assert made.plan(later_s + 0.1, no_load).take == ()
    assert made.plan(later_s + 2.0, no_load).take == (4,)
    made.plan(later_s + balance.FORGOTTEN_AFTER_S + 0.1, no_load)
    assert made.claims == made.mine == frozenset({1, 2, 3})


def test_of_two_who_ask_for_one_range_the_one_with_more_yields() -> None:
    more, fewer = balance.Balance("a", RANGES, 0.0), balance.Balance("b", RANGES, 0.0)
    for number in range(8):
        more.took(number)
    fewer.took(6)
    more.hear("b", (6,), leaves=False, now_s=0.0)
    fewer.hear("a", range(8), leaves=False, now_s=0.0)
    assert more.plan(0.0, no_load).let_go == (6,)
    assert fewer.plan(0.0, no_load).let_go == ()


@pytest.mark.parametrize("number", range(8))
def test_of_two_who_ask_for_one_range_exactly_one_yields(number: int) -> None:
    pair = {name: balance.Balance(name, RANGES, 0.0) for name in "ab"}
    for name, made in pair.items():
        made.took(number)
        made.hear("b" if name == "a" else "a", (number,), leaves=False, now_s=0.0)
    yielded = [name for name, made in pair.items() if number in made.plan(0.0, no_load).let_go]
    assert len(yielded) == 1


def test_news_is_told_from_the_same_again() -> None:
    made = balance.Balance("a", RANGES, 0.0)
    assert made.hear("b", (1,), leaves=False, now_s=0.0)
    assert not made.hear("b", (1,), leaves=False, now_s=1.0)
    assert made.hear("b", (1, 2), leaves=False, now_s=2.0)
    assert made.hear("b", (1, 2), leaves=True, now_s=3.0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["join", "die", "leave", "sleep"]), st.integers(0, 5)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_law_members_settle_on_one_owner_of_each_range(events: list[tuple[str, int]], chance: object) -> None:
    members: dict[str, balance.Balance] = {}
    asleep: dict[str, float] = {}
    now_s, made = 0.0, 0

    def second(*, lossy: bool) -> None:
        nonlocal now_s
        now_s += 1.0
        for name in [name for name, until_s in asleep.items() if until_s <= now_s]:
            del asleep[name]
        for name, member in members.items():
            if name in asleep:
                continue
            plan = member.plan(now_s, no_load)
            for number in plan.take:
                member.took(number)
            for number in plan.let_go:
                member.lets_go(number)
                member.gone(number, now_s)
            for other_name, other in members.items():
                if other_name not in {name, *asleep} and not (lossy and chance.random() < 0.3):  # type: ignore[attr-defined]
                    other.hear(name, member.claims, leaves=False, now_s=now_s)

    for what, number in events:
        names = sorted(members)
        if what == "join" or not names:
            made += 1
            members[f"m{made}"] = balance.Balance(f"m{made}", RANGES, now_s)
        elif what == "sleep":
            asleep[names[number % len(names)]] = now_s + 30.0
        else:
            del members[names[number % len(names)]]
        second(lossy=True)
    if not members:
        return
    for _ in range(60):
        second(lossy=False)
    owners = sorted(number for member in members.values() for number in member.mine)
    assert owners == list(range(RANGES))
    counts = [len(member.mine) for member in members.values()]
    assert max(counts) - min(counts) <= 1
