"""Reads a tree of source files for the rules, by text and syntax tree, without importing what it reads."""

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCT = ("src",)
TOOLING = ("bench", "docs", "examples", "proto", "tools")
EVERYWHERE = (*PRODUCT, *TOOLING, "tests")
_NOT_OURS = {
    ".venv",
    ".git",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "node_modules",
    "out",
    "dist",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile:
    """One Python file: where it is (`name` is relative to the root, with slashes) and what it says."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.text, self.tree = _parse(path, path.stat().st_mtime_ns)

    def at(self, node: ast.AST, words: str) -> str:
        """One violation, with its place."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}: {words}"

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def calls(self) -> Iterator[ast.Call]:
        """Every call."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def imports(self) -> Iterator[str]:
        """The dotted name of everything that is imported, wherever the statement stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def _parse(path: Path, _modified_ns: int) -> tuple[str, ast.Module]:
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text, str(path))


def python_files(root: Path, *folders: str) -> list[SourceFile]:
    """Every Python file that a person wrote below the named folders of `root`."""
    paths = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return [SourceFile(root, path) for path in paths if not _is_generated(path.relative_to(root))]


def _is_generated(relative: Path) -> bool:
    return bool(_NOT_OURS & set(relative.parts)) or relative.parts[:4] == ("src", "penstock", "messages", "v1")


def all_files(root: Path) -> list[Path]:
    """Every file that could be committed, of any kind."""
    found: list[Path] = []
    folders = [root]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in _NOT_OURS or path.name == ".venv.lock":
                continue
            if path.is_dir() and not path.is_symlink():
                folders.append(path)
            elif path.is_file():
                found.append(path)
    return found


def rooms(root: Path) -> list[Path]:
    """The packages directly inside `penstock`."""
    house = root / "src" / "penstock"
    return (
        sorted(path for path in house.iterdir() if path.is_dir() and path.name != "__pycache__")
        if house.is_dir()
        else []
    )


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def load_script(name: str) -> ModuleType:
    """Import a script of this repository by its path, such as `tools/lock.py`."""
    path = REPOSITORY / name
    module_name = "script_" + name.removesuffix(".py").replace("/", "_")
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    return sys.modules[module_name]
