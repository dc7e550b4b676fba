"""Which ways of shutting in untrusted code this machine offers: what exists, not yet what holds.

`doctor` shows it, so that an operator knows before a component is refused; the live probe belongs to `sandbox`.
"""

import ctypes
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Final

# landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) answers the ABI's number (landlock(7)); the
# number of the call is the same on every architecture that Linux numbers since 5.x in common.
_LANDLOCK_CREATE_RULESET: Final = 444
_RULESET_VERSION: Final = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Means:
    """One way, and what was found of it."""

    name: str
    found: str


def look() -> list[Means]:
    """What there is, the strongest first."""
    return [
        Means("gVisor", shutil.which("runsc") or "no runsc on the path"),
        Means("bubblewrap", shutil.which("bwrap") or "no bwrap on the path"),
        Means("user namespaces", _user_namespaces()),
        Means("Landlock", _landlock()),
        Means("seccomp", _seccomp()),
        Means("cgroups", "version 2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "no version 2"),
    ]


def _user_namespaces() -> str:
    if not sys.platform.startswith("linux"):
        return "only on Linux"
    most = _read("/proc/sys/user/max_user_namespaces")
    if most in {"", "0"} or _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "switched off"
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "restricted by AppArmor"
    return "available"


def _landlock() -> str:
    if not sys.platform.startswith("linux"):
        return "only on Linux"
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    version = int(
        call(ctypes.c_long(_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_RULESET_VERSION))
    )
    return f"ABI {version}" if version > 0 else "not in this kernel, or switched off"


def _seccomp() -> str:
    return "available" if "\nSeccomp:" in _read("/proc/self/status") else "not in this kernel"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
