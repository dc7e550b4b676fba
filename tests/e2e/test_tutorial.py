"""The tutorial, typed by somebody who trusts it: every command of both pages, in order, on an empty machine."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from penstock.channels.testing import slack_simulator
from tests.e2e import installation, pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SET_UP = {"make setup && . .venv/bin/activate", ". .venv/bin/activate", "pip install pytest pytest-asyncio"}
"""What a machine needs before it can run tests at all."""

STAYS = {
    "penstock up": "Penstock is ready",
    "PENSTOCK_TENANT=acme python barista.py": "app listens",
    "penstock message tail -t acme": "Listening to acme",
}
"""What goes on until Ctrl-C, and what it says once it is there."""


def test_every_page_of_the_tutorial_is_typed_here() -> None:
    assert {page.name for page in (pages.DOCUMENTS / "tutorial").iterdir()} == {"first-app.md", "slack.md"}


@contextlib.asynccontextmanager
async def terminals(folder: Path) -> AsyncGenerator[pages.Shell]:
    """Somebody's shell, with the files of the first page written."""
    home = folder / "home"
    home.mkdir()
    environ = installation.environment(folder, HOME=str(home), PENSTOCK_SDK__LOG_LEVEL="info")
    shell = pages.Shell(home, environ)
    for name, text in pages.files("tutorial/first-app.md").items():
        (home / name).write_text(text, "utf-8")
    try:
        yield shell
    finally:
        shell.close()


async def typed(shell: pages.Shell, line: str, answers: dict[str, str]) -> str:
    """One line: what it printed, or was typed into it and came back. `answers` are used up."""
    if line in SET_UP:
        return ""
    if line in STAYS:
        await shell.stay(line, STAYS[line])
        return ""
    return await shell.run(line, answers.pop(line, ""))


async def test_the_first_app(folder: Path) -> None:
    answers = {
        "penstock chat examples/echo/app.py": "Hello\n",
        "penstock chat barista.py": "A coffee, please\nHello\n",
        "penstock chat --tenant acme": "Hello\n",
    }
    printed: dict[str, str] = {}
    async with terminals(folder) as shell:
        for line in pages.lines("tutorial/first-app.md"):
            printed[line] = await typed(shell, line, answers)
    assert answers == {}, "the page no longer says this"
    assert printed["penstock chat examples/echo/app.py"] == "echo> You said: Hello\n"
    assert printed["penstock chat --tenant acme"] == "barista> Coffee or tea?\n"
    said = printed["penstock chat barista.py"].splitlines()
    assert "barista (reaction)> ☕" in said
    assert "barista> Coffee or tea?" in said


async def test_the_same_app_on_slack(folder: Path) -> None:
    async with slack_simulator.SlackSimulator(patience_s=60) as slack, terminals(folder) as shell:
        answers = {
            "(umask 077; cat > signing.txt)": slack.signing[0] + "\n",
            "(umask 077; cat > token.txt)": slack.tokens[0] + "\n",
        }
        account, tailed = "", Path()
        for page_line in pages.lines("tutorial/slack.md"):
            line = page_line.replace("acc-...", account)
            if page_line.startswith("penstock account create"):
                made = await typed(shell, f"{line} --set api_url={slack.config['api_url']}", answers)
                words = made.split()
                account = words[words.index("account") + 1]
                slack.connect(words[words.index("webhook") + 1])
                assert await slack.verify_url("who is there?") == (200, b"who is there?")
            elif page_line == "penstock message tail -t acme":
                tailed = await shell.stay(line, STAYS[page_line])
                assert (await slack.say("C0GARDEN", "coffee, please")).status == 200
                await slack.until(lambda: len(slack.heard("C0GARDEN")) == 2, timeout_s=60)
            else:
                printed = await typed(shell, line, answers)
                assert "message send" not in line or " sent" in printed
        assert answers == {}, "the page no longer says this"
        heard = [(one.kind, one.text) for one in slack.heard("C0GARDEN")]
        watched = tailed.read_text("utf-8")
    [reaction, (kind, answer), notice] = heard
    assert reaction == ("react", "coffee")  # Slack's name of it
    assert (kind, answer[:10]) == ("send", "Coming up,")
    assert notice == ("send", "The machine is clean again")
    assert slack.faults == []
    assert "coffee, please" in watched
    assert "Coming up" in watched
