"""Stops intake while the disk is nearly full, before a server that cannot write breaks.

JetStream switches itself off and Postgres panics when a write fails; a webhook that is told 503 comes again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.base import clock, errors, telemetry

disk_free = telemetry.gauge(
    "penstock_disk_free_bytes",
    meaning="Free space on the disk of the data folder; below the watermark nothing more is taken in.",
    remedy="Free some space, or move the data folder to a larger disk.",
)

LOWEST_START_BYTES: Final = 64 << 20
"""Free bytes that both servers need to start at all: a cluster, a segment of its log, JetStream's directories."""


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write on the file system of `path`; 0 when it can make no more files."""
    found = os.statvfs(path)
    if found.f_files and not found.f_favail:
        return 0
    return found.f_bavail * found.f_frsize


class Watermark:
    """Says whether intake is open; it closes below one mark and opens above another, so that it does not flutter.

    The disk is looked at at most every `every_s` seconds, so this may be asked for each request.
    """

    def __init__(
        self,
        path: Path,
        stop_below_bytes: int,
        resume_above_bytes: int,
        *,
        time: clock.Clock | None = None,
        free: Callable[[Path], int] = free_bytes,
        every_s: float = 1.0,
    ) -> None:
        self._path, self._stop_below, self._resume_above = path, stop_below_bytes, resume_above_bytes
        self._time, self._free, self._every_s = time or clock.SystemClock(), free, every_s
        self._looked_at = float("-inf")
        self._open = True
        self.free_bytes = 0

    @property
    def intake_open(self) -> bool:
        """False from when free space falls below the lower mark until it has risen to the upper one."""
        now = self._time.monotonic()
        if now - self._looked_at >= self._every_s:
            self._looked_at = now
            self.free_bytes = self._free(self._path)
            disk_free.set(self.free_bytes)
            self._open = self.free_bytes >= (self._stop_below if self._open else self._resume_above)
        return self._open

    def require_open(self) -> None:
        """Raise Unavailable `disk_nearly_full` while intake is stopped."""
        if not self.intake_open:
            raise errors.Unavailable(
                "disk_nearly_full",
                f"only {self.free_bytes >> 20} MiB of disk are free, so nothing more is taken in",
                hint="Free some space.",
                after_s=30.0,
            )


def require_space(path: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
    """Refuse to start servers on a disk where they would break at once. Raises Unavailable `disk_full`."""
    if (found := free(path)) < LOWEST_START_BYTES:
        raise errors.Unavailable(
            "disk_full",
            f"only {found >> 20} MiB are free on the disk of {path}; to start takes {LOWEST_START_BYTES >> 20}",
            hint="Free some space, or choose another data folder with PENSTOCK_DATA or --data.",
            after_s=30.0,
        )
