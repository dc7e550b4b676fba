"""Installations in processes of their own; whatever a test leaves running is stopped after it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("installation.py")


class Installation:
    """One supervisor process and what it said when it was up (or refused)."""

    def __init__(self, wanted: dict) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: dict = {}

    def listen(self) -> "Installation":
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.said = json.loads(line)
        return self

    def kill(self) -> None:
        """As if the machine's operator had lost patience: the supervisor only, the servers go on."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Stop it gently; what it logged."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=30)
        return self.process.stderr.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        for pid in self.said.get("pids", {}).values():
            kill_and_wait(pid)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def kill_and_wait(pid: int) -> None:
    """Kill a server that this test started, if it is still the one: its arguments name a folder of our tests."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if b"penstock-test-" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_until(holds, *, timeout_s: float = 20.0) -> None:
    """Poll until `holds()`; fail after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def install():
    """Start an installation in a process of its own: `install(data_folder, nats_port=..., user=...)`."""
    started: list[Installation] = []

    def start(data_folder: Path, *, refused: bool = False, **settings: object) -> Installation:
        started.append(Installation({"data_folder": str(data_folder), **settings}))
        said = started[-1].listen().said
        assert ("refused" in said) == refused, said
        return started[-1]

    yield start
    for installation in reversed(started):
        installation.close()
