"""SIGTERM of the whole installation in the middle of a conversation: exit 0, and the next start goes on."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.e2e import conversation, installation, records
from tests.soak import measured as measurements
from tests.soak import talk as talks
from tests.soak import verdict as verdicts


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_sigterm_under_load(folder: Path, measured: measurements.Measured) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running, conversation.account(running, "acme", patience_s=0) as platform:
        platform.behave(webhook_simulator.Behaviour(delay_s=0.02))
        talk = talks.Talk(platform)
        async with installation.app(running, "acme"):
            saying = asyncio.create_task(talk.say(1500, pause_s=0.1))
            await platform.until(lambda: len(platform.arrivals) > 50, timeout_s=30)
            running.signal(signal.SIGTERM)
            begun_s = time.perf_counter()
            assert await running.ended() == 0
            stop_s = time.perf_counter() - begun_s
            said = await saying
        assert {each.posted.status for each in said} <= {200, 503, 0}
        taken = [each for each in said if each.taken]
        assert 50 < len(taken) < len(said)
        async with installation.up(environ) as again, installation.app(again, "acme"):
            since_s = time.perf_counter()
            await talk.answered()
            again_s = time.perf_counter() - since_s
            told = await records.receipts(again, "acme", count=len(taken))
            assert not any(receipt.ambiguous for receipt in told)
            assert len({receipt.command_id for receipt in told}) == len(taken)
        verdict = verdicts.judge(talk.said, platform.arrivals)
        note = f"exit 0 after {stop_s:.2f} s; all answered {again_s:.2f} s after the next start"
        measured.row("SIGTERM of everything", verdict, note=note)
        assert verdict.good, verdict
        assert platform.duplicates == 0
        assert platform.faults == []
