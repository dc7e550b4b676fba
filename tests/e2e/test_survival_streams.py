"""nats-server loses what it had acknowledged, under a system that runs: all of it, the latest of it, and unnoticed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.e2e import records
from tests.soak import measured as measurements
from tests.soak import stage as stages
from tests.soak import store

Loss = Callable[[stages.Stage, Path], Awaitable[None]]


async def everything(stage: stages.Stage, older: Path) -> None:
    """The server is killed, its store deleted, and the supervisor starts it again."""
    del older
    await store.lose(stage)


async def streams(stage: stages.Stage, older: Path) -> None:
    """Somebody deletes the streams, and with them their consumers, while the server goes on."""
    del older
    await records.delete_streams(stage.installation, "MESSAGES_INBOUND", "MESSAGES_OUTBOUND", "RECEIPTS")


async def until_asked(stage: stages.Stage, count: int) -> None:
    """Wait until apps have asked for that many commands."""
    async with asyncio.timeout(30):
        while await store.last_sequence(stage, "MESSAGES_OUTBOUND") < count:
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (streams, "the streams deleted"),
        (everything, "the whole store deleted"),
        (store.restore, "an older copy of the store restored"),
        (store.regrow, "an older copy regrown past the tail"),
    ],
    ids=["streams", "deleted", "older", "regrown"],
)
async def test_a_lost_store_costs_latency_only(
    folder: Path, loss: Loss, what: str, measured: measurements.Measured
) -> None:
    async with stages.opened(folder) as stage:
        await stage.say(200)
        older = await store.copy(stage)
        # Hundreds of commands wait for a slow platform and hundreds of messages for a paused app: in streams alone.
        stage.talk.platform.behave(webhook_simulator.Behaviour(delay_s=1.0))
        said = await stage.say(800)
        await until_asked(stage, 600)
        async with stage.parts["app"].paused():
            said += await stage.say(400)
            await loss(stage, older)
            since_s = time.perf_counter()
            stage.talk.platform.behave()
            said += await stage.say(200)
        said += await stage.say(200)
        assert {each.posted.status for each in said} == {200}
        await stage.answered(timeout_s=90)
        verdict = await stage.verdict()
        measured.row(what, verdict, stage.recovery_s(since_s))
        assert not verdict.lost, verdict
        assert not verdict.doubled, verdict
        if loss is not streams:
            # Deleted under a standing connection, a stream is missed a second later, and what an app took of it before
            # that it answers at once: docs/explanation/delivery-guarantees.md, "What is not promised".
            assert not verdict.reordered, verdict
        assert not verdict.excused, "the core lived on, so it knows what it sent"
        assert await stage.not_kept() == []
