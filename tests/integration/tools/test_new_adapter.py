"""`make new-adapter` in a copy of the tree: what it makes is sound at once, and says itself what is left to do."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
NEEDED = (
    "src",
    "tools",
    "docs",
    "examples",
    "tests/conformance",
    "tests/house",
    "tests/unit/channels",
    "pyproject.toml",
)
LEFT_TO_DO = ("replies", "edits", "deletions", "reactions", "removed_reactions", "pins", "attachments")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("new_adapter", ROOT / "tools" / "new_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copied(folder: Path) -> Path:
    """The tree as far as an adapter has to do with it."""
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """A program of Python's in the copy; its exit code, and all that it said."""
    environ = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_new_adapter_runs_at_once_and_says_what_is_left_to_do(tmp_path):
    tree = copied(tmp_path)
    code, said = run(tree, "tools/new_adapter.py", "gull")
    assert code == 0, said
    made = [line.split()[1] for line in said.splitlines() if line.startswith("made ")]
    assert all((tree / path).is_file() for path in made)
    python = [path for path in made if path.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        code, said = run(tree, "-m", "ruff", *check, *python, "src/penstock/channels/wiring.py")
        assert code == 0, said
    code, said = run(
        tree,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"),
        *("tests/conformance/test_channel_gull.py", "tests/unit/channels/adapters/test_channel_gull.py"),
        "tests/unit/channels/test_registry.py",
    )
    assert "1 failed" in said, said
    assert f"channel 'gull' breaks {len(LEFT_TO_DO)} promises" in said
    for promise in LEFT_TO_DO:
        assert f"reads_{promise}: " in said
    shown, _, _ = said.partition("short test summary info")  # which may repeat all of it
    assert shown.count("excuse the promise if there is none") == len(LEFT_TO_DO)
    assert "Carrier" not in "".join((tree / path).read_text() for path in made), "it has a name of its own"


@pytest.mark.parametrize("name", ["", "x", "Gull", "gull-two", "../gull", "1gull", "gull two", "g" * 32, "slack"])
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(tool, name, tmp_path):
    target = tmp_path / "src/penstock/channels/adapters/channel_slack.py"
    target.parent.mkdir(parents=True)
    target.touch()
    example = "examples/carrier"
    shutil.copytree(ROOT / example, tmp_path / example, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"NAME must be|already"):
        tool.scaffold(tmp_path, name)
    assert sorted(tmp_path.rglob("*")) == before
