"""A whole installation for end-to-end tests: `penstock up` as a user runs it, verbs by CLI, and apps beside it.

Everything is a plain process whose output goes to files, so that a test of any event loop can hold it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from penstock.app import apps, endpoints
from tests import loopback
from tests.e2e import processes

REPOSITORY = Path(__file__).resolve().parents[2]
ECHO = REPOSITORY / "examples" / "echo" / "app.py"
LAST_WORDS = 20_000
"""Characters of its log that a failing test shows."""

PYTHON = "TESTED_PYTHON"
"""Names the Python of the build that is run, where it is not ours."""


class Ended(AssertionError):
    """`penstock up` ended before it was ready."""


class Command:
    """A penstock command that runs; its output goes to files below the test's folder."""

    def __init__(self, environ: Mapping[str, str], *arguments: str, program: Sequence[str] = ()) -> None:
        self.environ, self.folder = dict(environ), Path(environ["PENSTOCK_TEST_FOLDER"])
        self._name = f"{arguments[0] if arguments else 'app'}-{time.monotonic_ns()}"
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self.process = subprocess.Popen(
                [*(program or penstock(environ)), *arguments],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self._name}.{suffix}"

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._file("out").read_text()

    @property
    def err(self) -> str:
        """What it, and what it started, has said on standard error."""
        return self._file("err").read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and to nothing that it started."""
        self.process.send_signal(number)

    async def ended(self, *, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        await processes.until(lambda: not self.running, "the command ends", timeout_s=timeout_s)
        return self.process.returncode

    async def close(self) -> None:
        """SIGTERM, unless it has ended; SIGKILL when that does not help."""
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                await self.ended(timeout_s=45)
            finally:
                self.process.kill()
                self.process.wait()


class Installation(Command):
    """A running `penstock up --json`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ, "up", "--json")
        self.ready_s = 0.0

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.environ["PENSTOCK_DATA"])

    @property
    def endpoints(self) -> endpoints.Endpoints:
        """Where everything listens."""
        return endpoints.read(self.data)

    @property
    def http_url(self) -> str:
        """Where the core listens."""
        return self.endpoints.http_url

    async def ready(self) -> None:
        """Wait for the line that says so. Raises Ended with what was said when it ends instead."""
        begun = time.monotonic()
        await processes.until(lambda: "\n" in self.out or not self.running, "up is ready", timeout_s=60)
        if "\n" not in self.out:
            raise Ended(f"penstock up ended with {self.process.returncode}: {self.err}")
        self.ready_s = time.monotonic() - begun

    async def cli(self, *arguments: str) -> Any:
        """Run a verb with `--json`; returns its document. Fails the test on any other exit code than 0."""
        code, out, err = await run(self.environ, *arguments, "--json")
        assert code == 0, f"penstock {' '.join(arguments)} exited {code}: {err}"
        return json.loads(out)

    def core_pid(self) -> int:
        """The process id of the core: the child of `up` that runs roles; 0 while there is none."""
        mine = [each for each in processes.using(self.data) if each.parent == self.process.pid]
        return next((each.pid for each in mine if " penstock run " in each.words), 0)

    def server_pid(self, name: str) -> int:
        """The process id of an embedded server, `nats` or `postgres`, as its identity file says."""
        return int(json.loads((self.data / "run" / f"{name}.json").read_text())["pid"])

    async def answers(self, *, timeout_s: float = 30.0) -> float:
        """Wait until the core is ready again; the seconds that took."""
        begun = time.monotonic()
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=timeout_s) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.http_url}/ready")).status_code == 200:
                        return time.monotonic() - begun
                await asyncio.sleep(0.05)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a counter's samples that have these labels."""
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"{self.http_url}/metrics")).text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in page.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(text in line for text in wanted))


def penstock(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command `penstock` of the build that an environment is for."""
    return environ.get(PYTHON, sys.executable), "-m", "penstock"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A user's environment with nothing of ours in it but folders below `folder` and a port of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {
        **kept,
        "PENSTOCK_TEST_FOLDER": str(folder),
        "PENSTOCK_DATA": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PENSTOCK_EDGE__PORT": str(loopback.free_port()),
        "PENSTOCK_SDK__LOG_LEVEL": "warning",
        "PENSTOCK_SERVERS__STOP_INTAKE_BELOW_BYTES": str(64 << 20),
        "PENSTOCK_SERVERS__RESUME_INTAKE_ABOVE_BYTES": str(96 << 20),
        **more,
    }


async def run(environ: Mapping[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a verb to its end; returns exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *penstock(environ),
        *arguments,
        env=dict(environ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def up(environ: Mapping[str, str]) -> AsyncGenerator[Installation]:
    """`penstock up`, ready; stopped in the end whatever happens, and never with a traceback."""
    installation = Installation(environ)
    try:
        await installation.ready()
        yield installation
    except BaseException:
        print(f"{installation.environ['PENSTOCK_DATA']} said:\n{installation.err[-LAST_WORDS:]}")
        raise
    finally:
        await installation.close()
    assert "Traceback" not in installation.err, installation.err


@contextlib.asynccontextmanager
async def app(
    installation: Installation, tenant: str, path: Path = ECHO, **more: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The echo app, or another, as its own process, once it listens; `more` variables for it alone."""
    environ = {**installation.environ, "PENSTOCK_TENANT": tenant, **more}
    async with apps.running(path, environ) as process:
        yield process
