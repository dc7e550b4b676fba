"""What the whole product must survive, with real servers: kill -9, poison, Postgres or NATS away, SIGTERM under load."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from penstock.servers import testing as servers
from tests.e2e import conversation, installation

TEXTS = [f"message {number}" for number in range(500)]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_killing_the_core_process_loses_nothing(tmp_path: Path) -> None:
    async with (
        installation.up(installation.environment(tmp_path)) as running,
        conversation.account(running, "acme") as simulator,
        installation.app(running, "acme"),
    ):
        saying = asyncio.create_task(conversation.say_all(simulator, TEXTS))
        await simulator.until(lambda: len(simulator.arrivals) > 100)
        first = running.core_pid()
        os.kill(first, signal.SIGKILL)
        posted = await saying
        assert all(each.ok for each in posted)
        await conversation.all_answered(simulator, TEXTS, timeout_s=90)
        assert running.core_pid() != first
        twice = [text for text, count in conversation.answers(simulator).items() if count > 1]
        assert twice == [], "the platform acted twice on one command"
        # What was asked twice is what was in flight when the process died, and its receipt says so.
        metrics = await running.cli("receipt", "ls", "-t", "acme", "--ambiguous")
        asked_twice = {a.command.command_id for a in simulator.arrivals if a.duplicate}
        assert asked_twice <= {each["command_id"] for each in metrics}
        assert simulator.faults == []


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_one_poison_message_among_many(tmp_path: Path) -> None:
    async with (
        installation.up(installation.environment(tmp_path)) as running,
        conversation.account(running, "acme") as simulator,
        installation.app(running, "acme", Path(__file__).with_name("poison_app.py")),
    ):
        await conversation.say_all(simulator, [*TEXTS[:250], "poison", *TEXTS[251:]])
        await conversation.all_answered(simulator, [text for text in TEXTS if text != TEXTS[250]])
        assert len(conversation.answers(simulator)) == 499
        async with asyncio.timeout(20):
            while len(rows := await running.cli("quarantine", "ls", "-t", "acme")) != 1:
                await asyncio.sleep(0.1)
        assert (rows[0]["reason"], rows[0]["code"]) == ("poisoned", "not_today")
        shown = await running.cli("quarantine", "show", str(rows[0]["id"]), "-t", "acme")
        assert "poison" in str(shown["body"])


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_postgres_away_means_503_and_never_200(tmp_path: Path) -> None:
    async with servers.running_postgres(tmp_path / "pg") as postgres:
        environ = installation.environment(tmp_path, PENSTOCK_POSTGRES_URL=postgres.url())
        async with (
            installation.up(environ) as running,
            conversation.account(running, "acme", patience_s=0) as simulator,
            installation.app(running, "acme"),
        ):
            assert (await simulator.say("room", "before")).status == 200
            async with servers.stopped(postgres):
                for number in range(20):
                    posted = await simulator.say("room", f"away {number}")
                    assert posted.status == 503
                    assert b"database" in posted.answer
            async with asyncio.timeout(30):
                while (await simulator.say("room", "after")).status != 200:
                    await asyncio.sleep(0.2)
            await conversation.all_answered(simulator, ["before", "after"])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_webhooks_are_answered_while_nats_is_away(tmp_path: Path) -> None:
    async with servers.running_nats(tmp_path / "nats") as nats:
        environ = installation.environment(tmp_path, PENSTOCK_NATS_URL=nats.url_with_credentials())
        async with (
            installation.up(environ) as running,
            conversation.account(running, "acme", patience_s=0) as simulator,
            installation.app(running, "acme"),
        ):
            before = await conversation.say_all(simulator, TEXTS[:100])
            await conversation.all_answered(simulator, TEXTS[:100])
            async with servers.stopped(nats):
                loop = asyncio.get_running_loop()
                begun, away = loop.time(), []
                for start in range(100, 300, 20):
                    away += await conversation.say_all(simulator, TEXTS[start : start + 20])
                    await asyncio.sleep(max(0, begun + 20 * (start - 80) / 200 - loop.time()))
                assert loop.time() - begun >= 20
            after = await conversation.say_all(simulator, TEXTS[300:400])
            assert {posted.status for posted in (*before, *away, *after)} == {200}
            await conversation.all_answered(simulator, TEXTS[:400], timeout_s=60)
            assert conversation.in_order(simulator, TEXTS[:400])


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_sigterm_under_load(tmp_path: Path) -> None:
    environ = installation.environment(tmp_path)
    async with installation.up(environ) as running, conversation.account(running, "acme", patience_s=0) as simulator:
        async with installation.app(running, "acme"):
            saying = asyncio.create_task(conversation.say_all(simulator, TEXTS))
            await simulator.until(lambda: len(simulator.arrivals) > 50)
            assert await running.stop() == 0
            posted = await saying
        taken = [text for text, each in zip(_by_room(TEXTS), posted, strict=True) if each.ok]
        assert 50 < len(taken) < len(TEXTS)
        async with installation.up(environ) as again, installation.app(again, "acme"):
            await conversation.all_answered(simulator, taken)
        assert max(conversation.answers(simulator).values()) == 1
        assert simulator.duplicates == 0


def _by_room(texts: list[str]) -> list[str]:
    """The texts in the order in which `say_all` returns them."""
    return [text for room in range(20) for text in texts[room::20]]
