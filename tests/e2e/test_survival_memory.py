"""Memory stays flat while something stands still and people go on talking: NATS, Postgres, the app, the platform."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.soak import measured as measurements
from tests.soak import stage as stages
from tests.soak import talk as talks

MESSAGES = 4000
LONGEST_S = 12.0
"""How long it stands still at most: without Postgres nothing is taken."""
MIB = 1 << 20
LONG = "tell me more " * 2500
"""32 KiB: what thousands of these take, if they were kept, is seen."""
ROOM_MIB = 96
"""How much more the core may occupy than before: what the publisher may hold, and its own coming and going."""


class LongTalk(talks.Talk):
    """People who have a lot to say."""

    async def tell(self, room: str, text: str) -> talks.Said:
        return await super().tell(room, f"{text} {LONG}")


@contextlib.asynccontextmanager
async def stalled(stage: stages.Stage, what: str):
    """One part stands still for as long as the block lasts."""
    if what == "platform":
        stage.talk.platform.behave(webhook_simulator.Behaviour(status=429, retry_after="1"))
        yield
        stage.talk.platform.behave()
    else:
        async with stage.parts[what].paused():
            yield


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", ["nats", "postgres", "app", "platform"])
async def test_memory_is_flat_while_something_stands_still(
    folder: Path, what: str, measured: measurements.Measured
) -> None:
    async with stages.opened(folder) as stage:
        talk = stage.talks[0] = LongTalk(stage.talk.platform, rooms=32)
        await talk.say(600)
        await talk.answered()
        core = stage.parts["core"]
        before, most, begun = core.memory_bytes, 0, len(talk.said)
        async with stalled(stage, what):
            saying = asyncio.create_task(talk.say(MESSAGES, pause_s=0.02))
            until_s = time.monotonic() + LONGEST_S
            while not saying.done() and time.monotonic() < until_s:
                most = max(most, core.memory_bytes)
                await asyncio.sleep(0.1)
        since_s = time.perf_counter()
        await saying
        await talk.say(100)
        await talk.answered(timeout_s=90)
        most = max(most, core.memory_bytes)
        verdict = await stage.verdict()
        said = sum(len(each.posted.body) for each in talk.said[begun:]) / MIB
        note = f"core: {before / MIB:.0f} MiB, then at most {most / MIB:.0f}, while {said:.0f} MiB were said"
        measured.row(f"{what} stands still", verdict, stage.recovery_s(since_s), note)
        assert verdict.good, verdict
        assert (most - before) / MIB < ROOM_MIB, note
        assert said > ROOM_MIB, "too little was said to tell"
