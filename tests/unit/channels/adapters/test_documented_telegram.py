"""The how-to page is true: what it asks Telegram for is what is read, and it has a remedy for every refusal."""

import ast
import json
import re
from pathlib import Path

import pytest

from penstock.channels.adapters import channel_telegram, telegram_answers, telegram_calls, telegram_kinds
from penstock.channels.testing import telegram_platform

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/how-to/channel-telegram.md").read_text("utf-8")
REMEDIES = PAGE.split("## When it does not work")[1]


def test_it_asks_for_the_kinds_of_update_that_are_read():
    (listed,) = re.findall(r'allowed_updates=(\[.*\])"', PAGE)
    read = telegram_kinds.SAID | telegram_kinds.EDITED | {telegram_kinds.REACTED}
    assert set(json.loads(listed.replace('\\"', '"'))) == read


@pytest.mark.parametrize(
    "rule",
    [
        f"up to {channel_telegram.TelegramChannel().capabilities.text_limit} characters (code points)",
        f"up to {telegram_calls.CAPTION_LENGTH} characters",
        f"[{len(telegram_platform.EMOJI)} emoji]",
    ],
)
def test_its_limits_are_those_of_the_code(rule: str):
    assert rule in PAGE


def test_every_refusal_of_a_command_has_a_remedy():
    codes = set(telegram_answers._CODES.values())
    for name in ("telegram_answers", "telegram_calls", "channel_telegram"):
        codes |= refusals(ROOT / f"src/penstock/channels/adapters/{name}.py")
    missing = codes - set(re.findall(r"`([a-z_]+)`", REMEDIES)) - {"unsupported", "bad_config"}
    assert missing == set()


def refusals(path: Path) -> set[str]:
    """The codes of the Rejected that a module makes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if ast.unparse(call.func) == "errors.Rejected" and call.args]
    return {argument.value for argument in first if isinstance(argument, ast.Constant)}
