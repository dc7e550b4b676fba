"""Reference pages are what the code makes, and a setting without a meaning cannot be documented."""

import dataclasses
import subprocess
import sys

import pytest

from tests.house import tree

generate = tree.load_script("docs/generate.py")


@dataclasses.dataclass(frozen=True)
class Explained:
    """For tests."""

    port: int = 0
    """TCP port.
    0: any."""


@dataclasses.dataclass(frozen=True)
class Unexplained:
    """For tests."""

    host: str
    port: int = 0
    """TCP port."""


def test_the_pages_are_what_the_code_makes():
    """In a process of its own: other tests load modules and register metrics."""
    script = tree.REPOSITORY / "docs" / "generate.py"
    ended = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_field_has_the_docstring_under_it():
    assert generate.field_docstrings(Explained) == {"port": "TCP port. 0: any."}


def test_a_field_without_one_is_refused():
    with pytest.raises(KeyError, match=r"Unexplained\.host has no docstring"):
        generate.field_docstrings(Unexplained)
