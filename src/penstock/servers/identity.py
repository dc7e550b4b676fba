"""Proves that a process id still means the process that we started, so that no stranger is ever signalled.

Process ids are used again; a pid together with the moment its process started is not. Both are kept in the identity
file `<data>/run/<name>.json`, with a fingerprint of what was started.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.servers import files


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """A server process as it was started.

    `started` marks the start of the process (see `start_mark`), `fingerprint` what was run with which configuration
    (see `fingerprint`), `ports` its TCP ports by purpose, `build` the version of Penstock, and `credentials` the file
    with user and password (never the secrets themselves).
    """

    name: str
    pid: int
    started: str
    fingerprint: str
    data_folder: str
    ports: Mapping[str, int]
    build: str
    credentials: str

    def is_running(self) -> bool:
        """True when the pid still belongs to the very process that this identity was written for."""
        return bool(self.started) and start_mark(self.pid) == self.started


def fingerprint(argv: Sequence[str], configuration: str = "") -> str:
    """SHA-256 (hex) over the arguments and the configuration that a server is run with."""
    digest = hashlib.sha256(configuration.encode())
    for word in argv:
        digest.update(b"\0" + os.fsencode(word))
    return digest.hexdigest()


def start_mark(pid: int) -> str:
    """When the process with this pid started, as a text to compare; empty when there is none or it is a zombie.

    Linux: the boot's id and field 22 of `/proc/<pid>/stat` (clock ticks since boot, proc_pid_stat(5)). Elsewhere: what
    `ps` says, to the second.
    """
    if pid <= 0:
        return ""
    return _start_mark_proc(pid) if sys.platform.startswith("linux") else _start_mark_ps(pid)


def _start_mark_proc(pid: int) -> str:
    try:
        # The second field is the command in parentheses and may hold anything; the rest begins after the last one.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if fields[0] in (b"Z", b"X"):
        return ""
    return f"{boot}:{int(fields[19])}"


def _start_mark_ps(pid: int) -> str:
    said = subprocess.run(
        ["/bin/ps", "-p", str(pid), "-o", "stat=,lstart="],
        env={"LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = said.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else started.strip()


def write(path: Path, identity: Identity) -> None:
    """Replace the identity file in one step (mode 0600)."""
    files.write_private(path, json.dumps(dataclasses.asdict(identity), indent=2) + "\n")


def read(path: Path) -> Identity | None:
    """The identity in this file; None when there is none, or it is not what we write (then it proves nothing)."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        ports = {str(use): int(port) for use, port in values.pop("ports").items()}
        texts = {field.name: str(values[field.name]) for field in dataclasses.fields(Identity) if field.type is str}
        return Identity(pid=int(values["pid"]), ports=ports, **texts)
    return None
