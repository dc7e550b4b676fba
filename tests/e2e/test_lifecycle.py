"""`penstock up` and what it starts: side by side, refused in one line, stopped whole, and back after any kill -9."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests import loopback
from tests.e2e import conversation, installation, processes, records

TEXTS = [f"message {number}" for number in range(200)]


def beside(folder: Path, name: str) -> dict[str, str]:
    """The environment of another installation below the same folder."""
    (folder / name).mkdir(mode=0o711)
    return installation.environment(folder / name)


async def refused(environ: dict[str, str]) -> tuple[int, str]:
    """`penstock up`, which ends by itself: exit code, and the one line that it said."""
    command = installation.Command(environ, "up")
    try:
        code = await command.ended()
    finally:
        await command.close()
    [line] = command.err.splitlines()
    assert command.out == ""
    return code, line


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_two_installations_live_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = beside(folder, "one"), beside(folder, "two")
    async with installation.up(first) as one, installation.up(second) as two:
        assert one.http_url != two.http_url
        async with conversation.account(one, "acme") as here, conversation.account(two, "acme") as there:
            async with installation.app(one, "acme"), installation.app(two, "acme"):
                await asyncio.gather(conversation.say_all(here, TEXTS[:20]), conversation.say_all(there, TEXTS[20:40]))
                await conversation.all_answered(here, TEXTS[:20])
                await conversation.all_answered(there, TEXTS[20:40])
            assert conversation.answers(here) == Counter(map(conversation.answer, TEXTS[:20]))
            assert conversation.answers(there) == Counter(map(conversation.answer, TEXTS[20:40]))

        code, line = await refused({**first, "PENSTOCK_EDGE__PORT": "0"})
        assert code == 5
        assert f"another 'penstock up' (process {one.process.pid}) uses the data folder {one.data}" in line

        third = beside(folder, "three") | {"PENSTOCK_EDGE__PORT": first["PENSTOCK_EDGE__PORT"]}
        code, line = await refused(third)
        assert code == 5
        assert f"port {first['PENSTOCK_EDGE__PORT']}" in line
        assert processes.using(folder / "three") == [], "what was started for nothing is stopped"

        assert await one.cli("tenant", "ls"), "those that run are not disturbed"
        begun_s = (one.ready_s, two.ready_s)
    await processes.gone(folder, timeout_s=1)
    with capsys.disabled():
        print(f"\n  up: ready after {begun_s[0]:.2f} and {begun_s[1]:.2f} s on a new folder", end="")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_after_kill_of_everything_the_next_up_has_all_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running, conversation.account(running, "acme") as platform:
        async with installation.app(running, "acme"):
            await conversation.say_all(platform, TEXTS[:20])
            await conversation.all_answered(platform, TEXTS[:20])
        posted = await conversation.say_all(platform, TEXTS[20:60])
        assert {each.status for each in posted.values()} == {200}
        processes.kill(running.data)
        assert processes.using(folder) == []
        async with installation.up(environ) as again:
            assert again.http_url == platform.webhook_url.partition("/webhooks")[0]
            async with installation.app(again, "acme"):
                await conversation.all_answered(platform, TEXTS[:60])
                await conversation.say_all(platform, TEXTS[60:80])
                await conversation.all_answered(platform, TEXTS[:80])
            again_s = again.ready_s
        assert conversation.answers(platform) == Counter(map(conversation.answer, TEXTS[:80]))
        assert platform.duplicates == 0
    with capsys.disabled():
        print(f"\n  everything killed: up is ready again after {again_s:.2f} s", end="")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_when_up_alone_is_killed_the_core_drains_and_the_servers_are_adopted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running, conversation.account(running, "acme") as platform:
        before = {name: running.server_pid(name) for name in ("nats", "postgres")}
        core = running.core_pid()
        async with installation.app(running, "acme"):
            saying = asyncio.create_task(conversation.say_all(platform, TEXTS))
            await platform.until(lambda: len(platform.arrivals) > 40, timeout_s=30)
            running.process.kill()
            async with installation.up(environ) as again:
                drained_s = await processes.until(
                    lambda: core not in {each.pid for each in processes.using(folder)}, "the core left behind exits"
                )
                assert {name: again.server_pid(name) for name in before} == before
                posted = await saying
                assert {each.status for each in posted.values()} == {200}
                await conversation.all_answered(platform, TEXTS)
                told = await records.receipts(again, "acme", count=len(TEXTS))
                assert conversation.answers(platform) == Counter(map(conversation.answer, TEXTS))
                assert platform.duplicates == 0
                assert not any(receipt.ambiguous for receipt in told), "it drained"
                again_s = again.ready_s
        await processes.gone(folder, timeout_s=1)
    with capsys.disabled():
        print(f"\n  up killed: ready again after {again_s:.2f} s, the old core gone {drained_s:.2f} s later", end="")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_requests_wait_while_a_killed_core_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        installation.up(installation.environment(folder)) as running,
        conversation.account(running, "acme", patience_s=0) as platform,
    ):
        for number in range(3):
            killed = running.core_pid()
            os.kill(killed, signal.SIGKILL)
            await processes.until(lambda pid=killed: running.core_pid() != pid, "it is dead")
            await platform.disconnect()
            platform.connect(platform.webhook_url)
            posted = await conversation.say_all(platform, [f"{number} {text}" for text in TEXTS[:20]])
            # Posted once, while nobody was there to accept: not refused, only later.
            assert {(each.status, each.attempts) for each in posted.values()} == {(200, 1)}
            longest_s = max(each.latency_s for each in posted.values())
            with capsys.disabled():
                print(f"\n  core killed: the longest request took {longest_s:.2f} s", end="")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGINT,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGINT)],
    ids=["Ctrl-C", "closed terminal", "Ctrl-C twice"],
)
async def test_interrupting_stops_everything(folder: Path, numbers: tuple[signal.Signals, ...]) -> None:
    environ = installation.environment(folder)
    async with installation.up(environ) as running:
        assert len(processes.using(running.data)) >= 4, "up, core, nats-server, Postgres"
        for number in numbers:
            running.signal(number)
            await asyncio.sleep(0.05)
        assert await running.ended() == 0
        # The core of somebody impatient drains by itself: nobody waited for it.
        await processes.gone(folder, timeout_s=1 if len(numbers) == 1 else 30)
        assert not (running.data / "run" / "endpoints.json").exists()
    code, _, err = await installation.run(environ, "tenant", "ls")
    assert code == 75
    assert err.splitlines() == [f"penstock: {_NOT_RUNNING}"]


_NOT_RUNNING = "no installation is running in this data folder. Start one with 'penstock up'."


@pytest.mark.timeout(180)
@pytest.mark.parametrize("at", ["run", "run/nats.json", "run/postgres.json", "run/endpoints.json"])
async def test_interrupting_a_start_leaves_nothing(folder: Path, at: str) -> None:
    command = installation.Command(installation.environment(folder), "up")
    try:
        await processes.until((folder / "data" / at).exists, f"{at} is there")
        command.signal(signal.SIGTERM)
        assert await command.ended() == 0
    finally:
        await command.close()
    assert "Traceback" not in command.err
    await processes.gone(folder, timeout_s=1)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("variable", "scheme", "title"),
    [("PENSTOCK_POSTGRES_URL", "postgresql", "Postgres"), ("PENSTOCK_NATS_URL", "nats", "NATS")],
)
async def test_a_server_that_is_not_there_is_said_in_one_line(
    folder: Path, variable: str, scheme: str, title: str
) -> None:
    port = loopback.free_port()
    path = "/penstock" if scheme == "postgresql" else ""
    url = f"{scheme}://penstock:swordfish@127.0.0.1:{port}{path}"
    code, line = await refused(installation.environment(folder, **{variable: url}))
    assert code == 75
    assert line.startswith(f"penstock: {title} at 127.0.0.1:{port} does not answer.")
    assert variable in line
    assert "swordfish" not in line
    await processes.gone(folder, timeout_s=1)
