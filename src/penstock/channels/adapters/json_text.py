"""Says what is wrong with the text of a JSON document, by the path of the field, for bodies that strangers wrote.

msgspec is fast but says little about text: it finds no NUL, and names no field when bytes are not UTF-8 or a surrogate
is alone. So what it refuses, or what looks suspicious, is looked at again here, slowly.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, cast

from penstock.base import errors

DEPTH: Final = 32
"""How deep objects and arrays may lie in one another."""

NODES: Final = 20_000
"""How many objects and arrays one document may hold."""

PATH_LENGTH: Final = 200
"""Characters of a path that are shown."""

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def is_suspicious(body: bytes) -> bool:
    """Whether `body`, which msgspec has read, may hold a NUL: cheap, and wrong only by saying yes.

    Lone surrogates msgspec refuses by itself, wherever they stand; pairs are every emoji that a platform escapes.
    """
    return b"\\u0000" in body


def check_text(body: bytes) -> None:
    """Raise Rejected (400) naming the first field that is not UTF-8, or holds a NUL or a lone surrogate."""
    # What is not UTF-8 becomes lone surrogates, so that one walk finds both.
    text = body.decode("utf-8", "surrogateescape")
    try:
        document: object = json.loads(text, strict=False)
    except RecursionError:
        raise too_deep() from None
    except ValueError:
        raise errors.Rejected("bad_json", "the body is not UTF-8 JSON", field="body") from None
    for steps, value in _texts(document):
        if "\0" in value:
            path = _path(steps)
            raise errors.Rejected("bad_text", f"{path} must not hold a NUL character", field=path)
        if _SURROGATE.search(value):
            path = _path(steps)
            raise errors.Rejected("bad_text", f"{path} must be valid UTF-8 without lone surrogates", field=path)


def check_depth(body: bytes) -> None:
    """Raise Rejected (400) when valid JSON is nested deeper than DEPTH or has more than NODES containers."""
    if body.count(b"[") + body.count(b"{") <= DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * NODES:
        raise errors.Rejected("too_large", f"the body holds more than {NODES} objects and arrays", field="body")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH:
            raise too_deep()


def too_deep() -> errors.Rejected:
    """The refusal of a document that is nested too deeply."""
    return errors.Rejected("too_deep", f"the body nests more than {DEPTH} objects and arrays", field="body")


def _texts(document: object) -> Iterator[tuple[Sequence[str | int], str]]:
    """Every text in a document with the steps (names and indexes) from the document down to it; a key leads to itself.

    The steps are one list that changes as the walk goes on: writing out every path would cost a small body gigabytes.
    """
    steps: list[str | int] = [0]
    levels: list[Iterator[tuple[str | int, object]]] = [iter([(0, document)])]
    while levels:
        for step, value in levels[-1]:
            steps[-1] = step
            if isinstance(step, str):
                yield steps, step
            if isinstance(value, str):
                yield steps, value
            elif isinstance(value, list | dict):
                levels.append(_inside(cast("list[object] | dict[str, object]", value)))
                steps.append(0)
                break
        else:
            levels.pop()
            steps.pop()


def _inside(value: list[object] | dict[str, object]) -> Iterator[tuple[str | int, object]]:
    return iter(value.items()) if isinstance(value, dict) else enumerate(value)


def _path(steps: Sequence[str | int]) -> str:
    """`data.attachments[0].name` (the first step is the document itself); cut short where a stranger made it long."""
    path = ""
    for step in steps[1:]:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            shown = ascii(step[:40])[1:-1]
            path += f".{shown}" if path else shown
        if len(path) > PATH_LENGTH:
            return path[:PATH_LENGTH] + "..."
    return path or "body"
