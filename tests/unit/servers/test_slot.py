"""A slot is kept for as long as any process that inherited it lives."""

import asyncio
import subprocess
import sys

from penstock.servers.slot import Slot


def test_a_child_keeps_it_and_its_end_frees_it(tmp_path):
    (tmp_path / "run").mkdir()
    slot = Slot(tmp_path / "run" / "x.slot")
    assert slot.is_free()
    assert slot.holders() == []
    with slot.taken() as handle:
        assert not Slot(tmp_path / "run" / "x.slot").is_free()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(handle,))
    with child:
        assert not slot.is_free(), "though the one that took it has let go"
        assert slot.holders() == [child.pid]
        assert not asyncio.run(slot.wait_free(0.05))
        child.stdin.close()
        assert asyncio.run(slot.wait_free(10))
    assert slot.holders() == []


def test_who_comes_second_gets_nothing(tmp_path):
    slot = Slot(tmp_path / "x.slot")
    with slot.taken() as first, slot.taken() as second:
        assert first is not None
        assert second is None
