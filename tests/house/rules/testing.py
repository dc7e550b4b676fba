"""Tests: each can fail, none is switched off, none waits by the clock, and every adapter passes its port's suite."""

import ast
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

_SWITCHES = {"skip", "skipif", "xfail", "importorskip", "skipTest", "expectedFailure"}
_LONGEST_SLEEP_S = 0.5
# `until` and `eventually` poll a condition and fail at their deadline.
_VERDICTS = ("assert", "check", "eventually", "expect", "fail", "raises", "until", "verify", "warns")


@rule(
    Broken({"tests/unit/test_a.py": "import pytest\n@pytest.mark.skip\ndef test_a(): assert f()\n"}, "skip"),
    Broken({"tests/unit/test_a.py": "import pytest\ndef test_a():\n    pytest.skip('later')\n"}, "skip"),
    Broken({"tests/unit/test_a.py": "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): ...\n"}, "xfail"),
    Broken({"tests/unit/test_a.py": "from pytest import importorskip\n"}, "importorskip"),
)
def no_test_is_switched_off(root: Path) -> list[str]:
    found: list[str] = []
    for file in tree.python_files(root, "tests"):
        for node in ast.walk(file.tree):
            names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set[str]()
            if isinstance(node, ast.Attribute) and tree.dotted(node.value) in ("pytest", "pytest.mark", "unittest"):
                names = {node.attr}
            found += [file.at(node, f"{name}: a test runs or is deleted") for name in sorted(names & _SWITCHES)]
    return found


@rule(
    Broken({"tests/unit/test_a.py": "def test_a():\n    f()\n"}, "test_a cannot fail"),
    Broken(
        {"tests/unit/test_a.py": "class TestA:\n    async def test_b(self):\n        await f()\n"}, "test_b cannot fail"
    ),
    Broken({"tests/unit/test_a.py": "def given():\n    f()\ndef test_a():\n    given()\n"}, "test_a cannot fail"),
    kept_by=(
        {"tests/unit/test_a.py": "import pytest\ndef test_a():\n    with pytest.raises(ValueError):\n        f()\n"},
        {"tests/unit/test_a.py": "async def test_a():\n    await testing.check_spine(spine)\n"},
        {"tests/unit/test_a.py": "def refused(x):\n    assert not x\ndef test_a():\n    refused(f())\n"},
    ),
)
def every_test_can_fail(root: Path) -> list[str]:
    found: list[str] = []
    for file in tree.python_files(root, "tests"):
        judges = {function.name for function in file.functions() if any(map(_is_verdict, ast.walk(function)))}
        for function in file.functions():
            calls = {_last_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
            if function.name.startswith("test_") and function.name not in judges and not calls & judges:
                found.append(file.at(function, f"{function.name} cannot fail: it checks nothing"))
    return found


def _is_verdict(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _last_name(node.func).lstrip("_").startswith(_VERDICTS)
    return isinstance(node, ast.Assert)


def _last_name(node: ast.AST) -> str:
    return tree.dotted(node).rpartition(".")[2]


@rule(
    Broken({"tests/unit/test_a.py": "import asyncio\nasync def test_a():\n    await asyncio.sleep(1)\n"}, "sleeps"),
    Broken({"tests/unit/test_a.py": "import time\ndef test_a():\n    time.sleep(0.5)\n"}, "sleeps"),
    kept_by=({"tests/unit/test_a.py": "import asyncio\nasync def turn():\n    await asyncio.sleep(0.01)\n"},),
)
def no_test_sleeps(root: Path) -> list[str]:
    return [
        file.at(call, "sleeps; wait for an event, or poll with a deadline")
        for file in tree.python_files(root, "tests")
        for call in file.calls()
        if tree.dotted(call.func) in ("time.sleep", "asyncio.sleep")
        and call.args
        and _seconds(call.args[0]) >= _LONGEST_SLEEP_S
    ]


def _seconds(node: ast.expr) -> float:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else 0


@rule(
    Broken({"tests/unit/test_a.py": "from unittest import mock\n"}, "a fake"),
    Broken({"tests/unit/test_a.py": "from unittest.mock import Mock\n"}, "a fake"),
    Broken({"tests/unit/test_a.py": "import unittest.mock\n"}, "a fake"),
)
def fakes_not_mocks(root: Path) -> list[str]:
    return [
        file.at(node, "write a fake that passes the port's suite")
        for file in tree.python_files(root, "tests")
        for node in ast.walk(file.tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("unittest.mock") for alias in node.names))
    ]


# Pieces of adapters that others use as well, and why; their tests are unit tests.
_PIECES = {
    "extension": "loads the channels of other distributions, which pass the suite there, and is none itself",
    "standard_webhooks": "signs and verifies, and calls nobody; `penstock chat` signs what it sends to the core",
}
_WIRING = {"src/penstock/edge/wiring.py": "from penstock.spine.adapters import bus_nats\n"}


@rule(
    Broken(
        {**_WIRING, "src/penstock/spine/adapters/bus_nats.py": ""},
        "bus_nats.py: tests/conformance/test_bus_nats.py is missing",
    ),
    Broken(
        {
            "src/penstock/app/a.py": "from penstock.spine.adapters.nats import Bus\n",
            "src/penstock/spine/adapters/nats.py": "",
        },
        "nats.py: is not named <port>_<name>.py",
    ),
    Broken(
        {
            "src/penstock/app/a.py": "import penstock.spine.adapters.bus_nats\n",
            "src/penstock/spine/adapters/bus_nats/__init__.py": "",
        },
        "bus_nats: tests/conformance/test_bus_nats.py is missing",
    ),
    kept_by=(
        {
            **_WIRING,
            "src/penstock/spine/adapters/bus_nats.py": "from penstock.spine.adapters import link\n",
            "src/penstock/spine/adapters/link.py": "",
            "tests/conformance/test_bus_nats.py": "",
        },
    ),
)
def every_adapter_passes_its_suite(root: Path) -> list[str]:
    """An adapter is what somebody outside the folder chooses; the other files there are its pieces."""
    found: list[str] = []
    for folder in sorted((root / "src" / "penstock").glob("*/adapters")):
        for name in sorted(_chosen_from(root, folder)):
            path = next(iter(folder.glob(f"{name}.py")), folder / name)
            place, suite = path.relative_to(root).as_posix(), f"tests/conformance/test_{name}.py"
            if name in _PIECES:
                continue
            if "_" not in name:
                found.append(f"{place}: is not named <port>_<name>.py")
            elif not (root / suite).is_file():
                found.append(f"{place}: {suite} is missing")
    return found


def _chosen_from(root: Path, folder: Path) -> set[str]:
    package = ".".join(folder.relative_to(root / "src").parts)
    names: set[str] = set()
    for file in tree.python_files(root, *tree.PRODUCT):
        if folder not in file.path.parents:
            for imported in file.imports():
                if imported.startswith(f"{package}."):
                    names.add(imported.removeprefix(f"{package}.").partition(".")[0])
    return names
