"""kill -9 of the core, of nats-server and of Postgres, each in the middle of 2,000 messages."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from penstock.messages.v1 import outbound_pb2
from tests.e2e import records
from tests.soak import measured as measurements
from tests.soak import stage as stages

MESSAGES = 2000
SEED = 4


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["core", "nats", "postgres"])
async def test_kill_in_the_middle(folder: Path, victim: str, measured: measurements.Measured) -> None:
    moments = sorted(random.Random(f"{SEED} {victim}").sample(range(200, MESSAGES - 200), 2))
    async with stages.opened(folder) as stage:
        # Platforms are slower than people, so that much is waiting and several sends are under way when it happens.
        stage.talk.platform.behave(webhook_simulator.Behaviour(delay_s=0.06))
        core = stage.parts["core"].pid
        saying = asyncio.create_task(stage.say(MESSAGES, pause_s=0.05))
        for moment in moments:
            await stage.until_arrived(moment)
            since_s = time.perf_counter()
            ended = await stage.parts[victim].kill()
            await stage.parts[victim].back(ended)
        said = [*await saying, *await stage.say(100)]
        assert {each.posted.status for each in said} == {200}
        await stage.answered()
        verdict = await stage.verdict()
        measured.row(f"kill -9 of {victim}", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert await stage.not_kept() == []
        assert verdict.excused <= len(moments) * len(stage.talk.rooms), "more than one of a conversation was in flight"
        if victim != "core":
            assert stage.parts["core"].pid == core
            assert not verdict.excused, "the core lived on, so it knows what it sent"
        assert stage.talk.platform.faults == []
        await told_once_each(stage)


async def told_once_each(stage: stages.Stage) -> None:
    """One receipt a command, which says ambiguous if its row does; and what was asked twice is among those."""
    told = await records.receipts(stage.installation, stages.TENANT, count=len(stage.talk.said))
    asked = Counter(arrival.command.command_id for arrival in stage.talk.platform.arrivals)
    assert {receipt.command_id for receipt in told} == set(asked)
    assert {receipt.status for receipt in told} == {outbound_pb2.RECEIPT_STATUS_SENT}
    ambiguous = {receipt.command_id for receipt in told if receipt.ambiguous}
    assert ambiguous == await records.ambiguous_rows(stage.installation, stages.TENANT)
    assert {command_id for command_id, times in asked.items() if times > 1} <= ambiguous
