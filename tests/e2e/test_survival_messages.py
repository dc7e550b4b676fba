"""Single messages that do harm: poison, one that kills its process, and one on which a handler hangs."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.soak import measured as measurements
from tests.soak import stage as stages
from tests.soak import store
from tests.soak import talk as talks

HERE = Path(__file__).parent
MESSAGES = 500
LOOKED_AT_S = 1.0


async def say_with(stage: stages.Stage, text: str) -> talks.Said:
    """499 messages, and this one in the middle of its room."""
    saying = asyncio.create_task(stage.say(MESSAGES - 1, pause_s=0.05))
    await stage.until_arrived(100)
    said = await stage.talk.tell("room-0", text)
    assert {each.posted.status for each in (*await saying, said)} == {200}
    return said


async def quarantined(stage: stages.Stage, *, timeout_s: float = 60.0) -> dict[str, str]:
    """The one row in quarantine, once it is there."""
    async with asyncio.timeout(timeout_s):
        while not (rows := await stage.installation.cli("quarantine", "ls", "-t", stages.TENANT)):
            await asyncio.sleep(LOOKED_AT_S)
    [row] = rows
    return row


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_one_poison_message_among_many(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, stages.Cast(app=HERE / "poison_app.py", apps=2)) as stage:
        said = await say_with(stage, "poison")
        await stage.talk.answered(but=["poison"])
        row = await quarantined(stage)
        assert (row["consumer"], row["reason"], row["code"]) == ("app_acme_poison", "poisoned", "not_today")
        shown = await stage.installation.cli("quarantine", "show", row["id"], "-t", stages.TENANT)
        assert (shown["body"]["text"], shown["body"]["event_id"]) == ("poison", said.posted.event_id)
        verdict = await stage.verdict(but={"poison"})
        measured.row("one poison message among 500", verdict, note="1 in quarantine")
        assert verdict.good, verdict
        assert (verdict.said, verdict.excused) == (MESSAGES - 1, 0)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_poison_is_redriven_to_an_app_that_was_mended(folder: Path) -> None:
    cast = stages.Cast(app=HERE / "poison_app.py", of_app={"MENDED_BY": str(folder / "mended")})
    async with stages.opened(folder, cast) as stage:
        await stage.talk.tell("room-0", "poison")
        row = await quarantined(stage)
        (folder / "mended").touch()
        redriven = await stage.installation.cli("quarantine", "redrive", row["id"], "-t", stages.TENANT)
        assert redriven["redriven"] == 1
        await stage.talk.answered()
        assert (await stage.verdict()).good
        assert (await quarantined(stage))["redriven_at"]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_one_message_that_kills_its_process(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, stages.Cast(app=HERE / "deadly_app.py", apps=2)) as stage:
        begun_s = time.monotonic()
        said = await say_with(stage, "deadly")
        row = await quarantined(stage, timeout_s=90)
        until_s = time.monotonic() - begun_s
        await stage.talk.answered(but=["deadly"])
        assert row["consumer"] == "app_acme_deadly"
        shown = await stage.installation.cli("quarantine", "show", row["id"], "-t", stages.TENANT)
        assert (shown["body"]["text"], shown["body"]["event_id"]) == ("deadly", said.posted.event_id)
        verdict = await stage.verdict(but={"deadly"})
        deaths = sum(stage.kept(name).starts - 1 for name in ("app", "app-2"))
        note = f"1 in quarantine after {until_s:.1f} s and {deaths} deaths"
        measured.row("one message that kills its process", verdict, note=note)
        assert verdict.good, verdict
        assert (verdict.said, verdict.excused) == (MESSAGES - 1, 0)
        assert await quarantined(stage) == row, "its neighbours are not suspected for long"


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_handler_that_hangs_keeps_its_lease_until_its_deadline(
    folder: Path, measured: measurements.Measured
) -> None:
    deadline_s = 14.0  # longer than a lease
    cast = stages.Cast(app=HERE / "hanging_app.py", of_app={"DEADLINE_S": str(deadline_s)})
    async with stages.opened(folder, cast) as stage:
        await say_with(stage, "hang")
        begun_s = time.monotonic()
        await stage.answered()
        until_s = time.monotonic() - begun_s
        verdict = await stage.verdict()
        measured.row(
            "a handler hangs", verdict, note=f"answered {until_s:.1f} s later, its deadline is {deadline_s:g} s"
        )
        assert verdict.good, verdict
        assert stage.kept("app").command.out.splitlines() == ["tries", "tries"], "not by its lease, and not again after"
        assert await store.handed_out(stage, "MESSAGES_INBOUND", "app_acme_hanging") == MESSAGES
