"""A seed decides the whole schedule, which touches everything, ends in time, and hurts nobody twice at once."""

import hypothesis
from hypothesis import strategies

from tests.soak import faults


def test_one_seed_gives_one_schedule_and_another_another():
    assert faults.schedule("7", 300) == faults.schedule("7", 300)
    assert faults.schedule("7", 300) != faults.schedule("8", 300)


@hypothesis.given(strategies.integers(), strategies.floats(0, 2000))
def test_nothing_lasts_past_the_end_and_no_target_is_hurt_twice_at_once(seed, duration_s):
    over_s = dict[str, float]()
    for fault in faults.schedule(seed, duration_s):
        assert 0 < fault.at_s < duration_s - faults.CALM_S
        assert fault.at_s >= over_s.get(fault.target, 0)
        over_s[fault.target] = fault.at_s + fault.length_s


def test_an_hour_does_everything():
    kinds = (*faults.KINDS, *faults.LOSSES)
    happened = {(fault.kind, fault.target) for fault in faults.schedule("all", 3600, kinds)}
    assert happened == {(kind.name, target) for kind in kinds for target in kind.targets}


def test_each_fault_knows_who_does_it():
    for kind in (*faults.KINDS, *faults.LOSSES):
        for target in kind.targets:
            assert faults.doing(faults.Fault(0, kind.name, target)) is kind.does
