"""Documents: the two commands are on the first screen, links lead somewhere, and named make targets exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

_FIRST_SCREEN_LINES = 30
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAMED_TARGET = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def _documents(root: Path) -> Iterator[tuple[str, Path, str]]:
    for path in tree.all_files(root):
        if path.suffix == ".md":
            yield path.relative_to(root).as_posix(), path, path.read_text(encoding="utf-8")


@rule(
    Broken({"README.md": "make demo\n" + "\n" * 30 + "make test\n"}, "make test"),
    Broken({"README.md": "\n" * 29 + "make test\n"}, "make demo"),
    kept_by=({"README.md": "make demo\nmake test\n"},),
)
def the_first_screen_has_the_two_commands(root: Path) -> list[str]:
    first_screen = (root / "README.md").read_text(encoding="utf-8").splitlines()[:_FIRST_SCREEN_LINES]
    return [
        f"README.md: `{command}` is not within the first {_FIRST_SCREEN_LINES} lines"
        for command in ("make demo", "make test")
        if not any(command in line for line in first_screen)
    ]


@rule(
    Broken({"docs/a.md": "see [b](b.md)\n"}, "docs/a.md: b.md"),
    Broken({"docs/a.md": "see [b](../src/b/#x)\n"}, "docs/a.md: ../src/b/"),
    kept_by=({"docs/a.md": "[b](b.md#x) [c](https://example.org) [d](#d)\n", "docs/b.md": ""},),
)
def links_lead_somewhere(root: Path) -> list[str]:
    return [
        f"{name}: {target} leads nowhere"
        for name, path, text in _documents(root)
        for target in (link.partition("#")[0] for link in _LINK.findall(text))
        if target and "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    ]


@rule(
    Broken({"Makefile": "test:\n", "docs/a.md": "run `make tests`\n"}, "make tests"),
    Broken({"Makefile": "test:\n", "README.md": "```sh\nmake demo\n```\n"}, "make demo"),
    kept_by=({"Makefile": "check-lock: test\n", "docs/a.md": "run `make check-lock`; to make do\n"},),
)
def named_targets_exist(root: Path) -> list[str]:
    targets = set(_TARGET.findall((root / "Makefile").read_text(encoding="utf-8")))
    return [
        f"{name}: `make {target}` is no target"
        for name, _, text in _documents(root)
        for target in sorted(set(_NAMED_TARGET.findall(text)) - targets)
    ]
