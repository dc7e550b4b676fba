"""Every verb of the command line, with its path."""

from collections.abc import Iterator
from typing import Any

import typer.main

from penstock.cli import main


def commands(name: str = "penstock", command: Any = None) -> Iterator[tuple[str, Any]]:
    """The path and the command of every group and verb, groups first."""
    found = command or typer.main.get_command(main.application)
    yield name, found
    for child, below in getattr(found, "commands", {}).items():
        yield from commands(f"{name} {child}", below)


def verbs() -> dict[str, Any]:
    """Verbs only, by path without `penstock`."""
    return {
        name.removeprefix("penstock "): command
        for name, command in commands()
        if not getattr(command, "commands", None)
    }
