"""`penstock up` as a process, and verbs called against it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from tests.unit.cli import calling

PENSTOCK = (sys.executable, "-m", "penstock")
ENDS_S = 60


class Installation:
    """A running installation and the environment of its user's shell."""

    def __init__(self, environ: Mapping[str, str], http_url: str) -> None:
        self.environ, self.http_url = environ, http_url

    @property
    def data(self) -> Path:
        """Its data folder."""
        return Path(self.environ["PENSTOCK_DATA"])

    def call(self, *arguments: str, **more: str) -> calling.Outcome:
        """A verb in this process, with the user's environment and `more` of it."""
        ours = {name: value for name, value in self.environ.items() if name.startswith(("PENSTOCK_", "XDG_"))}
        return calling.call(*arguments, environ={**ours, **more})


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A user's environment with nothing of ours in it but folders of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    places = {"PENSTOCK_DATA": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {**kept, **places, "PENSTOCK_TELEMETRY__LOG_LEVEL": "error", **more}


def run(environ: Mapping[str, str], *arguments: str) -> calling.Outcome:
    """A verb as a process of its own, to its end."""
    ended = subprocess.run(
        [*PENSTOCK, *arguments], env=environ, capture_output=True, text=True, timeout=ENDS_S, check=False
    )
    return calling.Outcome(ended.returncode, ended.stdout, ended.stderr)


@contextlib.contextmanager
def up(environ: Mapping[str, str]) -> Generator[Installation]:
    """A running installation; stopped in the end."""
    with started(environ) as ready:
        yield Installation(environ, ready["http_url"])


@contextlib.contextmanager
def started(environ: Mapping[str, str], *arguments: str) -> Generator[dict[str, Any]]:
    """`penstock up --json` with these arguments, once it is ready: what it says of itself. Stopped in the end."""
    process = subprocess.Popen(
        [*PENSTOCK, "up", "--json", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"penstock up ended with {process.wait(ENDS_S)}"
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ENDS_S)
        finally:
            process.kill()
            process.stdout.close()


def core_environment(pid: int) -> dict[str, str]:
    """The environment of the core process that an `up` started (Linux)."""
    raw = Path(f"/proc/{core_pid(pid)}/environ").read_bytes()
    return dict(part.split("=", 1) for part in raw.decode(errors="surrogateescape").split("\0") if "=" in part)


def core_pid(pid: int) -> int:
    """The process id of the core that an `up` started."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", "penstock run"], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])
