"""Calls the command line in this process as a shell would: arguments and environment in; exit code and texts out."""

import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
from collections.abc import Generator, Mapping
from typing import Any

from penstock.cli import main


@dataclasses.dataclass
class Outcome:
    """What a shell sees of a verb that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The one JSON document on standard error."""
        return json.loads(self.err)["error"]


def call(*arguments: str, environ: Mapping[str, str] | None = None) -> Outcome:
    """Run one verb to its end."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict") for _ in range(2)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment(environ or {}))
        stack.enter_context(_arguments(arguments))
        for number in (signal.SIGINT, signal.SIGTERM):  # a verb is a process, and leaves its own handlers behind
            stack.callback(signal.signal, number, signal.getsignal(number))
        stack.enter_context(contextlib.redirect_stdout(streams[0]))
        stack.enter_context(contextlib.redirect_stderr(streams[1]))
        try:
            main.main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    out, err = (_read(stream) for stream in streams)
    return Outcome(code, out, err)


def _read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update({"COLUMNS": "80", "TERM": "dumb", **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _arguments(arguments: tuple[str, ...]) -> Generator[None]:
    before, sys.argv = sys.argv, ["penstock", *arguments]
    try:
        yield
    finally:
        sys.argv = before
