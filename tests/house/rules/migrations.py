"""Migrations: numbered without gaps, and every table with a tenant has its second wall."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.rule import Broken, rule

_COMMENT = re.compile(r"--.*")
_TABLE = re.compile(r"create table (?:if not exists )?([\w.]+)\s*\(([^;]*);", re.IGNORECASE)
_TENANT_COLUMN = re.compile(r"^\s*tenant\s", re.MULTILINE | re.IGNORECASE)
# `penstock.protect` (database/bootstrap.sql) enables and forces row-level security and makes the policy.
_WALL = r"select penstock\.protect\('{}'\)"
# Tables that are read before a tenant can be bound, and why.
_BEFORE_A_TENANT_IS_KNOWN = {
    "account_directory": "a webhook names an account and no tenant; it holds unguessable ids only"
}
_GOOD = "create table a (\n    tenant text,\n    b int\n) partition by range (b);\nselect penstock.protect('a');\n"


def _folders(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in (root / "src").rglob("migrations") if path.is_dir())


@rule(
    Broken({"src/penstock/edge/migrations/0001_a.sql": "", "src/penstock/edge/migrations/0003_b.sql": ""}, "0002"),
    Broken({"src/penstock/edge/migrations/0001_a.sql": "", "src/penstock/edge/migrations/0001_b.sql": ""}, "0002"),
    Broken({"src/penstock/edge/migrations/1_a.sql": ""}, "NNNN_name.sql"),
    Broken({"src/penstock/edge/migrations/notes.txt": ""}, "NNNN_name.sql"),
    kept_by=({"src/penstock/edge/migrations/0001_a.sql": "", "src/penstock/edge/migrations/0002_b.sql": ""},),
)
def migrations_are_numbered_without_gaps(root: Path) -> list[str]:
    found: list[str] = []
    for folder in _folders(root):
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != "__init__.py")
        place = folder.relative_to(root).as_posix()
        found += [
            f"{place}/{name} is not NNNN_name.sql" for name in names if not re.fullmatch(r"\d{4}_[a-z_]+\.sql", name)
        ]
        for expected, name in enumerate(names, start=1):
            if name[:4].isdigit() and int(name[:4]) != expected:
                found.append(f"{place}/{name} should be {expected:04d}")
                break
    return found


@rule(
    Broken({"src/penstock/edge/migrations/0001_a.sql": "create table a (\n    tenant text\n);"}, "a has a tenant"),
    Broken({"src/penstock/edge/migrations/0001_a.sql": _GOOD.replace("select", "-- select")}, "a has a tenant"),
    Broken({"src/penstock/edge/migrations/0001_a.sql": _GOOD.replace("'a'", "'b'")}, "a has a tenant"),
    kept_by=(
        {"src/penstock/edge/migrations/0001_a.sql": _GOOD},
        {"src/penstock/edge/migrations/0001_a.sql": "create table a (\n    id text -- not a tenant\n);"},
    ),
)
def tables_with_a_tenant_are_walled(root: Path) -> list[str]:
    found: list[str] = []
    for folder in _folders(root):
        scripts = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql")))
        statements = _COMMENT.sub("", scripts)
        for table, columns in _TABLE.findall(statements):
            walled = re.search(_WALL.format(re.escape(table)), statements) or table in _BEFORE_A_TENANT_IS_KNOWN
            if _TENANT_COLUMN.search(columns) and not walled:
                place = folder.relative_to(root).as_posix()
                found.append(f"{place}: {table} has a tenant and no `select penstock.protect('{table}')`")
    return found
