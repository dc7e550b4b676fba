"""What `penstock doctor` looks at: what is there, what is missing, what would run, and what to do about it.

Nothing is changed: no folder is made, no server started, no port kept.
"""

import asyncio
import contextlib
import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from penstock.base import errors
from penstock.servers import binaries, folder, given, identity, ports, privileges, probe, sandbox_means, watermark
from penstock.servers.settings import ServersSettings

Status = Literal["ok", "warn", "fail"]

OLDEST_PYTHON: Final = (3, 11)


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do when it is not `ok` (empty: nothing)."""

    name: str
    status: Status
    found: str
    remedy: str = ""


async def examine(settings: ServersSettings) -> list[Check]:
    """Every check, in the order in which a start would meet them."""
    path = settings.data_folder.expanduser().absolute()
    return [
        _python(),
        *await asyncio.to_thread(lambda: list(_programs(settings))),
        _data_folder(path),
        _user(path, settings),
        _disk(path, settings),
        *_servers(path, settings),
        *await _urls(settings),
        # Information: nothing needs them yet.
        *(Check(f"sandbox: {means.name}", "ok", means.found) for means in sandbox_means.look()),
    ]


def _python() -> Check:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "fail", found, "Install Python 3.11 or newer.")
    return Check("python", "ok", found)


def _programs(settings: ServersSettings) -> Iterator[Check]:
    if settings.nats_url is None:
        yield _program("nats-server", lambda: binaries.version(binaries.nats_server()))
    if settings.postgres_url is None:
        yield _program("postgres", _postgres_version)


def _postgres_version() -> str:
    found = binaries.postgres_folder()
    binaries.version(found / "initdb")
    vector = found.parent / "share" / "postgresql" / "extension" / "vector.control"
    return f"{binaries.version(found / 'postgres')} {'with' if vector.is_file() else 'without'} pgvector"


def _program(name: str, version: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", version())
    except errors.Rejected as error:
        return Check(name, "fail", error.detail, error.hint)


def _data_folder(path: Path) -> Check:
    another = "Choose another with PENSTOCK_DATA or --data."
    try:
        number = folder.read_format(folder.absolute(path))
        strangers = number is None and path.exists() and any(path.iterdir())
    except errors.Rejected as error:
        return Check("data folder", "fail", error.detail, error.hint or another)
    except OSError as error:
        return Check("data folder", "fail", f"{path}: {os.strerror(error.errno or 0)}", another)
    nearest = _nearest(path)
    if not nearest.is_dir():
        return Check("data folder", "fail", f"{nearest} is a file", another)
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check("data folder", "fail", f"{nearest} cannot be written", another)
    if strangers:
        return Check("data folder", "fail", f"{path} holds other things", another)
    return Check("data folder", "ok", f"{path} would be made" if number is None else f"{path} (format {number})")


def _user(path: Path, settings: ServersSettings) -> Check:
    if settings.nats_url is not None and settings.postgres_url is not None:
        return Check("user", "ok", f"uid {os.geteuid()}; no server would be started")
    try:
        if settings.postgres_url is None and not (path / "postgres").exists():
            privileges.named_user()
        user = privileges.server_user(folder.absolute(path))
    except errors.Rejected as error:
        return Check("user", "fail", error.detail, error.hint)
    if user.changes:
        return Check("user", "ok", f"root; servers would run as uid {user.uid}, and no account is made")
    return Check("user", "ok", f"uid {user.uid}; servers would run as the same")


def _disk(path: Path, settings: ServersSettings) -> Check:
    free = watermark.free_bytes(_nearest(path))
    found = f"{free / (1 << 30):.1f} GiB free at {_nearest(path)}"
    if free < watermark.LOWEST_START_BYTES:
        return Check("disk", "fail", found, f"Servers need {watermark.LOWEST_START_BYTES >> 20} MiB to start.")
    if free < settings.stop_intake_below_bytes:
        mark = settings.stop_intake_below_bytes / (1 << 30)
        return Check("disk", "warn", found, f"Nothing is taken in below {mark:.1f} GiB: free some space.")
    return Check("disk", "ok", found)


def _servers(path: Path, settings: ServersSettings) -> Iterator[Check]:
    """Which servers run in the data folder, and which ports they would get."""
    prepared = folder.DataFolder(path)
    fixed = {"client": settings.nats_port, "monitor": settings.nats_monitor_port}
    for name, url in (("nats", settings.nats_url), ("postgres", settings.postgres_url)):
        if url is not None:
            continue
        try:
            known = identity.read(prepared.identity(name))
        except OSError:
            known = None
        if known is not None and known.is_running():
            numbers = ", ".join(f"{use} {port}" for use, port in known.ports.items() if name == "nats")
            yield Check(f"{name} server", "ok", f"runs as process {known.pid}" + (f" ({numbers})" if numbers else ""))
        elif taken := [port for port in fixed.values() if name == "nats" and port and not ports.is_free(port)]:
            yield Check(
                "nats server", "fail", f"port {taken[0]} is used by another program", "Stop it, or use port 0 (any)."
            )
        else:
            yield Check(f"{name} server", "ok", "does not run")


async def _urls(settings: ServersSettings) -> list[Check]:
    replaced = (
        ("nats url", settings.nats_url, given.nats_places),
        ("postgres url", settings.postgres_url, given.postgres_places),
    )
    checks: list[Check] = []
    for name, url, places in replaced:
        try:
            found = places(url.reveal()) if url is not None else []
        except errors.Rejected as error:
            checks.append(Check(name, "fail", error.detail, error.hint or "Correct the URL."))
            continue
        for host, port in found:
            if await probe.answers(host, port):
                checks.append(Check(name, "ok", f"{host}:{port} answers"))
            else:
                checks.append(
                    Check(name, "fail", f"{host}:{port} does not answer", "Start that server, or correct the URL.")
                )
    return checks


def _nearest(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists and may be seen."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            place.stat()
            return place
    return Path("/")
