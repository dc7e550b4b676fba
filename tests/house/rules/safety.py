"""Safety: no shell, no SQL put together from strings, no environment read behind the settings' back."""

import ast
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

_SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
}
_QUERIES = {"execute", "executemany", "copy", "stream", "fetch", "fetchrow", "fetchval", "SQL"}
_ENVIRONMENT = {"environ", "environb", "getenv", "putenv", "unsetenv"}
# Who may read the process's environment: the settings, and what starts processes.
_READS_ENVIRONMENT = (
    "src/penstock/base/settings",
    "src/penstock/app",
    "src/penstock/cli",
    "src/penstock/servers/",
    # An app's own process: no `app` stands above it.
    "src/penstock/sdk/process.py",
)
# SQL that is put together from parts which never come from outside, by file and function, and why it must be.
_ASSEMBLED_SQL: dict[tuple[str, str], str] = {}


@rule(
    Broken({"src/a.py": "import subprocess\nsubprocess.run('ls', shell=True)\n"}, "shell"),
    Broken({"tools/a.py": "import os\nos.system('ls')\n"}, "shell"),
    Broken({"tests/a.py": "import asyncio\nasyncio.create_subprocess_shell('ls')\n"}, "shell"),
    kept_by=({"src/a.py": "import subprocess\nsubprocess.run(['ls'], shell=False)\n"},),
)
def nothing_runs_in_a_shell(root: Path) -> list[str]:
    return [
        file.at(call, "runs in a shell; pass an argument list")
        for file in tree.python_files(root, *tree.EVERYWHERE)
        for call in file.calls()
        if tree.dotted(call.func) in _SHELLS or any(_asks_for_shell(keyword) for keyword in call.keywords)
    ]


def _asks_for_shell(keyword: ast.keyword) -> bool:
    return keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)


@rule(
    Broken({"src/a.py": "def f(db, t):\n    db.execute(f'select * from {t}')\n"}, "bind"),
    Broken({"src/a.py": "def f(db, t):\n    db.execute('select * from ' + t)\n"}, "bind"),
    Broken({"src/a.py": "def f(db, t):\n    db.execute('select * from %s' % t)\n"}, "bind"),
    Broken({"src/a.py": "def f(db, t):\n    db.execute('select * from {}'.format(t))\n"}, "bind"),
    Broken({"src/a.py": "async def f(db, t):\n    await db.executemany(query=f'delete from {t}')\n"}, "bind"),
    Broken({"src/a.py": "def f(db, t):\n    db.execute(sql.SQL(f'select {t}'))\n"}, "bind"),
    Broken({"src/a.py": "def f(db, t):\n    query = f'select {t}'\n    db.execute(query)\n"}, "bind"),
    kept_by=(
        {"src/a.py": "def f(db, t):\n    db.execute('select * from t where a = %s', (f'{t}',))\n"},
        {"src/a.py": "def f(db, t):\n    db.execute('select 1 ' 'from t')\n"},
    ),
)
def sql_is_never_put_together(root: Path) -> list[str]:
    """A call that runs SQL gets a constant; a name is followed to what the same function last gave it."""
    found: list[str] = []
    for file in tree.python_files(root, *tree.PRODUCT):
        for function in file.functions():
            if (file.name, function.name) not in _ASSEMBLED_SQL:
                found += [file.at(call, "SQL from parts; bind parameters") for call in _assembled(function)]
    return sorted(set(found))


def _assembled(function: tree.Function) -> list[ast.Call]:
    given = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls: list[ast.Call] = []
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and tree.dotted(call.func).rpartition(".")[2] in _QUERIES:
            named = [keyword.value for keyword in call.keywords if keyword.arg == "query"]
            query = (call.args[:1] or named or [None])[0]
            query = given.get(query.id, query) if isinstance(query, ast.Name) else query
            if _is_put_together(query):
                calls.append(call)
    return calls


def _is_put_together(query: ast.expr | None) -> bool:
    match query:
        case ast.JoinedStr(values):
            return any(isinstance(value, ast.FormattedValue) for value in values)
        case ast.BinOp(op=ast.Add() | ast.Mod(), left=left, right=right):
            return not (_is_text(left) and _is_text(right))
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "replace", value=ast.Constant())):
            return True
        case _:
            return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@rule(
    Broken({"src/penstock/edge/a.py": "import os\nx = os.environ['HOME']\n"}, "settings"),
    Broken({"src/penstock/edge/a.py": "import os\nx = os.getenv('HOME')\n"}, "settings"),
    Broken({"src/penstock/edge/a.py": "from os import environ\n"}, "settings"),
    kept_by=({"src/penstock/base/settings.py": "import os\nx = os.environ\n"},),
)
def settings_alone_read_the_environment(root: Path) -> list[str]:
    found: list[str] = []
    for file in tree.python_files(root, *tree.PRODUCT):
        if file.name.startswith(_READS_ENVIRONMENT):
            continue
        for node in ast.walk(file.tree):
            imported = isinstance(node, ast.ImportFrom) and node.module == "os"
            names = {alias.name for alias in node.names} if imported else set[str]()
            if isinstance(node, ast.Attribute) and tree.dotted(node.value) == "os":
                names = {node.attr}
            if names & _ENVIRONMENT:
                found.append(file.at(node, "reads the environment; that is what settings are for"))
    return found
