"""The one place that prints: tables for people, JSON for programs, errors as one line with the next step."""

import dataclasses
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.base import errors

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
FORBIDDEN: Final = 3
NOT_FOUND: Final = 4
CONFLICT: Final = 5
RUNNING: Final = 6
RETRY: Final = 75


def exit_code(error: errors.PenstockError) -> int:
    """The exit code that an error asks for."""
    if isinstance(error, errors.Unavailable):
        return RETRY
    if not isinstance(error, errors.Rejected):
        return FAILED
    by_status = {401: FORBIDDEN, 403: FORBIDDEN, 404: NOT_FOUND, 409: CONFLICT, 400: USAGE}
    return by_status.get(error.status, FAILED)


def fail(error: errors.PenstockError, *, as_json: bool) -> int:
    """Say what went wrong on standard error; returns the exit code."""
    if as_json:
        field = error.field if isinstance(error, errors.Rejected) else ""
        document = {"code": error.code, "detail": error.detail, "hint": error.hint, "field": field}
        note(json.dumps({"error": document}))
    else:
        text = f"penstock: {error.detail}{_period(error.detail)} {error.hint}"
        note(" ".join(text.split()))
    return exit_code(error)


def _period(text: str) -> str:
    return "" if text.endswith((".", "!", "?")) else "."


def line(text: str = "") -> None:
    """One line for people."""
    sys.stdout.write(harmless(text) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line about what is going on, beside the result: on standard error."""
    sys.stderr.write(harmless(text) + "\n")
    sys.stderr.flush()


def harmless(text: str) -> str:
    """The text on one line, with what could steer a terminal or turn the writing around made visible."""
    return "".join(character if character.isprintable() else "�" for character in text)


def progress(done: int, total: int) -> None:
    """How far long work has come: one line that redraws itself on a terminal, every tenth elsewhere."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    elif done * 10 // total != (done - 1) * 10 // total:
        note(f"{done}/{total}")


def document(value: Any) -> None:
    """One JSON document on one line, in ASCII: any reader takes it, and no terminal is steered by it."""
    sys.stdout.write(json.dumps(value, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    return str(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Rows under column names, as wide as they need; `empty` when there are none."""
    if not rows:
        line(empty)
        return
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    for row in [[name.upper() for name in columns], *cells]:
        line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def cell(value: object) -> str:
    """One value as a line of text; what could steer a terminal is made visible."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return harmless(str(value))
