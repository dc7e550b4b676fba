"""Chooses the user that servers run as: ourselves, or for root a uid of their own, without changing the host.

Postgres refuses to run as root and no server needs to. Creating a system user would change the host, and a process
may run under a uid that no account has; so root picks one from a range that no distribution gives away, one per data
folder, and whoever owns `<data>/postgres` from then on decides.
"""

import contextlib
import dataclasses
import hashlib
import os
import pwd
import stat
from pathlib import Path
from typing import Any, Final

from penstock.base import errors

UNUSED_UIDS: Final = range(60706, 61184)
"""Between systemd's greeter and dynamic users, given away by nobody (systemd's UIDS-GIDS document)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServerUser:
    """The uid and gid that servers run as; `changes` when that takes leaving root."""

    uid: int
    gid: int
    changes: bool

    @property
    def owner(self) -> tuple[int, int] | None:
        """Whom files of the server are given to; None when they are ours anyway."""
        return (self.uid, self.gid) if self.changes else None

    def popen(self) -> dict[str, Any]:
        """Arguments of `subprocess.Popen` that start a process as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.changes else {}


def server_user(folder: Path) -> ServerUser:
    """The user that servers of this data folder run as.

    Raises Rejected when root cannot hand the folder to another user.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), changes=False)
    user = _owner_of(folder / "postgres") or _owner_of(folder / "nats") or _unused(folder)
    require_reachable(folder, user)
    return user


def named_user() -> ServerUser:
    """A user with an account, which initdb insists on: ourselves, or `nobody` for root. Raises Rejected without one."""
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        with contextlib.suppress(KeyError):
            pwd.getpwuid(uid)
            return ServerUser(uid, gid, changes=False)
        raise errors.Rejected(
            "no_account",
            f"this process runs as uid {uid}, which has no account here, so Postgres cannot make its database",
            hint="Set PENSTOCK_POSTGRES_URL, or run as a user of this machine.",
        )
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0 and _is_mapped(account.pw_uid)]
    accounts.sort(key=lambda account: account.pw_name != "nobody")
    if not accounts:
        raise errors.Rejected(
            "no_account",
            "Postgres does not run as root, and there is no other account on this machine",
            hint="Set PENSTOCK_POSTGRES_URL, or run as an ordinary user.",
        )
    return ServerUser(accounts[0].pw_uid, accounts[0].pw_gid, changes=True)


def require_reachable(path: Path, user: ServerUser) -> None:
    """Refuse a path below a folder that the servers' user may not pass through. Raises Rejected."""
    if user.changes and (closed := closed_parent(path, user)) is not None:
        raise errors.Rejected(
            "folder_out_of_reach",
            f"servers do not run as root, and no other user may pass through {closed}, so {path} is out of their reach",
            hint="Choose a data folder such as /var/lib/penstock with PENSTOCK_DATA or --data.",
        )


def closed_parent(path: Path, user: ServerUser) -> Path | None:
    """The topmost existing folder on the way to `path` that `user` may not pass through (by its mode bits)."""
    for folder in [*reversed(path.parents), path]:
        try:
            found = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        bit = stat.S_IXOTH
        if found.st_uid == user.uid:
            bit = stat.S_IXUSR
        elif found.st_gid == user.gid:
            bit = stat.S_IXGRP
        if not found.st_mode & bit:
            return folder
    return None


def hand_over(folder: Path, user: ServerUser) -> None:
    """Give a folder and everything in it to `user`, following no link. Raises Rejected where root may not."""
    if not user.changes:
        return
    try:
        for _, folders, files, handle in os.fwalk(folder, follow_symlinks=False):
            os.fchown(handle, user.uid, user.gid)
            for name in (*folders, *files):
                os.chown(name, user.uid, user.gid, dir_fd=handle, follow_symlinks=False)
    except PermissionError:
        raise errors.Rejected(
            "cannot_hand_over",
            f"root may not give {folder} to another user here, and servers do not run as root",
            hint="Give the container the capabilities CHOWN, SETUID and SETGID, or run as an ordinary user.",
        ) from None


def _owner_of(folder: Path) -> ServerUser | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = folder.stat()
        if found.st_uid != 0:
            return ServerUser(found.st_uid, found.st_gid, changes=True)
    return None


def _unused(folder: Path) -> ServerUser:
    taken = {account.pw_uid for account in pwd.getpwall()}
    first = int.from_bytes(hashlib.sha256(os.fsencode(folder)).digest()[:4], "big")
    for step in range(len(UNUSED_UIDS)):
        uid = UNUSED_UIDS[(first + step) % len(UNUSED_UIDS)]
        if uid not in taken and _is_mapped(uid):
            return ServerUser(uid, uid, changes=True)
    return named_user()


def _is_mapped(uid: int) -> bool:
    """Whether this uid exists in our user namespace (a rootless container has a short list)."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return True
    ranges = [(int(inside), int(count)) for inside, _, count in map(str.split, lines)]
    return any(inside <= uid < inside + count for inside, count in ranges)
