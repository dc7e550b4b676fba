"""Runs what a page of the documents tells people to type, as they would type it: in a shell, line by line.

Lines that go on until Ctrl-C run beside the others, each in a terminal of its own. What a page leaves open (an id, what
is typed after a command) the test says.
"""

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e import installation, processes

DOCUMENTS = installation.REPOSITORY / "docs"
_FILES = re.compile(r"^```python\n# file: (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENDS_S = 120.0


def files(page: str) -> dict[str, str]:
    """The files that a page tells people to write."""
    return dict(_FILES.findall((DOCUMENTS / page).read_text("utf-8")))


def lines(page: str) -> list[str]:
    """The commands of a page, in order, without the comments beside them."""
    blocks = _SHELL.findall((DOCUMENTS / page).read_text("utf-8"))
    found = [re.sub(r"\s+# .*$", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in found if line.strip() and not line.startswith("#")]


@dataclasses.dataclass
class Shell:
    """Somebody's terminals, in a folder of their own with the checkout's examples in it."""

    folder: Path
    environ: Mapping[str, str]

    def __post_init__(self) -> None:
        (self.folder / "examples").symlink_to(installation.REPOSITORY / "examples")
        programs = str(Path(sys.executable).parent)
        self.environ = {**self.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        self._beside: list[tuple[subprocess.Popen[bytes], Path]] = []

    async def run(self, line: str, typed: str = "") -> str:
        """A command to its end, which must be a good one; what it printed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-ec", line),
            cwd=self.folder,
            env=dict(self.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(ENDS_S):
                out, err = await process.communicate(typed.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{line}: {out.decode()}{err.decode()}"
        return out.decode()

    async def stay(self, line: str, until: str) -> Path:
        """A command in a terminal of its own, once its output holds `until`; the file that it prints to."""
        path = self.folder / f"terminal-{len(self._beside)}.txt"
        process = self._start(line, path)
        self._beside.append((process, path))
        await processes.until(
            lambda: until in path.read_text("utf-8") or process.poll() is not None, line, timeout_s=ENDS_S
        )
        assert process.poll() is None, f"{line} ended: {path.read_text('utf-8')}"
        return path

    def _start(self, line: str, path: Path) -> subprocess.Popen[bytes]:
        with path.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-c", f"exec env {line}"],
                cwd=self.folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def close(self) -> None:
        """Ctrl-C in each terminal, the last one first; whatever ends badly fails the test."""
        failed: list[str] = []
        for process, path in reversed(self._beside):
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(ENDS_S)
            finally:
                process.kill()
            if code not in {0, 130} or "Traceback" in path.read_text("utf-8"):
                failed.append(f"{code}: {path.read_text('utf-8')}")
        assert failed == []
