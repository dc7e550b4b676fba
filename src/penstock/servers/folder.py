"""The data folder: its layout, who may use it, and which build wrote it.

- `<data>/format`: the layout's number and the build that wrote it
- `<data>/lock`: held by the one `penstock up` that uses the folder
- `<data>/run/`: identity file and slot of each server, and the Postgres socket where its path is short
- `<data>/log/`: one log file a server, and the one before
- `<data>/secrets/`: generated credentials, 0600
- `<data>/nats/`: configuration and JetStream store
- `<data>/postgres/`: the database cluster
- `<data>/programs/`: the servers' programs, only for root (see `binaries`)
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, cast

from penstock.base import errors
from penstock.servers import files

FORMAT: Final = 1
"""The layout that this build writes and the newest that it reads."""

_HARMLESS = {"lost+found", ".DS_Store", "format.draft"}


@dataclasses.dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths below a data folder that was prepared."""

    path: Path

    @property
    def run(self) -> Path:
        """What is true only while something runs."""
        return self.path / "run"

    @property
    def nats(self) -> Path:
        """NATS' configuration and store."""
        return self.path / "nats"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.path / "postgres"

    @property
    def programs(self) -> Path:
        """Copies of the servers' programs."""
        return self.path / "programs"

    def identity(self, server: str) -> Path:
        """The identity file of a server."""
        return self.run / f"{server}.json"

    def slot(self, server: str) -> Path:
        """The file that a running server keeps locked."""
        return self.run / f"{server}.slot"

    def log(self, server: str) -> Path:
        """The log file of a server."""
        return self.path / "log" / f"{server}.log"

    def secret(self, server: str) -> Path:
        """The file with a server's credentials."""
        return self.path / "secrets" / f"{server}.json"


def prepare(path: Path, *, build: str) -> DataFolder:
    """Make or check the data folder and its parts.

    `build` is the version of Penstock, written into a new folder. Raises Rejected when the folder is of a newer
    build, somebody else's, not ours or not writable; Unavailable when the disk is full.
    """
    path = absolute(path)
    with files.explained(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_ours(path)
        if read_format(path) is None:
            _require_empty(path)
            # Root's servers run as another user, who must be able to pass through, though not to look around.
            path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            files.write_private(path / "format", json.dumps({"format": FORMAT, "build": build}) + "\n")
        for name, mode in (("run", 0o711), ("log", 0o700), ("secrets", 0o700)):
            (path / name).mkdir(exist_ok=True)
            (path / name).chmod(mode)  # whatever the umask is: root's servers must get to their socket
    return DataFolder(path)


def absolute(path: Path) -> Path:
    """The path without links and `~`. Raises Rejected for one that no configuration file can hold."""
    text = str(path)
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 or ord(character) == 127 for character in text):
        raise errors.Rejected("bad_folder", "the path of the data folder holds control characters or invalid UTF-8")
    try:
        return path.expanduser().resolve()
    except (RuntimeError, OSError):
        raise errors.Rejected("bad_folder", f"the path of the data folder {path} cannot be resolved") from None


def read_format(path: Path) -> int | None:
    """The layout's number of the folder; None when it has none yet. Raises Rejected when it is newer than ours."""
    try:
        text = (path / "format").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = cast("dict[str, Any]", json.loads(text))
        number, build = int(found["format"]), str(found.get("build", ""))
    except (ValueError, TypeError, KeyError):
        raise errors.Rejected("bad_folder", f"{path / 'format'} is damaged", hint="Restore it from a backup.") from None
    if number > FORMAT:
        raise errors.Rejected(
            "newer_data_folder",
            f"the newer Penstock {build} wrote the data folder {path} (format {number}; this one reads {FORMAT})",
            hint="Upgrade Penstock, or choose another folder with PENSTOCK_DATA or --data.",
            status=409,
        )
    return number


@contextlib.contextmanager
def locked(folder: DataFolder) -> Generator[None]:
    """Hold the data folder for one `penstock up`; the lock ends with the process, however it ends.

    Raises Rejected naming the process that holds it.
    """
    with files.explained(folder.path):
        handle = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not files.try_lock(handle, folder.path):
            holder = os.pread(handle, 20, 0).decode("utf-8", errors="replace").strip() or "unknown"
            raise errors.Rejected(
                "data_folder_in_use",
                f"another 'penstock up' (process {holder}) uses the data folder {folder.path}",
                hint="Stop it first, or choose another folder with PENSTOCK_DATA or --data.",
                status=409,
            )
        with files.explained(folder.path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _require_ours(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise errors.Rejected(
            "foreign_data_folder",
            f"the data folder {path} belongs to uid {owner}, and this process runs as uid {os.geteuid()}",
            hint="Run as its owner, or choose another folder with PENSTOCK_DATA or --data.",
        )


def _require_empty(path: Path) -> None:
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in _HARMLESS)
    if strangers:
        raise errors.Rejected(
            "not_a_data_folder",
            f"the folder {path} holds other things ({strangers[0]}) and is no data folder of Penstock",
            hint="Choose an empty folder with PENSTOCK_DATA or --data.",
        )
