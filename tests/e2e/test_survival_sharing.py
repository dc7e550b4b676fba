"""Two cores and two processes of an app share the work: killed, stopped, and paused until they were given up."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.soak import measured as measurements
from tests.soak import stage as stages

SEED = 4
PAIR = stages.Cast(cores=2, apps=2)
PAUSE_S = float(os.environ.get("PAUSE_S", "20"))
"""Longer than a lease and than the time after which a silent owner is replaced; the soak has longer ones."""


async def slow(stage: stages.Stage) -> None:
    """Platforms take a moment, so that sends are under way and others wait behind them."""
    for platform in stage.platforms:
        platform.behave(webhook_simulator.Behaviour(delay_s=0.03))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["core", "app"])
async def test_one_of_two_is_killed(folder: Path, kind: str, measured: measurements.Measured) -> None:
    chance = random.Random(f"{SEED} {kind}")
    async with stages.opened(folder, PAIR) as stage:
        await slow(stage)
        saying = asyncio.create_task(stage.say(2000, pause_s=0.1))
        for victim, moment in zip(
            (kind, f"{kind}-2"), (chance.randint(200, 800), chance.randint(1000, 1600)), strict=True
        ):
            await stage.until_arrived(moment)
            since_s = time.perf_counter()
            ended = await stage.parts[victim].kill()
            await stage.parts[victim].back(ended)
        said = await saying
        assert {each.posted.status for each in said} == {200}
        await stage.answered()
        verdict = await stage.verdict()
        measured.row(f"kill -9 of one {kind} of two", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert await stage.not_kept() == []
        assert kind == "core" or not verdict.excused, "the cores lived on, so they know what they sent"


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_one_of_two_is_paused_and_wakes(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, PAIR) as stage:
        await slow(stage)
        enough = asyncio.Event()
        saying = [asyncio.create_task(talk.go_on(enough, pause_s=0.5)) for talk in stage.talks]
        await stage.until_arrived(200)
        since_s = time.perf_counter()
        async with stage.parts["core-2"].paused(), stage.parts["app"].paused():
            await asyncio.sleep(PAUSE_S)
        taken_over_s = stage.recovery_s(since_s)
        woken_s = time.perf_counter()
        await stage.until_arrived(stage.arrived + 200)
        enough.set()
        await asyncio.gather(*saying)
        await stage.answered()
        verdict = await stage.verdict()
        note = f"while paused: {taken_over_s[0]:.2f} s until the first answer"
        measured.row(f"one core, one app of two paused {PAUSE_S:g} s", verdict, stage.recovery_s(woken_s), note)
        assert verdict.good, verdict
        assert await stage.not_kept() == []


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_each_is_stopped_in_turn_under_load(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, PAIR) as stage:
        await slow(stage)
        saying = asyncio.create_task(stage.say(2000, pause_s=0.1))
        for number, victim in enumerate(("app", "core-2", "app-2", "core")):
            await stage.until_arrived(200 + 400 * number)
            since_s = time.perf_counter()
            ended = await stage.parts[victim].terminate()
            await stage.parts[victim].back(ended)
        said = await saying
        assert {each.posted.status for each in said} == {200}
        await stage.answered()
        verdict = await stage.verdict()
        measured.row("SIGTERM of cores and apps in turn", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert not verdict.excused, "they drained"
        assert await stage.not_kept() == []
