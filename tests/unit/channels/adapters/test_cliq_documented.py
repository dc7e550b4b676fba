"""The how-to page is true: its scripts give what is read, and it has a remedy for every refusal."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from penstock.channels import registry
from penstock.channels.adapters import cliq_answers, cliq_calls, cliq_events, cliq_fields, cliq_signature

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/how-to/channel-cliq.md").read_text("utf-8")
SCRIPT = PAGE.split("```javascript")[1].split("```")[0]
REMEDIES = PAGE.split("## When it does not work")[1]


def fields(struct: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(struct)}


def test_its_scripts_give_what_is_read():
    given = set(re.findall(r'params\.put\("(\w+)"', PAGE))
    # The files of a message are in its details; a handler's own `attachments` are no addresses in a script.
    assert given == fields(cliq_fields.Params) - {"attachments"}
    assert set(re.findall(r'event\.put\("(\w+)"', SCRIPT)) == fields(cliq_fields.Envelope) - {"type"}
    for handler in (cliq_events.MESSAGE, cliq_events.MENTION, cliq_events.PARTICIPATION):
        assert handler in PAGE
    assert cliq_signature.SIGNATURE in SCRIPT.lower()


def test_what_is_posted_is_what_is_signed():
    assert "parameters:body" in SCRIPT
    assert re.search(r'hmacsha256\("[^"]+",body,"hex"\)', SCRIPT)


def test_it_names_every_field_of_an_account():
    for field in registry.load().find("cliq").config:
        assert f"| `{field.name}` |" in PAGE


@pytest.mark.parametrize("rule", [f"**{cliq_calls.TEXT_LENGTH:,} characters**", "ten minutes"])
def test_its_limits_are_those_of_the_code(rule: str):
    assert rule in PAGE
    assert cliq_answers.LOCKED_S == 600


def test_every_refusal_of_a_command_has_a_remedy():
    codes = set(cliq_answers.REFUSALS)
    for name in ("cliq_answers", "cliq_calls", "cliq_places", "channel_cliq"):
        codes |= refusals(ROOT / f"src/penstock/channels/adapters/{name}.py")
    missing = codes - set(re.findall(r"`([a-z_]+)`", REMEDIES)) - {"unsupported", "bad_config"}
    assert missing == set()


def refusals(path: Path) -> set[str]:
    """The codes of the Rejected that a module makes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if ast.unparse(call.func) == "errors.Rejected" and call.args]
    return {argument.value for argument in first if isinstance(argument, ast.Constant)}
