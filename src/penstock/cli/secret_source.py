"""Where a secret comes from on the command line: a file, standard input, a variable, or a question; never an argument.

Arguments stand in the list of processes and in the shell's history, where anybody on the machine may read them.
"""

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from penstock.base import settings

if TYPE_CHECKING:
    from penstock.channels import ports

MOST_BYTES: Final = 64 * 1024
SOURCES: Final = "@FILE, - (standard input), env:NAME, or ask"


def kind_of(text: str, option: str) -> "ports.SecretKind":
    """A kind of secret by its name. Raises BadParameter."""
    from penstock.channels import ports

    try:
        return ports.SecretKind(text)
    except ValueError:
        known = ", ".join(ports.SecretKind)
        raise typer.BadParameter(f"there are these kinds of secret: {known}", param_hint=option) from None


def several(values: Sequence[str] | None, option: str) -> "dict[ports.SecretKind, settings.Secret]":
    """Secrets from `kind=source`, each kind once and standard input once. Raises BadParameter, quoting no source."""
    found: dict[ports.SecretKind, settings.Secret] = {}
    asked = [value.partition("=") for value in values or []]
    if sum(source == "-" for _, _, source in asked) > 1:
        raise typer.BadParameter("standard input holds one secret only", param_hint=option)
    for name, _, source in asked:
        kind = kind_of(name, option)
        if kind in found:
            raise typer.BadParameter(f"{kind} is given twice", param_hint=option)
        found[kind] = read(source or "ask", kind, option)
    return found


def read(source: str, what: str, option: str) -> settings.Secret:
    """One secret, without the line break at its end. Raises BadParameter, never quoting what it could be."""
    if source == "-" and not sys.stdin.isatty():
        text = _decoded(sys.stdin.buffer.read(MOST_BYTES + 1), option)
    elif source in ("-", "ask"):
        text = _asked(what, option)
    elif source.startswith("@"):
        text = _decoded(_file(Path(source[1:]), option), option)
    elif source.startswith("env:"):
        text = _variable(source[4:], option)
    else:
        raise typer.BadParameter(f"a secret is never an argument; it comes from {SOURCES}", param_hint=option)
    text = text.rstrip("\r\n")
    if not text:
        raise typer.BadParameter("it is empty", param_hint=option)
    return settings.Secret(text)


def may_ask() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _asked(what: str, option: str) -> str:
    if not may_ask():
        raise typer.BadParameter("there is no terminal to ask on", param_hint=option)
    try:
        return getpass.getpass(f"{what} secret (not shown): ")
    except EOFError:
        raise typer.BadParameter("nothing was typed", param_hint=option) from None


def _file(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=option) from None


def _variable(name: str, option: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise typer.BadParameter(f"there is no variable {name}", param_hint=option)
    return text


def _decoded(raw: bytes, option: str) -> str:
    if len(raw) > MOST_BYTES:
        raise typer.BadParameter(f"it is larger than {MOST_BYTES} bytes", param_hint=option)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise typer.BadParameter("it is not UTF-8", param_hint=option) from None
