"""Generated credentials of a server, kept in a file that only its owner may read, and used again."""

import json
import secrets
from pathlib import Path
from typing import Any, cast

from penstock.base import errors
from penstock.servers import files


def kept(path: Path, *, user: str, lost: bool = False) -> str:
    """The password in this file, made now when there is none, unless the server has one already (then it is `lost`).

    Raises Rejected when the file is damaged or lost, or others may read it.
    """
    with files.explained(path.parent.parent):
        try:
            text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
        except FileNotFoundError:
            if lost:
                raise errors.Rejected(
                    "secret_lost", f"the password of {user} is lost: there is no file {path}", hint="Restore the file."
                ) from None
            password = secrets.token_urlsafe(32)
            files.write_private(path, json.dumps({"user": user, "password": password}) + "\n")
            return password
    if mode & 0o077:
        raise errors.Rejected(
            "secret_exposed", f"other users may read {path}", hint=f"Run: chmod 600 '{path}', and think who may have."
        )
    try:
        password = cast("dict[str, Any]", json.loads(text))["password"]
    except (ValueError, TypeError, KeyError):
        password = None
    if not isinstance(password, str) or not password:
        raise errors.Rejected(
            "bad_secret", f"{path} is damaged", hint="Restore it, or remove it to have new credentials generated."
        )
    return password
