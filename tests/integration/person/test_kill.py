"""An erasure that is killed in its middle leaves nothing that the next one does not find."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.person.test_erase import WORDS, talk
from tests.integration.person.test_export import unknown

PLACES = (
    "channels.outbox",
    "MESSAGES_INBOUND",
    "MESSAGES_OUTBOUND",
    "RECEIPTS",
    "QUARANTINE",
    "state.quarantine",
    "channels.unknown_event",
    "channels.command",
    "channels.message",
    "channels.conversation",
)


@pytest.fixture
async def killer(stage):
    """Erases in a process that dies once something in a place was erased; gives the signal."""
    places = {"PENSTOCK_POSTGRES_URL": stage.database_url, "PENSTOCK_NATS_URL": stage.nats_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("dying.py"))),
        env={**os.environ, **places, **stage.environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def kill(place, sender):
        words = json.dumps([place, "acme", stage.accounts["acme"].id, sender])
        process.stdin.write(f"{words}\n".encode())
        return int(await asyncio.wait_for(process.stdout.readline(), 60))

    yield kill
    process.stdin.close()
    await asyncio.wait_for(process.wait(), 60)


@pytest.mark.timeout(180)
async def test_wherever_it_is_killed_the_next_one_ends_it(stage, killer):
    people = stage.people()
    for number, place in enumerate(PLACES):
        sender, words = f"U-{number}-x", f"{WORDS} {place}"
        await talk(stage, sender=sender, words=words, prefix=f"p{number}")
        await unknown(stage, "acme", f"u{number}", f'{{"who": "{sender}", "what": "{words}"}}'.encode())
        await stage.at_rest(commands=4 * (number + 1), quarantined=1)
        assert await killer(place, sender) == -signal.SIGKILL, place
        listed = {one.person: one.finished_at for one in await people.listed("acme")}
        person = await people.person("acme", stage.accounts["acme"].id, sender)
        assert listed[person.pseudonym] is None
        assert (await people.erase(person)).complete
        assert (await stage.everywhere(words), await stage.everywhere(sender)) == ([], [])
