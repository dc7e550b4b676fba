"""Reference pages are what the code makes, and a setting without a meaning cannot be documented."""

import dataclasses

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
    for name, text in (("settings.md", generate.settings_page()), ("cli.md", generate.command_page())):
        page = generate.REFERENCE / name
        assert page.read_text(encoding="utf-8") == text, f"docs/reference/{name}: run `make docs`"


def test_a_field_has_the_docstring_under_it():
    assert generate.field_docstrings(Explained) == {"port": "TCP port. 0: any."}


def test_a_field_without_one_is_refused():
    with pytest.raises(KeyError, match=r"Unexplained\.host has no docstring"):
        generate.field_docstrings(Unexplained)
