"""A server process of ours: started, watched, and stopped gently; signals reach it or nobody."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from penstock.base import errors
from penstock.servers import files, identity, privileges

KILLED_WITHIN_S: Final = 5.0
"""Seconds that the kernel may take to end a killed process; longer means that it hangs in a system call."""


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """What to run and as whom; `title` is for people, `configuration` what it reads besides its arguments."""

    title: str
    argv: tuple[str, ...]
    configuration: str
    ports: Mapping[str, int]
    user: privileges.ServerUser

    @property
    def fingerprint(self) -> str:
        """Equal for programs that are started alike."""
        return identity.fingerprint(self.argv, self.configuration)


class ServerProcess:
    """One process, our child or found: `pid`, and `started` as `identity.start_mark` gave it."""

    def __init__(self, pid: int, started: str, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid, self.started = pid, started
        self._child = child
        self._handle = self._open_handle()

    @property
    def adopted(self) -> bool:
        """True when an earlier supervisor started it."""
        return self._child is None

    def is_running(self) -> bool:
        """True until it has ended."""
        if self._child is not None:
            return self._child.poll() is None
        return bool(self.started) and identity.start_mark(self.pid) == self.started

    async def wait(self) -> int | None:
        """Wait until it has ended; its exit code (negative: the signal), None when it is not our child."""
        if self._handle is not None and self.is_running():
            await _readable(self._handle)
        while self.is_running():  # noqa: ASYNC110 - without a pidfd the system tells nobody
            await asyncio.sleep(0.05)
        return None if self._child is None else self._child.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process, and to no other that may have its pid by now."""
        with contextlib.suppress(ProcessLookupError):
            if self._handle is not None and sys.platform.startswith("linux"):
                signal.pidfd_send_signal(self._handle, number)
            elif self._child is not None:
                self._child.send_signal(number)
            elif self.is_running():
                os.kill(self.pid, number)

    async def stop(self, signals: tuple[signal.Signals, ...], timeout_s: float) -> None:
        """Send each signal in turn and give the first `timeout_s`, the others five seconds; then SIGKILL.

        Raises Unavailable when even that does not end it.
        """
        patience = [timeout_s, *[KILLED_WITHIN_S] * len(signals)]
        for number, seconds in zip((*signals, signal.SIGKILL), patience, strict=True):
            if not self.is_running():
                break
            self.send(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
        if self.is_running():
            raise errors.Unavailable("process_hangs", f"process {self.pid} does not end, not even killed", after_s=5)
        self.release()

    def release(self) -> None:
        """Let go of the operating system's handle; the process goes on."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open_handle(self) -> int | None:
        """A pidfd: it stays with the process when the pid is used again. None where the system has none."""
        if not sys.platform.startswith("linux"):
            return None
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return None
        if self._child is not None or self.is_running():
            return handle
        os.close(handle)
        return None


def spawn(program: Program, *, log: Path, slot: int) -> ServerProcess:
    """Start a program detached from our terminal; what it prints is appended to `log`, the descriptor `slot` inherited.

    Raises Rejected when it cannot be run at all.
    """
    with files.explained(log.parent.parent):
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    as_user: dict[str, Any] = program.user.popen()
    try:
        child = subprocess.Popen[bytes](
            program.argv,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            cwd="/",
            env=plain_environment(),
            start_new_session=True,
            umask=0o077,
            pass_fds=(slot,),
            **as_user,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise cannot_start(program.title, program.user, error) from None
    finally:
        os.close(handle)
    return ServerProcess(child.pid, identity.start_mark(child.pid), child)


def cannot_start(title: str, user: privileges.ServerUser, error: Exception) -> errors.Rejected:
    """What to say when the system refuses to run a program at all."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
    return errors.Rejected(
        "cannot_start",
        f"{title} cannot be started as uid {user.uid}: {reason}",
        hint="Run as an ordinary user, or set the URL of a server of your own.",
    )


def plain_environment() -> dict[str, str]:
    """What a server's program finds in its environment: nothing of ours (PG..., proxies, secrets) reaches it."""
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def last_words(log: Path, *, since: int) -> str:
    """What a server wrote last into its log after the byte `since`: the line that says why it gave up, if one does."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - 16384))
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
        fatal = [line for line in lines if any(sign in line for sign in ("[FTL]", "FATAL:", "PANIC:"))]
        return (fatal or lines or [""])[-1].strip()[-200:]
    return ""


async def _readable(handle: int) -> None:
    """Wait until a pidfd is readable, which it is when its process has ended."""
    # A copy: an event loop keeps one reader a descriptor, and several may wait.
    copy, loop = os.dup(handle), asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(copy, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(copy)
        os.close(copy)
