"""A whole installation for end-to-end tests: `penstock up` as a user runs it, tenants by CLI, simulators, an app."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PENSTOCK = (sys.executable, "-m", "penstock")


class Installation:
    """A running `penstock up`. `environ` is what a user's shell would hold."""

    def __init__(
        self, environ: Mapping[str, str], process: asyncio.subprocess.Process, ready: Mapping[str, Any]
    ) -> None:
        self.environ, self.process, self.ready = dict(environ), process, ready

    @property
    def http_url(self) -> str:
        """Where the core listens."""
        return self.ready["http_url"]

    async def cli(self, *arguments: str) -> Any:
        """Run a verb with `--json`; returns its document. Fails the test on any other exit code than 0."""
        code, out, err = await self.run(*arguments, "--json")
        assert code == 0, f"penstock {' '.join(arguments)} exited {code}: {err}"
        return json.loads(out)

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run a verb; returns exit code, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            *PENSTOCK,
            *arguments,
            env=self.environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    def core_pid(self) -> int:
        """The process id of the core: the child of `up` that runs roles."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "penstock run"], capture_output=True, check=False
        )
        return int(children.stdout.split()[0])

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self.process.wait()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A user's environment with nothing of ours in it but the data folder and a config folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**kept, "PENSTOCK_DATA": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"), **more}


@contextlib.asynccontextmanager
async def up(environ: Mapping[str, str]) -> AsyncGenerator[Installation]:
    """`penstock up --json`, ready; stopped in the end whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *PENSTOCK, "up", "--json", env=dict(environ), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line, f"penstock up ended with {await process.wait()}"
        yield Installation(environ, process, json.loads(line))
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(60):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def app(
    installation: Installation, tenant: str, path: Path | None = None
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The echo app, or another, as its own process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(path or REPOSITORY / "examples" / "echo" / "app.py"),
        env={**installation.environ, "PENSTOCK_TENANT": tenant, "PENSTOCK_SDK__LOG_LEVEL": "warning"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.wait()
