"""A message that ends every process which handles it, on a real server: it alone is set aside, after four deaths."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.servers.endpoints import NatsEndpoint
from penstock.spine import suspects
from tests.integration.spine import range_member, range_stage


@pytest.fixture
async def company(fresh_nats: NatsEndpoint, server_folder: Path) -> AsyncIterator[range_stage.Company]:
    async with range_stage.opened(fresh_nats.url_with_credentials(), server_folder) as made:
        yield made


async def test_a_message_that_kills_is_quarantined_and_its_neighbours_are_not(company: range_stage.Company) -> None:
    await company.write(60)
    deadly = dataclasses.replace(range_member.letter(0, 5, range_member.DEADLY), headers={"Nats-Msg-Id": "deadly"})
    await company.spine.publish(deadly)
    await company.write(60)
    deaths = 0

    async def keep_one_alive() -> None:
        nonlocal deaths
        while True:
            member = await company.join(f"life-{deaths}")
            await member.process.wait()
            deaths += 1

    keeping = asyncio.create_task(keep_one_alive())
    try:
        record = await company.quarantined()
        await company.all_arrived()
        await company.settled()
    finally:
        keeping.cancel()
    begun = [line for line in company.journal.read_text().splitlines() if line.split()[2] == "die"]
    assert deaths == len(begun) == 2 + suspects.SOLO_RUNS
    assert (record.consumer, record.code, record.body) == ("reader", "kills_process", b"die")
    assert record.attempts == suspects.SOLO_RUNS
    company.assert_ordered()
    bucket = await company.spine.key_value(suspects.BUCKET)
    assert len(await bucket.keys()) == 1, "what ended any other way than with its process left nothing behind"
