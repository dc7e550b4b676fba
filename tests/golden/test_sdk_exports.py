"""The promised surface of the SDK: every name, its public members, and the names of their parameters.

A line that goes is a break for authors of apps. `REFRESH=1 pytest tests/golden/test_sdk_exports.py` writes the file;
the change then shows in review.
"""

import enum
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock import sdk
from penstock.sdk import testing

GOLDEN = Path(__file__).with_name("sdk_exports.txt")
TESTING = ("conversation", "Conversation")
NOT_MADE_BY_AUTHORS = ("Message", "Conversation")


def parameters(function: Any) -> str:
    signature = inspect.signature(function)
    marked = (f"{'*' if p.kind is p.KEYWORD_ONLY else ''}{p.name}" for p in signature.parameters.values())
    return f"({', '.join(name for name in marked if name != 'self')})"


def members(owner: type) -> Iterator[str]:
    if issubclass(owner, enum.Enum):
        yield from (f"{member.name} = {member.value}" for member in owner)
        return
    for name in sorted({*dir(owner), *getattr(owner, "__annotations__", ())}):
        if not name.startswith("_") and name not in dir(Exception):
            member = inspect.getattr_static(owner, name, None)
            yield f"{name}{parameters(member)}" if inspect.isfunction(member) else name


def surface() -> Iterator[str]:
    exported = {f"sdk.{name}": getattr(sdk, name) for name in sdk.__all__}
    exported |= {f"sdk.testing.{name}": getattr(testing, name) for name in TESTING}
    for name, value in exported.items():
        if inspect.isclass(value):
            bare = issubclass(value, enum.Enum) or value.__name__ in NOT_MADE_BY_AUTHORS
            yield name if bare else f"{name}{parameters(value)}"
            yield from (f"{name}.{member}" for member in members(value))
        else:
            yield f"{name}{parameters(value)}" if inspect.isfunction(value) else name
    app = sdk.App("golden")
    yield from sorted(f"sdk.App.{name}{parameters(value)}" for name, value in vars(app).items() if name[:3] == "on_")


def test_the_sdk_is_what_was_promised() -> None:
    text = "".join(f"{line}\n" for line in surface())
    if os.environ.get("REFRESH"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
