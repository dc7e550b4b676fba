"""A lock that lives exactly as long as a server and its children do, whoever started them.

The server inherits the locked descriptor, and the supervisor closes its own. So the slot is free when, and only when,
every process of the server is gone: also the Postgres backends that outlive a killed postmaster for a moment, and a
server whose supervisor was killed before it wrote an identity file.
"""

import asyncio
import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from penstock.servers import files


class Slot:
    """The place of one server in a data folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def taken(self) -> Generator[int | None]:
        """The locked descriptor, to be inherited by a server; None while the server before still lives."""
        handle = self._open()
        try:
            yield handle if files.try_lock(handle, self._path.parent.parent) else None
        finally:
            os.close(handle)

    def is_free(self) -> bool:
        """True when no process of the server lives."""
        with self.taken() as handle:
            return handle is not None

    async def wait_free(self, timeout_s: float) -> bool:
        """Wait until every process of the server is gone; False when that takes longer than `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_free():  # noqa: ASYNC110 - a lock that is let go tells nobody
                    await asyncio.sleep(0.02)
                return True
        return False

    def holders(self) -> list[int]:
        """Pids that keep the slot: processes of our server, provably (Linux; elsewhere nobody can be named)."""
        ours = self._path.stat()
        return sorted(
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if int(process.name) != os.getpid() and _has_open(process / "fd", ours)
        )

    def _open(self) -> int:
        with files.explained(self._path.parent.parent):
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _has_open(descriptors: Path, file: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    return True
    return False
