"""Processes that share a consumer in ranges on a real server: killed, stopped, paused; order and completeness hold."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.servers.endpoints import NatsEndpoint
from tests import standstill
from tests.conformance import nats_bench
from tests.integration.spine import range_member, range_stage

PAUSE_S = 8.0
"""Longer than a lease, and than it takes until a silent owner is replaced."""

AWAY_S = 0.5
"""How long the server is gone."""


@pytest.fixture
async def company(fresh_nats: NatsEndpoint, server_folder: Path) -> AsyncIterator[range_stage.Company]:
    async with range_stage.opened(fresh_nats.url_with_credentials(), server_folder) as made:
        yield made


async def test_two_processes_share_and_one_that_stops_hands_over_at_once(company: range_stage.Company) -> None:
    first = await company.join("first")
    writing = asyncio.create_task(company.write(3000, pause_s=0.002))
    second = await company.join("second")
    await company.until(lambda: company.count("second") > 500)
    assert company.count("first") > 500
    assert await first.ended(signal.SIGTERM) == "drained 0"
    await writing
    await company.all_arrived()
    company.assert_ordered()
    assert len(company.lines()) == company.written, "an orderly hand-over repeats nothing"
    assert await second.ended(signal.SIGTERM) == "drained 0"
    await company.settled()


async def test_one_is_killed(company: range_stage.Company) -> None:
    first, _ = await company.join("first"), await company.join("second")
    writing = asyncio.create_task(company.write(3000, pause_s=0.002))
    await company.until(lambda: company.count("first") > 300)
    first.process.kill()
    await writing
    await company.all_arrived()
    company.assert_ordered()
    await company.settled()
    assert len(company.lines()) - company.written <= range_member.POLICY.concurrency


async def test_one_is_paused_and_wakes(company: range_stage.Company) -> None:
    first, _ = await company.join("first"), await company.join("second")
    enough = asyncio.Event()

    async def go_on() -> None:
        while not enough.is_set():
            await company.write(1, pause_s=0.002)

    writing = asyncio.create_task(go_on())
    await company.until(lambda: company.count("first") > 300)
    standstill.bring_about(first.process.pid)
    await asyncio.sleep(PAUSE_S)
    before = company.written
    first.process.send_signal(signal.SIGCONT)
    await company.until(lambda: company.written > before + 500)
    held_up_to = company.count("first")
    await company.until(lambda: company.count("first") > held_up_to + 200)
    enough.set()
    await writing
    await company.all_arrived()
    company.assert_ordered()
    await company.settled()
    assert len(company.lines()) - company.written <= range_member.POLICY.concurrency


async def test_the_server_is_killed_and_comes_back(server_folder: Path) -> None:
    (server_folder / "nats").mkdir()
    with nats_bench.running(server_folder / "nats") as server:
        url = server.url.replace("://", f"://bench:{nats_bench.PASSWORD}@")
        async with range_stage.opened(url, server_folder) as company:
            await company.join("first")
            await company.join("second")
            writing = asyncio.create_task(company.write(3000))
            for moment in (500, 1500):
                await company.until(lambda moment=moment: len(company.lines()) > moment)
                server.kill()
                await asyncio.sleep(AWAY_S)
                server.start()
            await writing
            await company.all_arrived()
            company.assert_ordered()
            await company.settled()
