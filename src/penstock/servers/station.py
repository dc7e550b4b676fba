"""One server's place in a data folder: brings the server up, adopts or stops one left behind, and takes it down.

A supervisor that is killed leaves its servers running: they keep what they were told, and the next `up` finds them by
the identity file and the slot. One that runs exactly what would be started now, and answers, is adopted; any other is
stopped. A pid that is not provably ours is never signalled.
"""

import asyncio
import contextlib
import dataclasses
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping

import penstock
from penstock.base import errors, telemetry
from penstock.servers import files, identity, process
from penstock.servers.folder import DataFolder
from penstock.servers.settings import ServersSettings
from penstock.servers.slot import Slot

Ready = Callable[[process.ServerProcess], Awaitable[bool]]
AsProgram = Callable[[Mapping[str, int]], process.Program]

_log = telemetry.logger("servers.station")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Which server: `name` names its files, `stop_signals` are sent in turn, the first for a gentle stop."""

    folder: DataFolder
    name: str
    stop_signals: tuple[signal.Signals, ...]


class Station:
    """Holds at most one process of one server."""

    def __init__(self, place: Place, settings: ServersSettings) -> None:
        self._place, self._settings = place, settings
        self._slot = Slot(place.folder.slot(place.name))
        self.process: process.ServerProcess | None = None
        known = identity.read(place.folder.identity(place.name))
        self.ports: Mapping[str, int] = {} if known is None else known.ports
        """TCP ports by purpose: of this start, before it of the last one, empty before the first."""

    def is_running(self) -> bool:
        """True while the process lives that was started or adopted here."""
        return self.process is not None and self.process.is_running()

    @property
    def name(self) -> str:
        """The server's name in files and logs."""
        return self._place.name

    async def adopt(self, as_program: AsProgram, ready: Ready) -> bool:
        """Take over a server that an earlier supervisor left behind, if it is what we would start and answers.

        `as_program` says what we would run on given ports.
        """
        known = self._left_behind()
        if known is None or known.fingerprint != as_program(known.ports).fingerprint:
            return False
        found = process.ServerProcess(known.pid, known.started)
        self.ports = known.ports
        # It may have been left behind while it started.
        if not await self._until_ready(found, ready, timeout_s=min(5.0, self._settings.start_deadline_s)):
            found.release()
            return False
        _log.info("server adopted", server=self.name, pid=found.pid)
        self._hold(found)
        return True

    async def clear(self) -> bool:
        """Stop whatever an earlier supervisor left behind; True when there was something.

        Raises Unavailable when it cannot be ended.
        """
        if self._slot.is_free():
            return False
        if (known := self._left_behind()) is not None:
            _log.info("server left behind is stopped", server=self.name, pid=known.pid)
            await self._end(process.ServerProcess(known.pid, known.started))
        # What is left are children of a server that was killed, or a server without an identity file.
        if not await self._slot.wait_free(1.0):
            for pid in self._slot.holders():
                started = identity.start_mark(pid)
                # Looked at again after the mark was taken: the pid may have changed hands in between.
                if started and pid in self._slot.holders():
                    await self._end(process.ServerProcess(pid, started))
        return True

    async def launch(self, program: process.Program, ready: Ready) -> None:
        """Start a program and wait until it answers.

        Raises Rejected when it cannot be run; Unavailable when it ends, takes too long, or the slot is kept.
        """
        folder, name = self._place.folder, self._place.name
        self.set_log_aside()
        begins = log.stat().st_size if (log := folder.log(name)).exists() else 0
        with self._slot.taken() as slot:
            if slot is None:
                raise errors.Unavailable(
                    "left_behind",
                    f"a {name} server that was started earlier still uses the data folder {folder.path}",
                    hint="Stop it, or restart the machine.",
                    after_s=5,
                )
            started = process.spawn(program, log=log, slot=slot)
        self._hold(started)
        self.ports = dict(program.ports)
        try:
            with files.explained(folder.path):
                identity.write(folder.identity(name), self._identity(program, started))
            if not await self._until_ready(started, ready, timeout_s=self._settings.start_deadline_s):
                raise self._not_ready(program.title, process.last_words(log, since=begins))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the process gently, then less so. Raises Unavailable when it cannot be ended."""
        if self.process is not None:
            await self._end(self.process)
            self.process = None

    def set_log_aside(self) -> None:
        """Begin the log file anew when it has grown too large; a running server goes on appending."""
        log = self._place.folder.log(self._place.name)
        with contextlib.suppress(OSError):
            if log.stat().st_size >= self._settings.log_bytes:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                with log.open("r+b") as file:
                    file.truncate(0)

    def _identity(self, program: process.Program, started: process.ServerProcess) -> identity.Identity:
        folder, name = self._place.folder, self._place.name
        return identity.Identity(
            name=name,
            pid=started.pid,
            started=started.started,
            fingerprint=program.fingerprint,
            data_folder=str(folder.path),
            ports=self.ports,
            build=penstock.__version__,
            credentials=str(folder.secret(name)),
        )

    def _left_behind(self) -> identity.Identity | None:
        """The server of the identity file, if it lives."""
        known = identity.read(self._place.folder.identity(self.name))
        return known if known is not None and not self._slot.is_free() and known.is_running() else None

    def _hold(self, found: process.ServerProcess) -> None:
        if self.process is not None:
            self.process.release()
        self.process = found

    async def _end(self, found: process.ServerProcess) -> None:
        await found.stop(self._place.stop_signals, self._settings.stop_deadline_s)

    async def _until_ready(self, started: process.ServerProcess, ready: Ready, *, timeout_s: float) -> bool:
        """False when it has ended, or the deadline has."""
        pause_s = 0.005
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while started.is_running():
                    if await ready(started):
                        return True
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 1.5, 0.1)
        return False

    def _not_ready(self, title: str, words: str) -> errors.Unavailable:
        hint = f"Its log is {self._place.folder.log(self.name)}."
        if self.is_running():
            seconds = f"{self._settings.start_deadline_s:g} seconds"
            return errors.Unavailable("server_not_ready", f"{title} did not answer within {seconds}", hint=hint)
        return errors.Unavailable(
            "server_ended", f"{title} ended while it started: {words or 'it wrote nothing'}", hint=hint
        )
