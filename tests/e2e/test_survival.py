"""What the whole product must survive, with real servers: kill -9, poison, Postgres or NATS away, SIGTERM at work."""

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.channels.testing import webhook_simulator
from penstock.messages.v1 import outbound_pb2
from penstock.servers import testing as servers
from tests.e2e import conversation, installation, processes, raw_http, records

TEXTS = [f"message {number}" for number in range(500)]
POISON_APP = Path(__file__).with_name("poison_app.py")


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_killing_the_core_process_loses_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        installation.up(installation.environment(folder)) as running,
        conversation.account(running, "acme") as simulator,
        installation.app(running, "acme"),
    ):
        # The platform takes its time, so that several sends are under way at the moment of the kill.
        simulator.behave(webhook_simulator.Behaviour(delay_s=0.1))
        saying = asyncio.create_task(conversation.say_all(simulator, TEXTS))
        await simulator.until(lambda: len(simulator.arrivals) > 100, timeout_s=30)
        killed = running.core_pid()
        os.kill(killed, signal.SIGKILL)
        simulator.behave()
        again_s = await processes.until(lambda: running.core_pid() not in (0, killed), "another core runs")
        again_s += await running.answers()
        posted = await saying
        assert {each.status for each in posted.values()} == {200}
        await conversation.all_answered(simulator, TEXTS, timeout_s=60)
        receipts = await records.receipts(running, "acme", count=len(TEXTS))

        assert set(conversation.answers(simulator).values()) == {1}, "the platform acted twice on one answer"
        asked = Counter(arrival.command.command_id for arrival in simulator.arrivals)
        assert len(asked) == len(TEXTS)
        told = {receipt.command_id: receipt for receipt in receipts}
        assert set(told) == set(asked), "one receipt a command"
        assert {receipt.status for receipt in receipts} == {outbound_pb2.RECEIPT_STATUS_SENT}
        # What was asked twice was in flight when the process died, and its receipt says that nobody could know.
        twice = {command_id for command_id, times in asked.items() if times > 1}
        ambiguous = {command_id for command_id, receipt in told.items() if receipt.ambiguous}
        assert twice
        assert twice <= ambiguous
        assert ambiguous == await records.ambiguous_rows(running, "acme")
        assert len(ambiguous) <= conversation.ROOMS, "more than one of a conversation was in flight"
        assert simulator.faults == []
    with capsys.disabled():
        print(f"\n  core killed: requests answered again after {again_s:.2f} s; {len(ambiguous)} ambiguous", end="")


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_one_poison_message_among_many(folder: Path) -> None:
    texts = [*TEXTS[:250], "poison", *TEXTS[251:]]
    harmless = [text for text in texts if text != "poison"]
    async with (
        installation.up(installation.environment(folder)) as running,
        conversation.account(running, "acme") as simulator,
    ):
        async with installation.app(running, "acme", POISON_APP):
            posted = await conversation.say_all(simulator, texts)
            assert {each.status for each in posted.values()} == {200}
            await conversation.all_answered(simulator, harmless)
            [row] = await _quarantined(running)
        assert conversation.answers(simulator) == Counter(map(conversation.answer, harmless))
        assert (row["consumer"], row["reason"], row["code"]) == ("app_acme_poison", "poisoned", "not_today")
        shown = await running.cli("quarantine", "show", row["id"], "-t", "acme")
        assert shown["body"]["text"] == "poison"
        assert shown["body"]["event_id"] == posted["poison"].event_id

        async with installation.app(running, "acme", POISON_APP, MENDED="1"):
            assert (await running.cli("quarantine", "redrive", row["id"], "-t", "acme"))["redriven"] == 1
            await conversation.all_answered(simulator, texts)
        assert conversation.answers(simulator) == Counter(map(conversation.answer, texts))
        [row] = await running.cli("quarantine", "ls", "-t", "acme")
        assert row["redriven_at"]
        assert simulator.duplicates == 0


async def _quarantined(running: installation.Installation) -> list[dict[str, str]]:
    """What is in quarantine, once there is something."""
    async with asyncio.timeout(20):
        while not (rows := await running.cli("quarantine", "ls", "-t", "acme")):
            await asyncio.sleep(0.1)
    return rows


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_postgres_away_means_503_and_never_200(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with servers.held_postgres(folder / "postgres", durable=True) as postgres:
        environ = installation.environment(folder, PENSTOCK_POSTGRES_URL=postgres.endpoint.url())
        async with (
            installation.up(environ) as running,
            conversation.account(running, "acme", patience_s=0) as simulator,
            installation.app(running, "acme"),
        ):
            posted = await conversation.say_all(simulator, TEXTS[:100])
            async with postgres.away():
                refused = await conversation.say_all(simulator, TEXTS[100:200])
                assert {each.status for each in refused.values()} == {503}
                for each in refused.values():
                    problem = json.loads(each.answer)
                    assert (problem["status"], problem["type"]) == (503, f"urn:penstock:problem:{problem['code']}")
                target = urlsplit(simulator.webhook_url).path
                body = refused[TEXTS[100]].body
                answer = await raw_http.exchange(running.http_url, "POST", target, simulator.sign("hook", body), body)
                assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
                assert int(answer.headers["retry-after"]) >= 1
            back_s = await _taken(simulator, "again")
            posted |= await conversation.say_all(simulator, TEXTS[200:300])
            assert {each.status for each in posted.values()} == {200}
            await conversation.all_answered(simulator, [*posted, "again"])
            assert set(conversation.answers(simulator).values()) == {1}
            heard = {arrival.command.text for arrival in simulator.arrivals}
            assert heard.isdisjoint(map(conversation.answer, refused)), "answered although it was refused"
    with capsys.disabled():
        print(f"\n  Postgres back: taken again after {back_s:.2f} s", end="")


async def _taken(simulator: webhook_simulator.WebhookSimulator, text: str) -> float:
    """Say something until it is taken; the seconds that took."""
    begun = asyncio.get_running_loop().time()
    async with asyncio.timeout(30):
        while not (await simulator.say("room", text)).ok:
            await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time() - begun


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_webhooks_are_answered_while_nats_is_away(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = asyncio.get_running_loop()
    async with servers.held_nats(folder / "nats") as nats:
        environ = installation.environment(folder, PENSTOCK_NATS_URL=nats.endpoint.url_with_credentials())
        async with (
            installation.up(environ) as running,
            conversation.account(running, "acme", patience_s=0) as simulator,
            installation.app(running, "acme"),
        ):
            posted = await conversation.say_all(simulator, TEXTS[:100])
            async with nats.away():
                begun, heard = loop.time(), len(simulator.arrivals)
                # Ten rounds over the rooms, spread over the whole outage.
                posted |= await conversation.say_all(simulator, TEXTS[100:300], pause_s=2.0)
                assert loop.time() - begun >= 20
                assert len(simulator.arrivals) - heard <= 100, "who answered without a spine?"
            back = loop.time()
            posted |= await conversation.say_all(simulator, TEXTS[300:400])
            assert {each.status for each in posted.values()} == {200}
            await conversation.all_answered(simulator, TEXTS[:400], timeout_s=60)
            back_s = loop.time() - back
            assert conversation.out_of_order(simulator, TEXTS[:400]) == []
            assert set(conversation.answers(simulator).values()) == {1}
            assert simulator.duplicates == 0
    with capsys.disabled():
        print(f"\n  NATS back after 20 s: all answered after {back_s:.2f} s", end="")


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_sigterm_under_load(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running, conversation.account(running, "acme", patience_s=0) as simulator:
        async with installation.app(running, "acme"):
            saying = asyncio.create_task(conversation.say_all(simulator, TEXTS))
            await simulator.until(lambda: len(simulator.arrivals) > 50, timeout_s=30)
            running.signal(signal.SIGTERM)
            stopping = asyncio.get_running_loop().time()
            assert await running.ended() == 0
            stop_s = asyncio.get_running_loop().time() - stopping
            posted = await saying
        assert {each.status for each in posted.values()} <= {200, 503, 0}
        taken = [text for text, each in posted.items() if each.ok]
        assert 50 < len(taken) < len(TEXTS)
        async with installation.up(environ) as again, installation.app(again, "acme"):
            await conversation.all_answered(simulator, taken)
            receipts = await records.receipts(again, "acme", count=len(taken))
            assert not any(receipt.ambiguous for receipt in receipts)
            assert len({receipt.command_id for receipt in receipts}) == len(taken)
        assert conversation.answers(simulator) == Counter(map(conversation.answer, taken))
        assert simulator.duplicates == 0
        assert simulator.faults == []
    with capsys.disabled():
        print(f"\n  SIGTERM under load: exit 0 after {stop_s:.2f} s, {len(taken)} taken", end="")


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_losing_the_streams_costs_latency_only(folder: Path) -> None:
    async with (
        installation.up(installation.environment(folder)) as running,
        conversation.account(running, "acme") as simulator,
        installation.app(running, "acme"),
    ):
        await conversation.say_all(simulator, TEXTS[:40])
        await conversation.all_answered(simulator, TEXTS[:40])
        await records.delete_streams(running, "MESSAGES_INBOUND", "MESSAGES_OUTBOUND", "RECEIPTS")
        posted = await conversation.say_all(simulator, TEXTS[40:80])
        assert {each.status for each in posted.values()} == {200}
        await conversation.all_answered(simulator, TEXTS[:80], timeout_s=60)
        assert max(conversation.answers(simulator).values()) == 1
