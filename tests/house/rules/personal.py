"""Personal data: every column of every table says whether it is about a person, and what erasing that person does."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.house.rule import Broken, rule

_COMMENT = re.compile(r"--.*")
_BODY = re.compile(r"\$\$.*?\$\$", re.DOTALL)
_CREATE = re.compile(r"\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?([\w.]+)\s*\(", re.IGNORECASE)
_ALTER = re.compile(r"\balter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?([\w.]+)\s+([^;]*);", re.IGNORECASE)
_ADD = re.compile(r"\badd\s+(?:column\s+)?(?:if\s+not\s+exists\s+)?(\w+)", re.IGNORECASE)
_DROP = re.compile(r"\bdrop\s+(?:column\s+)?(?:if\s+exists\s+)?(\w+)", re.IGNORECASE)
_RENAME = re.compile(r"\brename\s+(?:column\s+)?(\w+)\s+to\s+(\w+)", re.IGNORECASE)
_NO_COLUMN = {"primary", "unique", "foreign", "check", "constraint", "exclude", "like"}
_KEYS = {"about", "erasing"}

_SQL = "create table a (\n    tenant text not null,\n    body bytea, -- words\n    primary key (tenant)\n);\n"
_TOML = '[a]\nplain = ["tenant"]\nbody = { about = "who wrote it", erasing = "is removed" }\n'
_PLACE = "src/penstock/edge/migrations/0001_a.sql"
_DECLARED = "src/penstock/edge/personal.toml"


def _folders(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in (root / "src").rglob("migrations") if path.is_dir())


@rule(
    Broken({_PLACE: _SQL}, "a.body: say in personal.toml"),
    Broken({_PLACE: _SQL, _DECLARED: _TOML.replace('"tenant"', "")}, "a.tenant: say in personal.toml"),
    Broken({_PLACE: _SQL + "alter table a add column mood text;", _DECLARED: _TOML}, "a.mood: say in personal.toml"),
    Broken(
        {
            _PLACE: _SQL + "alter table a\n    add mood text check (mood <> ''),\n    add column kind text;",
            _DECLARED: _TOML,
        },
        "a.kind: say in personal.toml",
    ),
    Broken({_PLACE: _SQL, _DECLARED: _TOML + "[b]\nplain = []\n"}, "b is no table"),
    Broken({_PLACE: _SQL, _DECLARED: _TOML.replace('"tenant"', '"tenant", "gone"')}, "a.gone is no column"),
    Broken({_PLACE: _SQL, _DECLARED: _TOML.replace('"tenant"', '"tenant", "body"')}, "a.body is declared twice"),
    Broken({_PLACE: _SQL, _DECLARED: _TOML.replace("erasing", "erased")}, "a.body: about and erasing"),
    Broken({_PLACE: _SQL, _DECLARED: _TOML.replace("is removed", "")}, "a.body: about and erasing"),
    kept_by=(
        {_PLACE: _SQL, _DECLARED: _TOML},
        {_PLACE: _SQL + "alter table a rename column body to words;", _DECLARED: _TOML.replace("body", "words")},
        {_PLACE: _SQL + "alter table a drop column tenant;", _DECLARED: _TOML.replace('"tenant"', "")},
        {_PLACE: "create function f() as $$ create table %I (like a); $$;\nselect 1;\n"},
    ),
)
def every_column_says_whom_it_is_about(root: Path) -> list[str]:
    found: list[str] = []
    for folder in _folders(root):
        declared_in = folder.parent / "personal.toml"
        declared = tomllib.loads(declared_in.read_text(encoding="utf-8")) if declared_in.is_file() else {}
        there = tables(folder)
        place = folder.relative_to(root).as_posix()
        found += [f"{place}: {table} is no table" for table in sorted(declared.keys() - there.keys())]
        for table, columns in sorted(there.items()):
            found += [f"{place}: {words}" for words in _judged(table, columns, declared.get(table, {}))]
    return found


def _judged(table: str, columns: set[str], declared: dict[str, Any]) -> Iterator[str]:
    plain = set(declared.get("plain", []))
    about = {name: value for name, value in declared.items() if name != "plain"}
    for name in sorted(columns - plain - about.keys()):
        yield f"{table}.{name}: say in personal.toml whether it is about a person"
    for name in sorted((plain | about.keys()) - columns):
        yield f"{table}.{name} is no column"
    for name in sorted(plain & about.keys()):
        yield f"{table}.{name} is declared twice"
    for name, value in sorted(about.items()):
        if not isinstance(value, dict) or value.keys() != _KEYS or not all(value.values()):
            yield f"{table}.{name}: about and erasing are to be said"


def tables(folder: Path) -> dict[str, set[str]]:
    """The columns of each table that the migrations of a folder leave behind, as far as they are written down."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.sql")):
        text = _BODY.sub("", _COMMENT.sub("", path.read_text(encoding="utf-8")))
        for match in _CREATE.finditer(text):
            names = {part.split()[0].strip('"') for part in _parts(text[match.end() :]) if part.split()}
            found[match[1]] = {name for name in names if name.lower() not in _NO_COLUMN}
        for table, changes in _ALTER.findall(text):
            for change in _parts(changes + ")"):
                _change(found.setdefault(table, set()), change.strip())
    return found


def _change(columns: set[str], change: str) -> None:
    if match := _RENAME.match(change):
        columns.discard(match[1])
        columns.add(match[2])
    elif (match := _ADD.match(change)) and match[1].lower() not in _NO_COLUMN:
        columns.add(match[1])
    elif (match := _DROP.match(change)) and match[1].lower() not in _NO_COLUMN:
        columns.discard(match[1])


def _parts(text: str) -> list[str]:
    """What stands between commas up to the bracket that closes, whatever brackets are in it."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
