"""Processes of one app on a real bus: they share the work, lose nothing when they die, and say nothing twice."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from penstock.servers import folder, settings, testing
from penstock.servers.endpoints import NatsEndpoint
from penstock.servers.nats import EmbeddedNats
from tests.integration.sdk import stage as stages

CONVERSATIONS = [f"room-{number}" for number in range(10)]
EACH = 10


def pids(stage: stages.Stage) -> set[str]:
    return {command.attachments[0].name for command in stage.commands}


def expected(count: int) -> list[str]:
    return [f"{number} {which}" for number in range(count) for which in ("first", "second")]


async def say_all(stage: stages.Stage, *, each: int = EACH) -> int:
    """Everything at once in every conversation; returns how many answers that makes."""
    for number in range(each):
        await asyncio.gather(*(stage.say(name, str(number)) for name in CONVERSATIONS))
    return len(CONVERSATIONS) * each * 2


async def test_a_conversation_keeps_its_order(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING) as replica:
        await replica.ready()
        await stage.answers(await say_all(stage))
    assert stage.by_conversation() == {name: expected(EACH) for name in CONVERSATIONS}


async def test_replicas_share_the_work_and_a_dialogue_keeps_its_order(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING) as one, stage.run(stages.COUNTING) as other:
        await asyncio.gather(one.ready(), other.ready())
        for number in range(EACH):
            await asyncio.gather(*(stage.say(name, str(number)) for name in CONVERSATIONS))
            await stage.answers((number + 1) * len(CONVERSATIONS) * 2)
        assert pids(stage) == {f"pid-{one.process.pid}", f"pid-{other.process.pid}"}
        assert stage.by_conversation() == {name: expected(EACH) for name in CONVERSATIONS}
        assert [await one.stop(), await other.stop()] == [0, 0]


@pytest.mark.slow
async def test_a_replica_that_is_killed_loses_nothing_and_doubles_nothing(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING) as one, stage.run(stages.COUNTING) as other:
        await asyncio.gather(one.ready(), other.ready())
        saying = asyncio.create_task(say_all(stage))
        await stages.until(lambda: len(stage.commands) > 40 and f"pid-{one.process.pid}" in pids(stage))
        await one.kill()
        answers = await stage.answers(await saying)
        assert len(answers) == len(CONVERSATIONS) * EACH * 2
        assert await other.stop() == 0
    for name, texts in stage.by_conversation().items():
        assert sorted(texts) == sorted(expected(EACH)), name
        assert all(texts.index(f"{n} first") < texts.index(f"{n} second") for n in range(EACH)), name


async def test_sigterm_finishes_what_was_begun_and_gives_back_the_rest(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING, PAUSE_S="0.05") as one:
        await one.ready()
        total = await say_all(stage)
        await stages.until(lambda: len(stage.commands) > 10)
        assert await one.stop() == 0
        firsts = [command.text for command in stage.commands if "first" in command.text]
        seconds = [command.text for command in stage.commands if "second" in command.text]
        assert len(firsts) == len(seconds)
    async with stage.run(stages.COUNTING) as two:
        await two.ready()
        assert len(await stage.answers(total)) == total
    assert stage.by_conversation() == {name: expected(EACH) for name in CONVERSATIONS}
    assert len(stage.commands) == total


async def test_a_drain_that_takes_too_long_gives_its_message_to_another(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING, PAUSE_S="60", PENSTOCK_SDK__DRAIN_S="0.2") as one:
        await one.ready()
        await stage.say("room", "0")
        await stage.answers(1)
        assert await one.stop() == 0
    async with stage.run(stages.COUNTING) as two:
        await two.ready()
        await stage.answers(2)
    assert stage.by_conversation() == {"room": ["0 first", "0 second"]}


@contextlib.asynccontextmanager
async def own_server() -> AsyncGenerator[tuple[EmbeddedNats, NatsEndpoint]]:
    """A nats-server that the test may stop and start."""
    with testing.temporary_folder() as path:
        prepared = folder.prepare(path / "data", build="test")
        server = EmbeddedNats(prepared, settings.ServersSettings(data_folder=prepared.path))
        try:
            yield server, await server.start()
        finally:
            await server.stop()


async def test_it_goes_on_after_the_bus_was_away() -> None:
    async with own_server() as (server, endpoint), stages.opened(endpoint) as stage, stage.run() as app:
        await app.ready()
        await stage.say("room", "before")
        await stage.answers(1)
        await server.stop()
        await stages.until(lambda: not stage.spine.connected)
        saying = asyncio.create_task(stage.say("room", "meanwhile"))
        await server.start()
        await saying
        await stage.say("room", "after")
        await stage.answers(3)
        assert await app.stop() == 0
        said = [f"You said: {word}" for word in ("before", "meanwhile", "after")]
        assert stage.by_conversation() == {"room": said}


async def test_what_was_begun_is_finished_when_the_bus_comes_back() -> None:
    async with own_server() as (server, endpoint), stages.opened(endpoint) as stage:
        async with stage.run(stages.COUNTING, PAUSE_S="0.3") as app:
            await app.ready()
            await stage.say("room", "0")
            await stage.answers(1)
            await server.stop()
            await stages.until(lambda: not stage.spine.connected)
            await server.start()
            await stage.answers(2)
        assert stage.by_conversation() == {"room": ["0 first", "0 second"]}


async def test_it_stops_although_the_bus_is_away() -> None:
    async with own_server() as (server, endpoint), stages.opened(endpoint) as stage:
        async with stage.run(stages.COUNTING, PAUSE_S="0.3", PENSTOCK_SDK__DRAIN_S="1") as app:
            await app.ready()
            await stage.say("room", "0")
            await stage.answers(1)
            await server.stop()
            await stages.until(lambda: not stage.spine.connected)
            assert await app.stop() == 0
        await server.start()
        async with stage.run(stages.COUNTING) as another:
            await another.ready()
            await stage.answers(2)
        assert stage.by_conversation() == {"room": ["0 first", "0 second"]}


async def test_one_process_answers_for_several_tenants(stage: stages.Stage, nats_endpoint) -> None:
    async with stages.opened(nats_endpoint) as second:
        both = f"{stage.tenant},{second.tenant}"
        environ = {**stage.environ(), "PENSTOCK_TENANT": both}
        async with stages.replica(stages.ECHO, environ) as app:
            await app.ready()
            await stage.say("room", "here")
            await second.say("room", "there")
            await asyncio.gather(stage.answers(1), second.answers(1))
            assert await app.stop() == 0
        assert stage.by_conversation() == {"room": ["You said: here"]}
        assert second.by_conversation() == {"room": ["You said: there"]}


async def test_ctrl_c_is_a_drain_too(stage: stages.Stage) -> None:
    async with stage.run() as app:
        await app.ready()
        app.process.send_signal(2)
        assert (await app.ended())[0] == 0


async def test_a_second_signal_does_not_wait(stage: stages.Stage) -> None:
    async with stage.run(stages.COUNTING, PAUSE_S="60", PENSTOCK_SDK__DRAIN_S="600") as app:
        await app.ready()
        await stage.say("room", "0")
        await stage.answers(1)
        app.process.send_signal(15)
        await stages.until(lambda: any('"app drains"' in line for line in app.said))
        assert await app.stop() == 0
