"""What an installation is made of, each part with a name and a process that can be hurt."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable

from tests import standstill
from tests.e2e import installation as installations
from tests.e2e import processes


class Part:
    """A process of an installation that somebody starts again; `pid` tells which one it is now, 0: there is none."""

    def __init__(self, name: str, pid: Callable[[], int]) -> None:
        self.name, self._pid, self._pauses = name, pid, 0

    @property
    def pid(self) -> int:
        """The process id, 0 while it does not run."""
        with contextlib.suppress(OSError, ValueError):  # its file is written anew at this moment
            return self._pid()
        return 0

    def send(self, number: signal.Signals) -> int:
        """Send a signal, if it runs; returns the process id."""
        pid = self.pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    async def kill(self) -> int:
        """kill -9, as soon as it runs; the process id that is no more."""
        await processes.until(lambda: self.pid, f"{self.name} runs")
        return self.send(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, as soon as it runs; the process id that will end."""
        await processes.until(lambda: self.pid, f"{self.name} runs")
        return self.send(signal.SIGTERM)

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Stopped (SIGSTOP) for as long as the block lasts, and others like it; it may be killed meanwhile."""
        await processes.until(lambda: self.pid, f"{self.name} runs")
        self._pauses += 1
        stopped = self.send(signal.SIGSTOP)
        try:
            await processes.until(lambda: standstill.holds(stopped), f"{self.name} stands still")
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self.send(signal.SIGCONT)

    async def back(self, ended: int, *, timeout_s: float = 60.0) -> float:
        """Wait until another process than `ended` is this part; the seconds that took."""
        return await processes.until(
            lambda: self.pid not in (0, ended), f"{self.name} is started again", timeout_s=timeout_s
        )

    def fill_disk(self) -> None:
        """Let no file of this process grow any more: to it, the disk is full. A new process has no such limit."""
        pid = self.pid
        owner = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - servers of root run as somebody else, who may do it

        def limit() -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

        user = {} if owner == os.geteuid() else {"user": owner, "group": owner, "extra_groups": []}
        # In a child that becomes the owner, because nobody else may.
        subprocess.run(["/bin/true"], preexec_fn=limit, cwd="/", check=True, **user)

    @property
    def memory_bytes(self) -> int:
        """Memory that it occupies (RSS)."""
        with open(f"/proc/{self.pid}/statm") as file:  # noqa: PTH123 - a pid that is gone shall raise
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Kept(Part):
    """A process beside `penstock up` that is started again whenever it ends, as any process supervisor does."""

    AGAIN_S = 0.2

    def __init__(self, name: str, start: Callable[[], installations.Command]) -> None:
        super().__init__(name, lambda: self.command.process.pid if self.command.running else 0)
        self._start = start
        self.command = start()
        self.starts = 1
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            await self.command.ended(timeout_s=float("inf"))
            await asyncio.sleep(self.AGAIN_S)
            self.command = self._start()
            self.starts += 1

    @contextlib.asynccontextmanager
    async def stopped(self) -> AsyncGenerator[None]:
        """Ended by SIGTERM, and started again after the block only."""
        await self.close()
        try:
            yield
        finally:
            self.command = self._start()
            self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """End it, and keep it no longer."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self.send(signal.SIGCONT)
        await self.command.close()
