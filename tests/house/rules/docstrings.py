"""Docstrings: every file says why it exists, every public name what it promises."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule


@rule(
    Broken({"src/a.py": "x = 1\n"}, "does not say why it exists"),
    Broken({"src/a.py": '"""\nSecond line first."""\n'}, "does not say why it exists"),
    Broken({"tests/unit/test_a.py": "x = 1\n"}, "does not say why it exists"),
)
def modules_say_why_they_exist(root: Path) -> list[str]:
    return [
        f"{file.name}: the first line does not say why it exists"
        for file in tree.python_files(root, *tree.EVERYWHERE)
        if not (ast.get_docstring(file.tree, clean=False) or "").partition("\n")[0].strip()
    ]


@rule(
    Broken({"src/a.py": "def f(): ...\n"}, "f has no docstring"),
    Broken({"src/a.py": "class C: ...\n"}, "C has no docstring"),
    Broken({"src/a.py": 'class C:\n    """Says."""\n    async def m(self): ...\n'}, "m has no docstring"),
    kept_by=(
        {"src/a.py": 'class C:\n    """Says."""\n    def __init__(self):\n        def inner(): ...\n'},
        # The name of a shipped test is a sentence already.
        {"src/a/testing/b.py": 'class C:\n    """Says."""\n    def test_m_holds(self): ...\n'},
    ),
)
def public_names_have_docstrings(root: Path) -> list[str]:
    """A promise of a shipped suite is a sentence already: the name of its test."""
    return [
        file.at(node, f"{node.name} has no docstring")
        for file in tree.python_files(root, *tree.PRODUCT, *tree.TOOLING)
        for node in _public(file.tree)
        if not ast.get_docstring(node)
    ]


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[tree.Function | ast.ClassDef]:
    for node in scope.body:
        if not isinstance(node, tree.Function | ast.ClassDef) or node.name.startswith(("_", "test_")):
            continue
        if any(tree.dotted(mark).endswith((".setter", "overload")) for mark in node.decorator_list):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node)
