"""Reads files that hold a secret: only regular ones, only small ones, and only when nobody else may read them."""

import os
import stat
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 4096


class Unfit(Exception):
    """A file that is not taken, in words that follow on what it is; `missing` when there is none. Quotes nothing."""

    def __init__(self, words: str, *, missing: bool = False, hint: str = "") -> None:
        super().__init__(words)
        self.words, self.missing, self.hint = words, missing, hint


def read_private(file: Path, *, mounted: bool) -> str:
    """The text of a file that only its owner may read; one that is `mounted` may be readable by its group too.

    Raises Unfit, which the caller turns into an error of its own.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Unfit(f"is not at {file}", missing=True) from None
    except OSError as error:
        raise Unfit(f"at {file}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Unfit(f"at {file} is not a file")
        mode = stat.S_IMODE(found.st_mode)
        if mode & (stat.S_IRWXO | stat.S_IWGRP | (0 if mounted else stat.S_IRWXG)):
            raise Unfit(
                f"at {file} may be read or changed by others (mode {mode:04o})",
                hint=f"chmod 600 '{file}', and think about who may have read it.",
            )
        return os.read(handle, _MOST_BYTES).decode("utf-8", "replace")
    finally:
        os.close(handle)
