"""Help is quick, whole, and shows for every verb an example that really parses."""

import inspect
import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.unit.cli import calling, tree

HEAVY = (
    "rich",
    "psycopg",
    "nats",
    "pydantic",
    "httpx",
    "uvicorn",
    "google.protobuf",
    "cryptography",
    "opentelemetry",
    "structlog",
)


def example_of(command):
    found = re.search(r"^Example: (penstock .*)$", inspect.cleandoc(command.help), re.MULTILINE)
    assert found, f"the help of '{command.name}' shows no example"
    return shlex.split(found[1])


@pytest.mark.parametrize("name", tree.verbs())
def test_every_verb_shows_an_example_that_parses(name):
    words = example_of(tree.verbs()[name])
    assert words[1 : 1 + len(name.split())] == name.split(), "the example is of another verb"
    command = tree.verbs()[name]
    with command.make_context(name, words[1 + len(name.split()) :]) as context:
        assert context.params


@pytest.mark.parametrize("name", [name for name, command in tree.commands() if getattr(command, "commands", None)])
def test_no_verbs_line_in_a_list_is_cut_off(name):
    out = calling.call(*name.split()[1:], "--help", environ={"COLUMNS": "80"}).out
    assert "..." not in out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert "Commands:\n" in out


@pytest.mark.parametrize("name", tree.verbs())
def test_every_verb_can_print_json(name):
    options = [option for parameter in tree.verbs()[name].params for option in parameter.opts]
    assert "--json" in options


def test_help_loads_no_room_and_no_heavy_library():
    program = (
        "import json, sys; sys.argv = ['penstock', '--help']\n"
        "from penstock.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    loaded = json.loads(ended.stdout.splitlines()[-1])
    heavy = [name for name in loaded if name in HEAVY or (".adapters" in name and name.startswith("penstock."))]
    rooms = {name.split(".")[1] for name in loaded if name.startswith("penstock.")}
    assert heavy == []
    assert rooms == {"base", "cli"}


def test_the_version_is_the_distributions():
    import penstock

    assert calling.call("--version").out == f"{penstock.__version__}\n"
