"""The file that an export goes into: only its owner may read it, and it has its name once it is whole."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final, TextIO

from penstock.base import errors

DRAFT: Final = ".penstock-draft"
"""How the name of a file ends that is not whole. Whoever writes one holds a lock on it for as long as they live."""


@contextlib.contextmanager
def private(to: Path) -> Generator[TextIO]:
    """A new file to write; nothing is left of it when that fails. Raises Rejected `file_exists`, `bad_file`.

    What a process that was killed left in the same folder is removed.
    """
    if to.exists():
        raise errors.Rejected("file_exists", f"{to} is there already", hint="Name a new file.", status=409, field="to")
    draft = to.with_name(f".{to.name}{DRAFT}")
    try:
        _remove_abandoned(to.parent)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _bad_file(to, error) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            _hold(handle)
            yield file
        try:
            draft.rename(to)
        except OSError as error:
            raise _bad_file(to, error) from None
    finally:
        draft.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove drafts that nobody holds: personal data that no name leads to."""
    for draft in folder.glob(f".*{DRAFT}"):
        # Where locks do not work nobody can tell whether somebody writes it: then it stays.
        with contextlib.suppress(OSError):
            handle = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
            finally:
                os.close(handle)


def _hold(handle: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _bad_file(to: Path, error: OSError) -> errors.Rejected:
    return errors.Rejected("bad_file", f"cannot write {to}: {error.strerror}", field="to")
