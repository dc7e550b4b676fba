"""Conformance: the server goes away in the middle of things, and comes back: nothing stored or leased is lost."""

import asyncio

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.testing.bench import STREAM, Bench, Inbox, letter, unavailability, write
from penstock.spine.testing.publishing import read


class Outages:
    """Endless reconnection."""

    async def test_a_publish_in_an_outage_waits_for_its_end(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        assert spine.connected
        await bench.interrupt()
        assert not spine.connected
        publishing = bench.start(spine.publish(letter(1)))
        await bench.elapse(0.3)
        assert not publishing.done()
        await bench.restore()
        await bench.until(publishing.done)
        assert (await publishing).sequence == 1
        await bench.until(lambda: spine.connected)

    async def test_a_publish_raises_unavailable_when_its_time_is_over(self, bench: Bench) -> None:
        await bench.letters(None)
        impatient = await bench.connect(deadline_s=0.4)
        await bench.interrupt()
        await bench.result(unavailability(impatient.publish(letter(1))), within_s=10)
        await bench.result(unavailability(impatient.describe_stream(STREAM.name)), within_s=10)

    async def test_publishing_through_an_outage_stores_each_letter_once(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        gate = asyncio.Semaphore(50)

        async def publish(number: int) -> ports.Published:
            async with gate:
                return await spine.publish(letter(number))

        publishing = [bench.start(publish(number)) for number in range(400)]
        await bench.until(lambda: sum(task.done() for task in publishing) >= 100)
        await bench.interrupt()
        await bench.restore()
        await bench.until(lambda: all(task.done() for task in publishing), within_s=30)
        assert sorted({(await task).sequence for task in publishing}) == list(range(1, 401))
        await bench.expect_backlog(spine, policy.name, 400, 0)
        assert len({delivery.body for delivery in await read(bench, spine, 400)}) == 400

    async def test_each_connection_has_a_number_of_its_own(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        before = spine.connection
        await bench.interrupt()
        assert spine.connection == 0
        for number in (before, 0):
            # At once, and not when the outage is over.
            assert (await unavailability(spine.publish(letter(1), on=number))).code == "disconnected"
        await bench.restore()
        await bench.until(lambda: spine.connected)
        assert spine.connection > before
        assert (await unavailability(spine.publish(letter(1), on=before))).code == "disconnected"
        assert not (await spine.publish(letter(1), on=spine.connection)).duplicate
        await bench.expect_backlog(spine, policy.name, 1, 0)

    async def test_what_is_under_way_on_one_connection_fails_with_it(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        on = spine.connection
        publishing = [bench.start(_attempt(spine, number, on)) for number in range(300)]
        await bench.until(lambda: any(task.done() for task in publishing))
        await bench.interrupt()
        await bench.until(lambda: all(task.done() for task in publishing), within_s=10)
        await bench.restore()
        await bench.until(lambda: spine.connected)
        told = {number for number, task in enumerate(publishing) if task.result()}
        state = await spine.stream_state(STREAM.name)
        assert state is not None
        assert told <= {int(delivery.body) for delivery in await read(bench, spine, state.messages)}

    async def test_consuming_through_outages_hands_over_every_letter(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=2.0)
        await write(spine, range(200))
        inbox = Inbox()

        def receive(delivery: ports.Delivery) -> None:
            inbox(delivery)
            bench.start(delivery.ack())

        await spine.consume(policy, receive, window=8)
        for _ in range(2):
            await bench.until(lambda: len(inbox) >= 10)
            await bench.interrupt()
            await bench.restore()
        await bench.until(lambda: set(inbox.numbers) == set(range(200)), within_s=30)
        await write(spine, [200])
        await bench.until(lambda: 200 in inbox.numbers)
        await bench.expect_backlog(spine, policy.name, 0, 0)

    async def test_what_is_settled_in_an_outage_is_settled_after_it(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(3))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 3)
        await bench.interrupt()
        await inbox.deliveries[0].ack()
        await inbox.deliveries[1].terminate()
        await inbox.deliveries[2].retry(0)
        await bench.restore()
        await bench.until(lambda: len(inbox) == 4)
        assert inbox.numbers == [0, 1, 2, 2]
        await inbox.deliveries[3].ack()
        await bench.expect_backlog(spine, policy.name, 0, 0)

    async def test_the_window_holds_through_an_outage(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=60.0)
        await write(spine, range(30))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=5)
        await bench.until(lambda: len(inbox) == 5)
        await bench.interrupt()
        await bench.restore()
        await bench.until(lambda: spine.connected)
        await bench.elapse(0.5)
        assert len(inbox) == 5
        await inbox.ack_all()
        await bench.until(lambda: len(inbox) == 10)

    async def test_a_client_made_in_peace_survives_many_outages(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        for number in range(4):
            await bench.interrupt()
            await bench.restore()
            await bench.result(spine.publish(letter(number)))
            await bench.until(lambda number=number: number in inbox.numbers)
            await inbox.ack_all()

    async def test_closing_in_an_outage_returns(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        subscription = await spine.consume(policy, Inbox(), window=10)
        await bench.interrupt()
        await bench.result(subscription.close(), within_s=10)
        await bench.result(spine.close(), within_s=10)
        assert not spine.connected


async def _attempt(spine: ports.Spine, number: int, on: int) -> bool:
    """Whether a letter is known to be stored."""
    try:
        await spine.publish(letter(number), on=on)
    except errors.Unavailable as error:
        assert error.code == "disconnected"
        return False
    return True
