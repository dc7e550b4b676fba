"""The contracts of `.importlinter` stand in this repository, and each refuses what it was written against."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.house import tree

_LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def lint(root):
    """What import-linter says about the tree at `root`, and whether every contract is kept."""
    finished = subprocess.run(
        [sys.executable, "-c", _LINT, "--no-logo", "--no-cache", "--config", str(tree.REPOSITORY / ".importlinter")],
        cwd=root,
        # The copy comes before the checkout that is installed.
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(tree.REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def plant(copy):
    """Put a file into the copy for one test."""
    planted = []

    def put(name, text):
        path = copy / "src" / "penstock" / name
        assert not path.exists()
        path.write_text(f'"""Planted."""\n\n{text}\n', encoding="utf-8")
        planted.append(path)

    yield put
    for path in planted:
        path.unlink()


def test_every_contract_is_kept(copy):
    kept, said = lint(copy)
    assert kept, said


@pytest.mark.parametrize(
    ("name", "text", "contract"),
    [
        pytest.param("state/planted.py", "import penstock.channels.ports", "Imports only go down", id="upwards"),
        pytest.param("edge/model_planted.py", "import penstock.tenancy.service", "siblings never", id="sibling"),
        pytest.param("planted.py", "", "siblings never import each other", id="new-top-file"),
        pytest.param("base/planted.py", "", "Base holds these modules", id="new-base-file"),
        pytest.param("channels/planted.py", "", "Rooms are furnished", id="new-word"),
        pytest.param("channels/model/planted.py", "import penstock.channels.service", "Rooms are", id="word-upwards"),
        pytest.param("edge/entrypoints/planted.py", "import penstock.edge.wiring", "A room's wiring", id="wiring"),
        pytest.param("edge/entrypoints/planted.py", "import penstock.spine.adapters", "Adapters are", id="adapter"),
        pytest.param("sdk/planted.py", "import penstock.database.pool", "The SDK loads", id="sdk"),
        pytest.param("sdk/planted.py", "import psycopg", "The SDK loads", id="sdk-driver"),
        pytest.param("edge/entrypoints/planted.py", "import psycopg", "A vendor's library", id="vendor"),
        pytest.param(
            "state/planted.py", "def f():\n    import nats.aio.client", "A vendor's library", id="late-import"
        ),
    ],
)
def test_a_contract_refuses(copy, plant, name, text, contract):
    plant(name, text)
    kept, said = lint(copy)
    assert not kept
    broken = [line for line in said.splitlines() if "BROKEN" in line]
    assert any(contract in line for line in broken), said
