"""The longest delay of the last half minute is told, and a stall is counted."""

import re

from penstock.base import telemetry, vitals


def sample(name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", telemetry.exposition().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_the_longest_delay_is_told_until_it_is_old():
    looking = vitals.LoopDelay()
    now_s = looking._loop.time()
    looking.start()
    try:
        for late_s, ago_s in ((3.0, 40.0), (0.2, 20.0), (0.5, 10.0), (0.1, 5.0)):
            looking.note(late_s, now_s - ago_s)
        assert sample("penstock_loop_delay_seconds") == 0.5
    finally:
        looking.stop()
    assert sample("penstock_loop_delay_seconds") == 0.0


async def test_what_cannot_be_the_longest_any_more_is_not_kept():
    looking = vitals.LoopDelay()
    for number in range(1000):
        looking.note(number / 1e6, float(number))
    assert len(looking._longest) == 1


async def test_a_stall_is_counted():
    before, looking = sample("penstock_loop_stalls_total"), vitals.LoopDelay()
    looking.note(0.05, 1.0)
    looking.note(0.5, 2.0)
    assert sample("penstock_loop_stalls_total") - before == 1.0


async def test_the_build_is_told():
    looking = vitals.watch()
    looking.stop()
    assert 'penstock_build_info{python="' in telemetry.exposition().decode()
