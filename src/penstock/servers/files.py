"""Writes small files whole or not at all, and says in one sentence why a folder cannot be used."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from penstock.base import errors


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` in one step with a file that only its owner (uid, gid; ourselves by default) may read."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def try_lock(handle: int, folder: Path) -> bool:
    """Lock an open file for its descriptor and its copies; False when somebody else has it.

    Raises Rejected where the file system of `folder` has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _sentence(folder, error) from None
    return True


@contextlib.contextmanager
def explained(folder: Path) -> Generator[None]:
    """Turn an error of the file system inside the block into one sentence about `folder`.

    Raises Rejected `read_only_folder`, `folder_denied` or `bad_folder`; Unavailable `disk_full`.
    """
    try:
        yield
    except OSError as error:
        raise _sentence(folder, error) from None


def _sentence(folder: Path, error: OSError) -> errors.PenstockError:
    place = error.filename if isinstance(error.filename, str) else str(folder)
    match error.errno:
        case errno.EROFS:
            return errors.Rejected(
                "read_only_folder",
                f"the data folder {folder} is on a read-only file system",
                hint="Choose another with PENSTOCK_DATA or --data.",
            )
        case errno.EACCES | errno.EPERM:
            return errors.Rejected(
                "folder_denied",
                f"this user may not write {place}",
                hint="Choose another data folder with PENSTOCK_DATA or --data.",
            )
        case errno.ENOSPC | errno.EDQUOT:
            return errors.Unavailable(
                "disk_full", f"the disk of the data folder {folder} is full", hint="Free some space.", after_s=30.0
            )
        case _:
            return errors.Rejected(
                "bad_folder", f"the data folder {folder} cannot be used: {os.strerror(error.errno or 0)} ({place})"
            )
