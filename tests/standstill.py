"""Processes that stand still: a signal says that they shall, and only the system's table says that they do.

SIGSTOP reaches one thread, which wakes up to tell the others. Until they have heard it, on a busy machine some
milliseconds later, they go on: a nats-server answers what it is asked after the signal was sent.
"""

import os
import signal
import time
from pathlib import Path

WITHIN_S = 30.0
"""A thread that waits for a slow disk stops when the disk has answered."""

_STOPPED = frozenset("TtZX")


def bring_about(*pids: int) -> None:
    """SIGSTOP for these processes; returns when no thread of them moves any more. SIGCONT is up to the caller.

    Raises AssertionError when that takes too long, ProcessLookupError for a process that is not there. Where there is
    no /proc, nothing can be waited for.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + WITHIN_S
    while moving := [pid for pid in pids if not holds(pid)]:
        assert time.monotonic() < deadline, f"still moving {WITHIN_S:g} s after SIGSTOP: {moving}"
        time.sleep(0.001)


def holds(pid: int) -> bool:
    """Whether no thread of a process moves; one that is gone does not."""
    return all(_state(thread) in _STOPPED for thread in Path(f"/proc/{pid}/task").glob("*"))


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"  # it ended while we looked
