"""Walls: `.importlinter` knows every room and every library, and gives a reason on each line."""

import configparser
import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house import tree
from tests.house.rule import Broken, rule

# Rooms whose files are not the words: mechanisms, each with files of its own.
_MECHANISMS = {
    "app",
    "base",
    "cli",
    "database",
    "messages",
    "outside",
    "sandbox",
    "sdk",
    "sealing",
    "servers",
    "spine",
    "state",
}
_LISTS_WITH_REASONS = {"layers", "ignore_imports", "allowed_importers"}
_HEAD = "[importlinter]\nroot_package = penstock\n"


def _option(root: Path, section: str, option: str) -> set[str]:
    parser = configparser.ConfigParser()
    parser.read_string((root / ".importlinter").read_text(encoding="utf-8"))
    lines = parser.get(f"importlinter:contract:{section}", option, fallback="").splitlines()
    return {line.strip() for line in lines} - {""}


@rule(
    Broken(
        {
            ".importlinter": _HEAD + "[importlinter:contract:words]\ncontainers =\n    penstock.edge\n",
            "src/penstock/edge/__init__.py": "",
            "src/penstock/tips/__init__.py": "",
        },
        "penstock.tips",
    ),
    Broken(
        {
            ".importlinter": _HEAD
            + "[importlinter:contract:words]\ncontainers =\n    penstock.edge\n    penstock.gone\n",
            "src/penstock/edge/__init__.py": "",
        },
        "penstock.gone",
    ),
)
def every_room_keeps_to_the_words(root: Path) -> list[str]:
    furnished = {f"penstock.{room.name}" for room in tree.rooms(root) if room.name not in _MECHANISMS}
    listed = _option(root, "words", "containers")
    return [
        *(f"{room} is not a container of the words contract in .importlinter" for room in sorted(furnished - listed)),
        *(f"{room} is a container in .importlinter and no room" for room in sorted(listed - furnished)),
    ]


@rule(
    Broken(
        {
            "pyproject.toml": '[project]\ndependencies = ["httpx>=0.28", "psycopg>=3"]\n',
            ".importlinter": _HEAD
            + "[importlinter:contract:vendors]\nforbidden_modules =\n    psycopg\n    requests\n",
        },
        "httpx",
    ),
    Broken(
        {
            "pyproject.toml": '[project]\ndependencies = ["psycopg[binary]>=3"]\n',
            ".importlinter": _HEAD + "[importlinter:contract:vendors]\nforbidden_modules =\n    psycopg\n",
        },
        "psycopg_binary",
    ),
    Broken(
        {
            "pyproject.toml": '[project]\ndependencies = ["httpx>=0.28"]\n',
            ".importlinter": _HEAD + "[importlinter:contract:vendors]\nforbidden_modules =\n    httpx\n    requests\n",
        },
        "requests",
    ),
)
def every_library_has_a_home(root: Path) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = _import_names(project["dependencies"])
    listed = _option(root, "vendors", "forbidden_modules")
    return [
        *(f"{name} is a dependency and not in the vendors contract" for name in sorted(installed - listed)),
        *(f"{name} is in the vendors contract and no dependency" for name in sorted(listed - installed)),
    ]


def _import_names(dependencies: list[str]) -> set[str]:
    """The top-level modules that these requirements, with their extras, bring; binaries bring none."""
    wanted: set[str] = set()
    for requirement in map(Requirement, dependencies):
        wanted.add(canonicalize_name(requirement.name))
        for needed in map(Requirement, metadata.requires(requirement.name) or []):
            extras = ({"extra": extra} for extra in requirement.extras)
            if needed.marker and not needed.marker.evaluate({"extra": ""}) and any(map(needed.marker.evaluate, extras)):
                wanted.add(canonicalize_name(needed.name))
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not module.startswith("_") and wanted & set(map(canonicalize_name, owners))
    }


@rule(
    Broken(
        {".importlinter": _HEAD + "[importlinter:contract:v]\nignore_imports =\n    # why\n    a -> b\n    c -> d\n"},
        "c -> d has no reason",
    ),
    Broken({".importlinter": _HEAD + "[importlinter:contract:v]\nlayers =\n    a\n"}, "a has no reason"),
    kept_by=({".importlinter": _HEAD + "[importlinter:contract:v]\nlayers =\n    # why\n    a\n    # too\n    b\n"},),
)
def every_line_has_a_reason(root: Path) -> list[str]:
    found: list[str] = []
    option, reason = "", False
    for line in (root / ".importlinter").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"\[|(\w+)\s*=", line):
            option, reason = heading.group(1) or "", False
        elif line.strip().startswith("#"):
            reason = True
        elif line.strip() and option in _LISTS_WITH_REASONS:
            if not reason:
                found.append(f".importlinter: {line.strip()} has no reason above it")
            reason = False
    return found
