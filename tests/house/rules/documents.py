"""Documents: the two commands are on the first screen, pages are in the index, and what pages name is there."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

_FIRST_SCREEN_LINES = 30
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAMED_TARGET = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
_GUARANTEES = "docs/explanation/delivery-guarantees.md"
_NAMED_TEST = re.compile(r"`((?:unit|conformance|integration|e2e|house|golden)/[^`\s]*)`")
_FUNCTION = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
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


@rule(
    Broken({"docs/README.md": "[a](how-to/a.md)\n", "docs/how-to/b.md": ""}, "docs/how-to/b.md"),
    Broken({"docs/README.md": "how-to/b.md\n", "docs/how-to/b.md": ""}, "docs/how-to/b.md"),
    kept_by=(
        {"docs/README.md": "[a](how-to/a.md)\n[all](reference)\n", "docs/how-to/a.md": "", "docs/reference/b.md": ""},
    ),
)
def every_page_is_in_the_index(root: Path) -> list[str]:
    """By itself, or by the folder that it is in."""
    index = root / "docs" / "README.md"
    listed = {link.partition("#")[0].rstrip("/") for link in _LINK.findall(index.read_text(encoding="utf-8"))}
    pages = sorted(path.relative_to(index.parent) for path in index.parent.rglob("*.md") if path != index)
    return [
        f"docs/{page.as_posix()}: docs/README.md does not list it"
        for page in pages
        if page.as_posix() not in listed and page.parent.as_posix() not in listed
    ]


@rule(
    Broken({_GUARANTEES: "| a | b | `e2e/test_a.py` |\n"}, "e2e/test_a.py"),
    Broken({_GUARANTEES: "| a | b | c |\n"}, "proved by no test"),
    Broken({_GUARANTEES: "`unit/test_a.py::test_b`\n", "tests/unit/test_a.py": "def test_c(): ...\n"}, "test_b"),
    kept_by=(
        {
            _GUARANTEES: "| a | b | `unit/a`, `unit/test_b.py`, `unit/test_b.py::test_c` |\n",
            "tests/unit/a/test_a.py": "",
            "tests/unit/test_b.py": "async def test_c(): ...\n",
        },
        {"docs/README.md": ""},
    ),
)
def every_guarantee_names_tests_that_are_there(root: Path) -> list[str]:
    """Each row of the table names a test, by its file, its folder, or as `file::test`."""
    page = root / _GUARANTEES
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    unproved = [
        f"{_GUARANTEES}: proved by no test: {row[:80]}"
        for row in rows[1 if len(rows) > 1 else 0 :]
        if not _NAMED_TEST.search(row)
    ]
    return unproved + [
        f"{_GUARANTEES}: there is no test {named}" for named in _NAMED_TEST.findall(text) if not _is_test(root, named)
    ]


def _is_test(root: Path, named: str) -> bool:
    place, _, function = named.partition("::")
    path = root / "tests" / place
    if function:
        return path.is_file() and function in _FUNCTION.findall(path.read_text(encoding="utf-8"))
    return path.exists()
