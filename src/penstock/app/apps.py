"""Running somebody's app as a process of its own, and knowing when it listens."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Final

from penstock.base import errors

READY_FD: Final = "PENSTOCK_SDK__READY_FD"
FOR_APPS: Final = frozenset(
    {
        "PENSTOCK_DATA",
        "PENSTOCK_LOGINS",
        "PENSTOCK_TENANT",
        "PENSTOCK_NATS_URL",
        "PENSTOCK_NATS_USER",
        "PENSTOCK_NATS_PASSWORD",
        # Where spans go, and not the key of the collector that the operator may have put into the environment.
        "PENSTOCK_TELEMETRY__OTLP_ENDPOINT",
        "PENSTOCK_TELEMETRY__OTLP_HEADERS_FILE",
        "PENSTOCK_TELEMETRY__OTLP_SHARE",
    }
)
LISTENS_S: Final = 20.0
STOPS_S: Final = 30.0


def _nobody(_: str) -> None:
    """Nobody wants to know."""


@contextlib.asynccontextmanager
async def running(
    path: Path, environ: Mapping[str, str], told: Callable[[str], None] = _nobody
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The app in the file `path`, once it listens; `told` hears when it ends by itself. Stopped in the end.

    An app that was never there before hears what is said from then on, so whoever is about to speak waits for this.
    Raises Rejected `app_ended` when it ends instead, Unavailable `app_not_ready` when it takes too long.
    """
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(path),
            env={**_for_an_app(environ), READY_FD: str(write_end)},
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(write_end,),
            start_new_session=True,
        )
    finally:
        os.close(write_end)
    try:
        try:
            await _until_ready(read_end, process)
        finally:
            os.close(read_end)
        watching = asyncio.create_task(_watch(process, path, told))
        try:
            yield process
        finally:
            watching.cancel()
    finally:
        await _stop(process)


def _for_an_app(environ: Mapping[str, str]) -> dict[str, str]:
    """What an app may know of our environment: how to reach the bus, not the database and not the sealing key."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("PENSTOCK_") or name.startswith("PENSTOCK_SDK__") or name in FOR_APPS
    }


async def _until_ready(read_end: int, process: asyncio.subprocess.Process) -> None:
    """Wait for the app's line, or for the end of its descriptor, which is its own end."""
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(read_end, heard.set)
    try:
        async with asyncio.timeout(LISTENS_S):
            await heard.wait()
    except TimeoutError:
        raise errors.Unavailable("app_not_ready", f"the app did not listen within {LISTENS_S:g} s") from None
    finally:
        loop.remove_reader(read_end)
    if not os.read(read_end, 64):
        code = await process.wait()
        raise errors.Rejected("app_ended", f"the app ended with exit code {code} before it listened", status=422)


async def _watch(process: asyncio.subprocess.Process, path: Path, told: Callable[[str], None]) -> None:
    code = await process.wait()
    told(f"The app {path} ended (exit code {code}).")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for an app that does not care."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOPS_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
