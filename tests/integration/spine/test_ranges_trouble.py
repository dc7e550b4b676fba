"""Three processes and their server, hurt at random by a seeded schedule: nothing lost, nothing begun out of order."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from tests import standstill
from tests.conformance import nats_bench
from tests.integration.spine import range_stage

SEED = int(os.environ.get("SEED", "7"))
HURTS = 14
KINDS = ("kill", "stop", "pause", "server")


async def hurt(company: range_stage.Company, server: nats_bench.Server, chance: random.Random, number: int) -> None:
    """One misfortune; whoever ended is replaced."""
    kind = chance.choice(KINDS)
    victim = chance.choice([member for member in company.processes if member.process.returncode is None])
    if kind == "server":
        server.kill()
        await asyncio.sleep(chance.uniform(0.1, 3.0))
        server.start()
    elif kind == "pause":
        standstill.bring_about(victim.process.pid)
        await asyncio.sleep(chance.uniform(0.5, 8.0))
        victim.process.send_signal(signal.SIGCONT)
    else:
        victim.process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        await victim.process.wait()
        await company.join(f"member-{number}")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_order_and_completeness_survive_a_mixture_of_everything(server_folder: Path) -> None:
    chance = random.Random(SEED)
    (server_folder / "nats").mkdir()
    with nats_bench.running(server_folder / "nats") as server:
        url = server.url.replace("://", f"://bench:{nats_bench.PASSWORD}@")
        async with range_stage.opened(url, server_folder) as company:
            for name in ("first", "second", "third"):
                await company.join(name)
            enough = asyncio.Event()

            async def go_on() -> None:
                while not enough.is_set():
                    await company.write(1, pause_s=0.004)

            writing = asyncio.create_task(go_on())
            for number in range(HURTS):
                await asyncio.sleep(chance.uniform(0.2, 4.0))
                await hurt(company, server, chance, number)
            enough.set()
            await writing
            await company.all_arrived()
            company.assert_ordered()
            await company.settled()
