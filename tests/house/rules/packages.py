"""Packages: plain doors, and what import-linter does not see (folders without `__init__`, imports by name)."""

import ast
import tomllib
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

# A package that promises names, and why.
_DOORS = {
    "src/penstock/sdk/__init__.py": "the promised surface for authors of apps",
    "src/penstock/__init__.py": "carries the version",
}
# Code that imports by name, and why it must.
_IMPORTS_BY_NAME: dict[str, str] = {}


@rule(
    Broken(
        {"src/penstock/edge/__init__.py": '"""Why."""\n\nfrom penstock.edge import model\n'}, "more than a docstring"
    ),
    Broken({"src/penstock/edge/__init__.py": ""}, "more than a docstring"),
    kept_by=(
        {"src/penstock/edge/__init__.py": '"""Why."""\n'},
        {"src/penstock/sdk/__init__.py": '"""Why."""\n\nfrom penstock.spine import worker\n'},
    ),
)
def packages_are_one_docstring(root: Path) -> list[str]:
    return [
        f"{file.name}: holds more than a docstring, or none"
        for file in tree.python_files(root, *tree.PRODUCT)
        if file.path.name == "__init__.py" and file.name not in _DOORS and not _is_one_docstring(file.tree)
    ]


def _is_one_docstring(module: ast.Module) -> bool:
    return len(module.body) == 1 and ast.get_docstring(module) is not None


@rule(Broken({"src/penstock/edge/model.py": ""}, "src/penstock/edge: has no __init__.py"))
def folders_of_python_are_packages(root: Path) -> list[str]:
    folders = {file.path.parent for file in tree.python_files(root / "src", "penstock")}
    return [
        f"{folder.relative_to(root).as_posix()}: has no __init__.py, so import-linter does not see it"
        for folder in sorted(folders)
        if not (folder / "__init__.py").is_file()
    ]


@rule(
    Broken({"src/a.py": "import importlib\nroom = importlib.import_module('penstock.edge')\n"}, "imports by name"),
    Broken({"src/a.py": "from importlib import import_module\n"}, "imports by name"),
    Broken({"src/a.py": "room = __import__('penstock.edge')\n"}, "imports by name"),
    Broken({"src/a.py": "import runpy\n"}, "imports by name"),
    kept_by=({"src/a.py": "from importlib import metadata, resources\n"},),
)
def nothing_is_imported_by_name(root: Path) -> list[str]:
    return [
        file.at(node, "imports by name at run time, behind import-linter's back")
        for file in tree.python_files(root, *tree.PRODUCT)
        if file.name not in _IMPORTS_BY_NAME
        for node in ast.walk(file.tree)
        if _imports_by_name(node)
    ]


def _imports_by_name(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name("__import__")) | ast.Attribute(attr="import_module" | "spec_from_file_location"):
            return True
        case ast.Import(names):
            return any(alias.name == "runpy" for alias in names)
        case ast.ImportFrom(module="importlib" | "importlib.util", names=names):
            return any(alias.name in ("import_module", "spec_from_file_location") for alias in names)
        case _:
            return False


@rule(
    Broken({"src/a.py": "from google.cloud import storage\n"}, "google.cloud"),
    Broken({"src/a.py": "import google.auth\n"}, "google.auth"),
    kept_by=({"src/a.py": "from google.protobuf import message\n"},),
)
def google_means_protobuf(root: Path) -> list[str]:
    """The vendors contract knows only the first name of a library, and this one is shared."""
    return [
        f"{file.name}: {name} is another vendor than google.protobuf"
        for file in tree.python_files(root, *tree.PRODUCT)
        for name in file.imports()
        if name.split(".")[0] == "google" and not name.startswith("google.protobuf")
    ]


_SCRIPT = {"pyproject.toml": '[project.scripts]\npenstock = "penstock.cli.main:main"\n'}


@rule(
    Broken({**_SCRIPT, "src/penstock/cli/__init__.py": ""}, "penstock.cli.main"),
    Broken({**_SCRIPT, "src/penstock/cli/main.py": "application = 1\n"}, "penstock.cli.main:main"),
    kept_by=({**_SCRIPT, "src/penstock/cli/main.py": "def main(): ...\n"},),
)
def every_command_has_its_function(root: Path) -> list[str]:
    """A script whose target is a module, or nothing, installs well and fails when somebody runs it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = []
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        places = [file for file in tree.python_files(root / "src", "penstock") if _module(file.name) == module]
        defined = {node.name for file in places for node in file.tree.body if isinstance(node, tree.Function)}
        if function not in defined:
            found.append(f"pyproject.toml: the command {name} is {target}, which is no function")
    return found


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
