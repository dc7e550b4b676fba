"""A rule of the building: a check over a tree of files, and trees that break it.

A rule cannot be declared without an example that it refuses: that is the proof that it can fail. `test_house.py` runs
every rule over this repository, and over each of its examples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Check = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Broken:
    """A tree that breaks a rule: contents by path, and a part of what the rule must say about it."""

    files: Mapping[str, str]
    says: str

    def build(self, root: Path) -> None:
        for name, text in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Rule:
    """A check (root of a tree -> one line for each violation), what breaks it, and trees that must pass."""

    name: str
    check: Check
    broken_by: tuple[Broken, ...]
    kept_by: tuple[Mapping[str, str], ...]


def rule(*broken_by: Broken, kept_by: tuple[Mapping[str, str], ...] = ()) -> Callable[[Check], Rule]:
    """Declare a check as a rule; `kept_by` are near misses that it must let pass."""
    if not broken_by:
        raise TypeError("a rule needs an example that breaks it")
    return lambda check: Rule(check.__name__, check, broken_by, kept_by)
