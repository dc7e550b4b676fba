"""`penstock chat` and `penstock demo`: the first five minutes, as a newcomer types them."""

import json
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from penstock.app import demo
from penstock.channels.testing import simulators
from tests.e2e import installation, processes

BROKEN_APP = Path(__file__).with_name("broken_app.py")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_chat_starts_everything_answers_and_leaves_nothing(folder: Path) -> None:
    environ = installation.environment(folder)
    code, out, err = await installation.run(
        environ, "chat", str(installation.ECHO), stdin="Hello\n\nIs anybody there?\n👍 übrigens\n"
    )
    assert code == 0, err
    assert out.splitlines() == [f"echo> You said: {text}" for text in ("Hello", "Is anybody there?", "👍 übrigens")]
    assert "Traceback" not in err
    await processes.gone(folder, timeout_s=1)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_chat_joins_the_installation_that_runs(folder: Path) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running:
        core = running.core_pid()
        code, out, err = await installation.run(environ, "chat", str(installation.ECHO), "--json", stdin="one\ntwo\n")
        assert (code, err) == (0, "")
        said = [json.loads(line) for line in out.splitlines()]
        assert said == [{"app": "echo", "text": f"You said: {text}", "kind": "reply"} for text in ("one", "two")]
        assert [tenant["id"] for tenant in await running.cli("tenant", "ls")] == ["home"]

        # Without a file it talks to whatever app runs, here one of another tenant; and again in the same account.
        await running.cli("tenant", "create", "acme")
        async with installation.app(running, "acme"):
            for text in ("three", "four"):
                code, out, _ = await installation.run(environ, "chat", "-t", "acme", stdin=f"{text}\n")
                assert (code, out) == (0, f"echo> You said: {text}\n")
        [account] = await running.cli("account", "ls", "-t", "acme")
        assert account["channel"] == "terminal"

        code, out, err = await installation.run(environ, "chat", "-t", "acme", stdin="five\n")
        assert (code, out) == (1, "")
        assert err.startswith("1 of 1 messages had no reply within")
        assert running.running
        assert running.core_pid() == core


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_chat_with_an_app_that_cannot_run_says_so_in_one_line(folder: Path) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ):
        code, out, err = await installation.run(environ, "chat", str(BROKEN_APP), stdin="Hello\n")
        assert (code, out) == (1, "")
        words, line = err.splitlines()
        assert words == "this app has lost its way", "the app's own words"
        assert line.startswith("penstock: the app ended with exit code 1 before it listened.")
        code, out, err = await installation.run(environ, "chat", str(folder / "nothing.py"), stdin="Hello\n")
        assert (code, out) == (4, "")
        assert err.splitlines() == [f"penstock: there is no app at {folder / 'nothing.py'}."]
    code, out, err = await installation.run(environ, "chat", str(BROKEN_APP), stdin="Hello\n")
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("penstock: the app ended with exit code 1 before it listened.")
    await processes.gone(folder, timeout_s=1)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_demo_counts_and_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ, tenants = _demo(folder), len(demo.TENANTS)
    talks = tenants * len(simulators.ALL)
    code, out, err = await installation.run(environ, "demo", "--conversations", str(talks))
    assert code == 0, err
    *table, last = out.splitlines()
    assert last == "0 lost"
    found = {name: count.strip() for name, _, count in (line.partition("  ") for line in table)}
    for channel, start in simulators.ALL.items():
        said = tenants * demo.Talk(start(), "room").length
        assert found[f"{channel}: messages in, replies out"] == f"{said}, {said}"
    assert found["doubled replies"] == "0"
    assert found["duplicate webhooks"] == f"{talks} sent, {talks} suppressed"
    assert (found["out of order"], found["protocol faults seen"]) == ("0", "0")
    await processes.gone(folder, timeout_s=1)
    assert list((folder / "temporary").iterdir()) == []
    with capsys.disabled():
        print(f"\n  demo: {found['seconds']} s, {found['latency, webhook to reply']}", end="")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_demo_stopped_in_the_middle_leaves_nothing(folder: Path, number: signal.Signals, code: int) -> None:
    command = installation.Command(_demo(folder), "demo", "--conversations", "200")
    try:
        held = re.compile(r"^[0-9]+/[0-9]{3,4}$", re.MULTILINE)
        await processes.until(lambda: held.search(command.err) is not None, "conversations are held", timeout_s=60)
        command.signal(number)
        assert await command.ended() == code
    finally:
        await command.close()
    assert "Traceback" not in command.err
    assert Counter(command.out)["\n"] == 0, "no report of half a demonstration"
    await processes.gone(folder, timeout_s=1)
    assert list((folder / "temporary").iterdir()) == []


def _demo(folder: Path) -> dict[str, str]:
    """An environment in which the demonstration's temporary folder is below the test's."""
    (folder / "temporary").mkdir(mode=0o711)
    return installation.environment(folder, TMPDIR=str(folder / "temporary"))
