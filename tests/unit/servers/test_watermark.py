"""Intake closes below one mark, opens above another, and does not flutter in between."""

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from penstock.base import clock, errors
from penstock.servers.watermark import Watermark, free_bytes, require_space

STOP, RESUME = 100, 150


class Disk:
    """A disk whose free space a test decides."""

    def __init__(self, free: int) -> None:
        self.free, self.looks = free, 0

    def __call__(self, path: Path) -> int:
        self.looks += 1
        return self.free


def watch(disk: Disk, time: clock.Clock) -> Watermark:
    return Watermark(Path("/data"), STOP, RESUME, time=time, free=disk)


async def test_it_closes_below_the_lower_mark_and_opens_above_the_upper_one():
    time, disk = clock.ManualClock(), Disk(STOP)
    mark = watch(disk, time)
    assert mark.intake_open
    for free, is_open in ((STOP - 1, False), (STOP, False), (RESUME - 1, False), (RESUME, True), (STOP, True)):
        disk.free = free
        await time.advance(1)
        assert mark.intake_open is is_open, free


async def test_the_disk_is_looked_at_once_a_second_however_often_it_is_asked():
    time, disk = clock.ManualClock(), Disk(STOP)
    mark = watch(disk, time)
    assert [mark.intake_open for _ in range(100)] == [True] * 100
    disk.free = 0
    await time.advance(0.9)
    assert mark.intake_open
    assert disk.looks == 1
    await time.advance(0.1)
    assert not mark.intake_open
    assert disk.looks == 2


def test_closed_intake_asks_for_another_try():
    mark = watch(Disk(0), clock.ManualClock())
    with pytest.raises(errors.Unavailable) as refused:
        mark.require_open()
    assert (refused.value.code, refused.value.after_s) == ("disk_nearly_full", 30.0)


@hypothesis.given(strategies.lists(strategies.integers(0, 300), min_size=1))
def test_what_it_says_follows_from_the_last_reading_outside_the_marks(readings):
    disk, expected = Disk(0), True
    mark = Watermark(Path("/data"), STOP, RESUME, time=clock.ManualClock(), free=disk, every_s=0)
    for disk.free in readings:
        expected = expected if STOP <= disk.free < RESUME else disk.free >= RESUME
        assert mark.intake_open is expected


def test_a_start_needs_some_space(tmp_path):
    require_space(tmp_path, free=Disk(64 << 20))
    with pytest.raises(errors.Unavailable, match="only 63 MiB are free"):
        require_space(tmp_path, free=Disk((64 << 20) - 1))


def test_a_real_disk_has_space(tmp_path):
    assert free_bytes(tmp_path) > 0
