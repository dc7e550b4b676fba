"""A folder for the Postgres socket: a path short enough for the kernel, that only the server's user may enter.

The data folder is the best place, since nothing cleans it up and every mount sees it; but `sun_path` holds 107 bytes
(103 on macOS), so a long or unusual path moves the socket to `/tmp`. Never to XDG_RUNTIME_DIR: that one disappears
when the user logs out, while the servers go on.
"""

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from penstock.base import errors
from penstock.servers import files, privileges
from penstock.servers.endpoints import PORT
from penstock.servers.folder import DataFolder

LONGEST_BYTES: Final = 103
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def prepare(folder: DataFolder, user: privileges.ServerUser) -> Path:
    """Make or check the folder. Raises Rejected when a stranger has taken its name."""
    place = choose(folder)
    with files.explained(folder.path):
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            place.chmod(0o700)
            privileges.hand_over(place, user)
            return place
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid or found.st_mode & 0o077:
        raise errors.Rejected(
            "socket_folder_taken", f"{place} belongs to somebody else", hint="Remove it, or choose another data folder."
        )
    return place


def remove(folder: DataFolder) -> None:
    """Leave nothing outside the data folder once the server has stopped and removed its socket."""
    place = choose(folder)
    if not place.is_relative_to(folder.path):
        with contextlib.suppress(OSError):
            place.rmdir()


def choose(folder: DataFolder) -> Path:
    """Where the socket's folder is or would be."""
    inside = folder.run / "postgres"
    socket = os.fsencode(inside / f".s.PGSQL.{PORT}.lock")
    if len(socket) <= LONGEST_BYTES and _PLAIN.fullmatch(str(inside)):
        return inside
    name = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:16]
    return Path("/tmp") / f"penstock-{os.geteuid()}-{name}"  # noqa: S108 - owner and mode are checked
