"""`make new-adapter NAME=x`: a channel that runs at once, copied from `examples/carrier` and given a name of its own.

What is made passes `make check` and its own test. Its conformance test fails, and says in words of the suite's what is
left to do: each promise that the author must show the platform keeping, or excuse with a reason.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PATTERN: Final = re.compile(r"[a-z][a-z0-9]{1,30}")
TESTING: Final = "src/penstock/channels/testing"
WIRING: Final = "src/penstock/channels/wiring.py"
REGISTRY: Final = "src/penstock/channels/registry.toml"
INDEX: Final = "docs/README.md"
SIMULATORS: Final = f"{TESTING}/simulators.py"

RECORDED: Final = """# Payloads of {title}

Written from the public documentation, in our own values, before the adapter that reads them.

| file | page |
|---|---|
| `message.json` | name here the page of the platform's documentation that it was written from |
"""
MESSAGE: Final = """{{
    "kind": "message",
    "id": "evt-1",
    "at": 1772366398,
    "room": "loft",
    "from": "ann",
    "message": "msg-1",
    "text": "hello, Grüße, 你好"
}}
"""
UNIT_TEST: Final = '''"""What {title} posts, as its documentation shows it, becomes the messages that people meant."""

import json
from pathlib import Path

from penstock.base import ids
from penstock.channels import ports
from penstock.channels.adapters import channel_{name}
from penstock.channels.testing import {name}_trial, trial

RECORDED = Path(__file__).parents[1] / "recorded" / "{name}"


def read(body: bytes) -> ports.Reading:
    """What a verified request with this body holds."""
    channel, secrets = channel_{name}.{Name}Channel(), {name}_trial.SIGNING
    request = {name}_trial.sign(body, secrets[0], trial.NOW)
    channel.verify(request, ports.Credentials(secrets))
    account = ports.Account(ids.TenantId("acme"), ids.AccountId("acc-1"), channel.name, "Acme", {{}})
    return channel.read(request, account)


def test_a_recorded_message_is_read_whole():
    body = (RECORDED / "message.json").read_bytes()
    recorded = json.loads(body)
    (message,) = read(body).messages
    assert message.event_id == recorded["id"]
    assert message.text == recorded["text"]
    assert message.sender.id == recorded["from"]
    assert message.sent_at.seconds == recorded["at"]
'''
CONFORMANCE_TEST: Final = '''"""{title} passes the suite that every channel passes, over real sockets."""

from penstock.channels.adapters import channel_{name}
from penstock.channels.testing import conformance, {name}_trial


async def test_{name}_keeps_every_promise_of_a_channel():
    async with {name}_trial.{name}(channel_{name}.{Name}Channel(timeout_s=0.3)) as described:
        await conformance.check_channel(described)
'''
HOW_TO: Final = """# Connect {title}

Say here, with the platform's own words and links, how somebody gets an account of {title} talking.

1. At {title}: where the bot is made, which rights it needs, and where its token is shown.
2. Here:

   ```sh
   penstock account create shop -t acme -c {name} --set api_url=https://api.{name}.example/v1 --secret token=@token.txt
   ```

3. At {title} again: where the webhook's URL and its secret are entered.

## What works

| on {title} | here |
|---|---|
| a message | a message |

## What does not

Say what the platform cannot do, and what Penstock does not do there yet.
"""


def main() -> int:
    """Make the files and the lines; returns an exit code."""
    parser = argparse.ArgumentParser(prog="make new-adapter", description=__doc__)
    parser.add_argument("name", help="one word of lower-case letters and digits: the channel's slug")
    name = parser.parse_args().name
    try:
        made = scaffold(ROOT, name)
    except ValueError as error:
        print(f"new-adapter: {error}", file=sys.stderr)
        return 2
    _tidied(ROOT, made)
    print("\n".join(f"made  {path}" for path in made))
    print(f"edited  {WIRING}, {REGISTRY}, {SIMULATORS}, {INDEX}")
    print(f"Now: .venv/bin/python -m pytest tests/conformance/test_channel_{name}.py says what is left to do;")
    print("docs/how-to/write-an-adapter.md says how.")
    return 0


def scaffold(root: Path, name: str) -> list[str]:
    """Write everything; returns the new files. Raises ValueError, having written nothing, for a name that cannot be."""
    if not PATTERN.fullmatch(name):
        raise ValueError("NAME must be one word of 2 to 31 lower-case letters and digits, a letter first")
    files = _files(root, name)
    if taken := [path for path in files if (root / path).exists()]:
        raise ValueError(f"there is a channel '{name}' already: {taken[0]}")
    edits = _edits(root, name)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    for path, text in edits.items():
        (root / path).write_text(text, encoding="utf-8")
    return list(files)


def _files(root: Path, name: str) -> dict[str, str]:
    """Every new file by its path."""
    title = name.capitalize()
    texts = {"name": name, "Name": title, "title": title}
    return {
        f"src/penstock/channels/adapters/channel_{name}.py": _adapter(root, name),
        f"{TESTING}/{name}_simulator.py": _own(root, "carrier_simulator.py", name),
        f"{TESTING}/{name}_trial.py": _trial(root, name),
        f"tests/conformance/test_channel_{name}.py": CONFORMANCE_TEST.format(**texts),
        f"tests/unit/channels/adapters/test_channel_{name}.py": UNIT_TEST.format(**texts),
        f"tests/unit/channels/recorded/{name}/README.md": RECORDED.format(**texts),
        f"tests/unit/channels/recorded/{name}/message.json": MESSAGE.format(),
        f"docs/how-to/channel-{name}.md": HOW_TO.format(**texts),
    }


def _own(root: Path, example: str, name: str) -> str:
    """A file of the example under the new name."""
    text = (root / "examples" / "carrier" / example).read_text(encoding="utf-8")
    text = text.replace("from examples.carrier import", "from penstock.channels.testing import")
    text = text.replace("(`README.md`)", "in public")
    return text.replace("carrier", name).replace("Carrier", name.capitalize())


def _adapter(root: Path, name: str) -> str:
    """The adapter, with a first line that is true of a beginning."""
    title, text = name.capitalize(), _own(root, "channel_carrier.py", name)
    begins = f'"""{title}, as an adapter begins: plain texts in and out; the rest is its author\'s to write.'
    return re.sub(r'\A"""[^\n]*', begins, text)


def _trial(root: Path, name: str) -> str:
    """The trial without the example's excuses: each promise that they were for fails until its author decides."""
    text = _own(root, "carrier_trial.py", name)
    text = re.sub(r"_PLAIN: Final = .*\n", "", text)
    text = re.sub(r"(EXCUSED: Final\[dict\[str, str\]\] = )\{\n.*?\n\}\n", r"\1{}\n", text, flags=re.DOTALL)
    return text.replace(', and why."""', ', and why. For all others, show in `requests` what the platform sends."""')


def _edits(root: Path, name: str) -> dict[str, str]:
    """Every existing file that gets a line, by its path. Raises ValueError when one has not the form expected."""
    title = name.capitalize()
    entry = (root / "examples" / "carrier" / "extension.py").read_text(encoding="utf-8")
    entry = entry.split('REGISTRY: Final = """')[1].split('"""')[0].replace("carrier", name).replace("Carrier", title)
    simulators = (root / SIMULATORS).read_text(encoding="utf-8")
    simulators = _after(
        simulators, "Mapping[str, Starts]] = {\n", f'    "{name}": {name}_simulator.{title}Simulator,\n'
    )
    first = "from penstock.channels.testing import "
    simulators = _before(simulators, first, f"from penstock.channels.testing import {name}_simulator\n")
    wiring = (root / WIRING).read_text(encoding="utf-8")
    wiring = _after(
        wiring,
        "shipped: list[ports.Channel] = [\n",
        f"        channel_{name}.{title}Channel(timeout_s=limits.send_deadline_s, tolerance_s=window_s),\n",
    )
    first = "from penstock.channels.adapters import "
    wiring = _before(wiring, first, f"from penstock.channels.adapters import channel_{name}\n")
    index = (root / INDEX).read_text(encoding="utf-8")
    line = f"| [how-to/channel-{name}](how-to/channel-{name}.md) | connect {title} |\n"
    return {
        REGISTRY: (root / REGISTRY).read_text(encoding="utf-8").rstrip() + "\n" + entry,
        SIMULATORS: simulators,
        WIRING: wiring,
        INDEX: _before(index, "| [how-to/channel-webhook]", line),
    }


def _after(text: str, place: str, line: str) -> str:
    if text.count(place) != 1:
        raise ValueError(f"this tree has not the line '{place.strip()}' once")
    return text.replace(place, place + line)


def _before(text: str, place: str, line: str) -> str:
    """The text with a line before the first that begins with `place`."""
    at = text.find(f"\n{place}")
    if at < 0:
        raise ValueError(f"this tree has no line '{place.strip()}'")
    return text[: at + 1] + line + text[at + 1 :]


def _tidied(root: Path, made: list[str]) -> None:
    """Imports in order and lines as long as the house has them: a name has a length of its own."""
    python = [path for path in [*made, WIRING, SIMULATORS] if path.endswith(".py")]
    for arguments in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, *python], cwd=root, check=True)


if __name__ == "__main__":
    sys.exit(main())
