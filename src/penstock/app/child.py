"""A child process that runs roles, kept alive by `up`.

The child inherits two descriptors. The listening socket belongs to the parent, so that connections wait in its
backlog while a child that died is replaced: nobody is refused. The lifeline is the read end of a pipe whose other end
only the parent holds: when it closes, however the parent ended, the child drains and exits by itself.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.base import tasks, telemetry

LISTEN_FD: Final = "PENSTOCK_LISTEN_FD"
LIFELINE_FD: Final = "PENSTOCK_LIFELINE_FD"
PROGRAM: Final = (sys.executable, "-m", "penstock", "run")
"""What runs roles; their names follow."""

_log = telemetry.logger("app.child")


class Child:
    """One process, such as `penstock run <role>...`, started again with a growing pause whenever it ends by itself."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], listener: socket.socket) -> None:
        self._arguments, self._environ, self._listener = arguments, environ, listener
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline, self._parent_end = os.pipe()
        self._stopping = False
        self._tasks = tasks.Tasks()
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process id of the current child; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start it and keep it running until `stop`."""
        await self._spawn()
        self._tasks.once("child", self._keep())

    async def _spawn(self) -> None:
        descriptors = {LISTEN_FD: self._listener.fileno(), LIFELINE_FD: self._lifeline}
        environ = {**self._environ, **{name: str(number) for name, number in descriptors.items()}}
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=tuple(descriptors.values()),
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent, which stops things in order
        )

    async def _keep(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while self._process is not None:
            begun = loop.time()
            code = await self._process.wait()
            if self._stopping:
                return
            failures = 1 if loop.time() - begun > 60 else failures + 1
            self.restarts += 1
            _log.error("core process ended", code=code, restarts=self.restarts)
            await asyncio.sleep(tasks.backoff_s(failures))
            await self._spawn()

    async def stop(self, timeout_s: float) -> int:
        """Ask it to drain (SIGTERM), kill it after `timeout_s`; returns its exit code."""
        self._stopping = True
        process = self._process
        code = 0
        if process is not None:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
            except TimeoutError:
                _log.error("core process did not drain in time", timeout_s=timeout_s)
                process.kill()
                code = await process.wait()
        await self._tasks.stop()
        os.close(self._parent_end)
        os.close(self._lifeline)
        return code
