"""Which processes belong to a test's folder, by the system's own table: none shall stay, and some shall be killed.

A process belongs to a folder when its arguments, its environment or its working directory name it.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """One row of the table."""

    pid: int
    parent: int
    words: str


def using(folder: Path) -> list[Process]:
    """Every living process that belongs to the folder, this one excepted."""
    found: list[Process] = []
    for entry in Path("/proc").glob("[0-9]*"):
        # A process that ends while we look belongs to nobody.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if int(entry.name) != os.getpid() and (process := _belongs(entry, os.fsencode(folder))):
                found.append(process)
    return found


def _belongs(entry: Path, folder: bytes) -> Process | None:
    state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
    words = (entry / "cmdline").read_bytes()
    named = folder in words or folder in (entry / "environ").read_bytes() or folder in os.fsencode(_cwd(entry))
    if state in (b"Z", b"X") or not named:
        return None
    return Process(int(entry.name), int(parent), words.replace(b"\0", b" ").decode("utf-8", "replace").strip())


def _cwd(entry: Path) -> Path:
    with contextlib.suppress(OSError):
        return (entry / "cwd").readlink()
    return Path()


async def until(holds: Callable[[], object], what: str, *, timeout_s: float = 30.0) -> float:
    """Poll until something holds; the seconds that took. Fails saying what did not happen."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() < begun + timeout_s, f"did not happen within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def gone(folder: Path, *, timeout_s: float = 30.0) -> float:
    """Wait until no process belongs to the folder; the seconds that took. Fails naming those that stay."""
    try:
        return await until(lambda: not using(folder), "every process ends", timeout_s=timeout_s)
    except AssertionError:
        raise AssertionError(f"left running: {[process.words for process in using(folder)]}") from None


def kill(folder: Path) -> None:
    """Kill whatever belongs to the folder, until nothing does."""
    deadline = time.monotonic() + 20
    while (left := using(folder)) and time.monotonic() < deadline:
        for process in left:
            _kill(process.pid, folder)
        time.sleep(0.02)


def _kill(pid: int, folder: Path) -> None:
    """SIGKILL through a handle on the process, looked at again once it is held: the pid may have changed hands."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        handle = os.pidfd_open(pid)
        try:
            if any(process.pid == pid for process in using(folder)):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
