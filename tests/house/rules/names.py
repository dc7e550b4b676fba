"""Names of files and folders: plain nouns that say what is inside."""

import re
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

_DRAWERS = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "misc",
    "manager",
    "managers",
    "core",
    "shared",
    "impl",
    "lib",
}
# A published version, and the field's own word for tests from end to end.
_NUMBERED = re.compile(r"v\d+|e2e")


@rule(
    Broken({"src/penstock/edge/utils.py": ""}, "utils is a drawer"),
    Broken({"src/penstock/edge/core/http.py": ""}, "core is a drawer"),
    Broken({"tests/unit/helpers.py": ""}, "helpers is a drawer"),
    Broken({"src/penstock/edge/base_server.py": ""}, "base_server"),
    Broken({"src/penstock/edge/model2.py": ""}, "a number"),
    kept_by=({"src/penstock/base/ids.py": "", "src/penstock/edge/v1/http.py": ""},),
)
def files_have_plain_names(root: Path) -> list[str]:
    found: list[str] = []
    for file in tree.python_files(root, *tree.EVERYWHERE):
        for part in Path(file.name).with_suffix("").parts:
            word = part.removeprefix("test_")
            if word in _DRAWERS:
                found.append(f"{file.name}: {word} is a drawer; name what is inside")
            elif word.startswith("base_"):
                found.append(f"{file.name}: {word}: name what it is, not what is built on it")
            elif re.search(r"\d", word) and not _NUMBERED.fullmatch(word):
                found.append(f"{file.name}: a number in a name says nothing")
    return found
