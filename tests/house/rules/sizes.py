"""Sizes: what does not fit on a few screens is split."""

import ast
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

FILE_LINES = 500
FUNCTION_LINES = 60
PARAMETERS = 6


@rule(Broken({"src/penstock/edge/model.py": "x = 1\n" * 501}, "501 lines"), kept_by=({"src/a.py": "x = 1\n" * 500},))
def files_are_short(root: Path) -> list[str]:
    return [
        f"{file.name}: {lines} lines; split the word into a folder"
        for file in tree.python_files(root, *tree.EVERYWHERE)
        if (lines := file.text.count("\n")) > FILE_LINES
    ]


@rule(
    Broken({"src/a.py": "def f():\n" + "    x = 1\n" * 60}, "f is 61 lines"),
    Broken({"src/a.py": "class C:\n    async def g(self):\n" + "        x = 1\n" * 60}, "g is 61 lines"),
    kept_by=({"src/a.py": "def f():\n" + "    x = 1\n" * 59},),
)
def functions_are_short(root: Path) -> list[str]:
    return [
        file.at(function, f"{function.name} is {lines} lines; name its steps")
        for file in tree.python_files(root, *tree.EVERYWHERE)
        for function in file.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]


@rule(
    Broken({"src/a.py": "def f(a, b, c, *, d, e, g, h): ...\n"}, "f takes 7"),
    Broken({"src/a.py": "class C:\n    def f(self, a, b, c, d, e, g, *h): ...\n"}, "f takes 7"),
    kept_by=(
        {"src/a.py": "class C:\n    def f(self, a, b, c, *, d, e, g): ...\n"},
        {"src/a.py": "@app.command()\ndef f(a, b, c, d, e, g, h): ...\n"},
    ),
)
def functions_take_few_parameters(root: Path) -> list[str]:
    return [
        file.at(function, f"{function.name} takes {count} parameters; group what belongs together")
        for file in tree.python_files(root, *tree.PRODUCT, *tree.TOOLING)
        for function in file.functions()
        if (count := _parameters(function.args)) > PARAMETERS and not _is_command(function)
    ]


def _is_command(function: tree.Function) -> bool:
    """A Typer command's parameters are the options that people see; they cannot be grouped."""
    return any(
        isinstance(mark, ast.Call) and tree.dotted(mark.func).endswith(".command") for mark in function.decorator_list
    )


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return len(named) + len(arguments.kwonlyargs) + sum(map(bool, (arguments.vararg, arguments.kwarg)))
