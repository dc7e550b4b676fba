"""kill -9 anywhere between a commit and the record of its acknowledgement: nothing lost, nothing twice in a stream."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from penstock.state import publisher
from tests import standstill
from tests.integration.state.conftest import Counter, until

POINTS = ("before_publish", "after_publish", "before_record")
TOTAL = 60


class Noting(Counter):
    """A transport that notes which messages the stream had already."""

    def __init__(self, spine):
        super().__init__()
        self.spine, self.duplicates = spine, []
        self.stream_state, self.message = spine.stream_state, spine.message

    @property
    def connection(self):
        return self.spine.connection

    async def publish(self, message, *, on=None):
        answer = await self.spine.publish(message, on=on)
        self.taken.append(message)
        if answer.duplicate:
            self.duplicates.append(message)
        return answer


@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_publisher_loses_nothing_and_doubles_nothing(point, shop, database, spine, nats_endpoint):
    await shop.append(database, range(TOTAL), keys=3)
    script = Path(__file__).with_name("dying.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        point,
        shop.url,
        nats_endpoint.url_with_credentials(),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == -9
    assert f"hit {point}" in output.decode(), "the crash point was reached"

    transport = Noting(spine)
    healthy = publisher.Publisher(database, transport, "shop")
    await healthy.start()
    await shop.until_published(database, TOTAL)
    await healthy.stop()

    stored = await read_all(spine, shop)
    by_key = [[number for number in stored if number % 3 == key] for key in range(3)]
    assert by_key == [list(range(key, TOTAL, 3)) for key in range(3)], "each once, in the order of its key"
    if point != "before_publish":
        assert transport.duplicates, "what was published and not recorded is published again, under the same id"


async def read_all(spine, shop):
    """The numbers of all messages in the stream."""
    numbers = []
    reading = spine.browse(shop.stream, f"tenant.*.{shop.stream}.>", after=0)

    async def read():
        async for delivery in reading:
            numbers.append(int(delivery.headers["number"]))
            if len(numbers) >= TOTAL:
                return

    await asyncio.wait_for(read(), 20)
    await reading.aclose()
    return numbers


@pytest.fixture
async def elsewhere(shop, database, spine, nats_endpoint):
    """A process that leads the outbox and has published five messages."""
    script = Path(__file__).with_name("dying.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), "never", shop.url, nats_endpoint.url_with_credentials()
    )
    try:
        await shop.append(database, range(5))
        await shop.until_published(database, 5)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def standby(database, spine, elsewhere):
    waiting = publisher.Publisher(database, spine, "shop")
    await waiting.start()
    yield waiting
    await waiting.stop()


async def test_a_killed_process_leaves_the_lease_at_once(shop, database, elsewhere, standby):
    elsewhere.kill()
    await until(_leads(standby), within_s=10)
    await shop.append(database, range(5, 9))
    await shop.until_published(database, 9)


async def test_a_paused_process_loses_the_lease_and_writes_nothing_when_it_goes_on(
    shop, database, spine, elsewhere, standby
):
    standstill.bring_about(elsewhere.pid)
    await until(_leads(standby))
    await shop.append(database, range(5, 30))
    await shop.until_published(database, 30)
    elsewhere.send_signal(signal.SIGCONT)
    await shop.append(database, range(30, TOTAL))
    await shop.until_published(database, TOTAL)
    assert standby.leads
    assert await read_all(spine, shop) == list(range(TOTAL))
    await standby.stop()
    await shop.append(database, [TOTAL])
    await shop.until_published(database, TOTAL + 1)


def _leads(each):
    async def leads():
        return each.leads

    return leads
