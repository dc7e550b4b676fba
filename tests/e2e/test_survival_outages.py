"""What lasts: NATS away, its disk failing, Postgres away, a platform that says 429; nothing is used up meanwhile."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_simulator
from tests.e2e import processes, raw_http
from tests.soak import measured as measurements
from tests.soak import stage as stages
from tests.soak import store
from tests.soak import talk as talks

AWAY_S = float(os.environ.get("AWAY_S", "15"))
"""How long each outage lasts; the soak has longer ones. Leases are two seconds where they are looked at."""


def short_leases(folder: Path) -> stages.Cast:
    """Leases of two seconds on commands, so that an outage is many of them."""
    path = folder / "penstock.toml"
    path.write_text("[spine.consumers.outbound]\nack_wait_s = 2.0\n")
    return stages.Cast(variables={"PENSTOCK_CONFIG": str(path)})


async def talking(stage: stages.Stage, *, seconds: float, pause_s: float) -> list[talks.Said]:
    """Go on talking for some seconds; what was said."""
    enough, begun = asyncio.Event(), len(stage.talk.said)
    asyncio.get_running_loop().call_later(seconds, enough.set)
    await stage.talk.go_on(enough, pause_s=pause_s)
    return stage.talk.said[begun:]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_webhooks_are_answered_while_nats_is_away(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder) as stage:
        await stage.say(100)
        await stage.answered()
        async with stage.away("nats"):
            heard = stage.arrived
            said = await talking(stage, seconds=AWAY_S, pause_s=1.0)
            assert {each.posted.status for each in said} == {200}
            assert stage.arrived == heard, "who answered without a spine?"
            # Published in vain by now: what a platform delivers again is known, and is not said a second time.
            again = await asyncio.gather(*(stage.talk.platform.repeat(each.posted) for each in said))
            assert {each.status for each in again} == {200}
        since_s = time.perf_counter()
        await stage.say(100)
        await stage.answered()
        verdict = await stage.verdict()
        measured.row(f"NATS away for {AWAY_S:g} s", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert not verdict.excused
        assert stage.talk.platform.duplicates == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_jetstream_cannot_write_and_refuses_what_is_published(
    folder: Path, measured: measurements.Measured
) -> None:
    async with stages.opened(folder) as stage:
        await stage.say(100)
        await stage.answered()
        full = stage.parts["nats"].pid
        stage.parts["nats"].fill_disk()
        said = await talking(stage, seconds=5.0, pause_s=0.5)
        assert {each.posted.status for each in said} == {200}
        again = await asyncio.gather(*(stage.talk.platform.repeat(each.posted) for each in said))
        assert {each.status for each in again} == {200}
        unanswered = len(stage.talk.unanswered)
        since_s = time.perf_counter()
        await stage.parts["nats"].back(full, timeout_s=90)
        mended_s = time.perf_counter() - since_s
        await stage.say(100)
        await stage.answered()
        verdict = await stage.verdict()
        note = f"{unanswered} waited; NATS started anew after {mended_s:.1f} s"
        measured.row("JetStream refuses to store", verdict, stage.recovery_s(since_s + mended_s), note)
        assert unanswered, "it took them after all"
        assert verdict.good, verdict
        assert not verdict.excused
        assert stage.talk.platform.duplicates == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_postgres_away_means_503_and_never_200(folder: Path, measured: measurements.Measured) -> None:
    cast = stages.Cast(patience_s=0.0)
    async with stages.opened(folder, cast) as stage:
        await stage.say(100)
        [account] = await stage.installation.cli("account", "ls", "-t", stages.TENANT)
        async with stage.away("postgres"):
            await until_refused(stage)
            refused = await stage.say(100)
            assert {each.posted.status for each in refused} == {503}
            for each in refused:
                problem = json.loads(each.posted.answer)
                assert (problem["status"], problem["type"]) == (503, f"urn:penstock:problem:{problem['code']}")
            await says_when_to_come_back(stage, account["id"], refused[0].posted.body)
        since_s = time.perf_counter()
        await taken_again(stage)
        said = await stage.say(100)
        assert {each.posted.status for each in said} == {200}
        await stage.answered()
        verdict = await stage.verdict()
        measured.row("Postgres away, platforms without patience", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        heard = {arrival.command.text for arrival in stage.talk.platform.arrivals}
        assert heard.isdisjoint(talks.answer(each.text) for each in refused), "answered although it was refused"


async def says_when_to_come_back(stage: stages.Stage, account: str, body: bytes) -> None:
    """The 503 is a problem with Retry-After."""
    target, signed = f"/webhooks/webhook/{account}", stage.talk.platform.sign("hook", body)
    answer = await raw_http.exchange(stage.installation.http_url, "POST", target, signed, body)
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1


async def until_refused(stage: stages.Stage) -> None:
    """Talk until something is refused: what a dead Postgres leaves behind may still take what comes at that moment."""
    async with asyncio.timeout(30):
        while (await stage.talk.tell("room-0", f"still {time.monotonic_ns()}")).taken:
            await asyncio.sleep(0.1)


async def taken_again(stage: stages.Stage) -> None:
    """Talk until something is taken."""
    async with asyncio.timeout(30):
        while not (await stage.talk.tell("room-0", f"again {time.monotonic_ns()}")).taken:
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_long_without_postgres_uses_up_no_delivery(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, short_leases(folder)) as stage:
        stage.talk.platform.behave(webhook_simulator.Behaviour(delay_s=0.1))
        await stage.say(400)  # faster than they can be sent: many commands are on their way when Postgres goes
        async with stage.away("postgres"):
            saying = asyncio.create_task(talking(stage, seconds=AWAY_S, pause_s=0.5))
            await asyncio.sleep(AWAY_S)
        since_s = time.perf_counter()
        await saying
        await stage.say(100)
        await stage.answered()
        verdict = await stage.verdict()
        measured.row(f"Postgres away for {AWAY_S:g} s", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert not verdict.excused
        await nothing_used_up(stage)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_long_429_uses_up_no_delivery(folder: Path, measured: measurements.Measured) -> None:
    async with stages.opened(folder, short_leases(folder)) as stage:
        platform = stage.talk.platform
        platform.behave(webhook_simulator.Behaviour(status=429, retry_after="1"))
        await talking(stage, seconds=AWAY_S, pause_s=0.5)
        since_s = time.perf_counter()
        platform.behave()
        await stage.say(100)
        await stage.answered()
        verdict = await stage.verdict()
        measured.row(f"a platform says 429 for {AWAY_S:g} s", verdict, stage.recovery_s(since_s))
        assert verdict.good, verdict
        assert not verdict.excused
        assert platform.duplicates == 0
        await nothing_used_up(stage)


async def nothing_used_up(stage: stages.Stage) -> None:
    """Every command and message was handed out once, and nothing is in quarantine."""
    said = len(stage.talk.said)
    assert await store.handed_out(stage, "MESSAGES_OUTBOUND", "outbound") == said
    assert await store.handed_out(stage, "MESSAGES_INBOUND", "app_acme_echo") == said
    assert await stage.installation.cli("quarantine", "ls", "-t", stages.TENANT) == []
    await processes.until(lambda: not stage.talk.unanswered, "all is answered")
