"""Conformance: what consumers are handed, when again, and never more than they have room for."""

import asyncio
import contextlib
from datetime import UTC, datetime

from penstock.base import errors
from penstock.spine import consumer, ports, provision, stream
from penstock.spine.testing.bench import CONSUMER, STREAM, Bench, Inbox, letter, rejection, unavailability, write


class Consuming:
    """Durable consumers: leases, redelivery, settling."""

    async def test_letters_are_handed_over_in_order_with_everything_known_about_them(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(100))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=200)
        await bench.until(lambda: len(inbox) == 100)
        assert inbox.numbers == list(range(100))
        first = inbox.deliveries[0]
        assert (first.stream, first.consumer, first.subject) == (STREAM.name, policy.name, "tenant.acme.letters.a")
        assert (first.sequence, first.deliveries, first.headers["Nats-Msg-Id"]) == (1, 1, "acme:a:0")
        assert first.at.tzinfo is UTC
        assert first.at > datetime(2025, 1, 1, tzinfo=UTC)

    async def test_what_comes_later_is_handed_over_too(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        for number in range(5):
            await spine.publish(letter(number))
            await bench.until(lambda number=number: len(inbox) == number + 1)
        assert inbox.numbers == list(range(5))

    async def test_an_acked_letter_never_comes_back(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=1.0)
        await write(spine, [1])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 1)
        await bench.expect_backlog(spine, policy.name, 0, 1)
        await inbox.deliveries[0].ack()
        await bench.elapse(1.5)
        assert len(inbox) == 1
        await bench.expect_backlog(spine, policy.name, 0, 0)

    async def test_a_terminated_letter_never_comes_back(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=1.0)
        await write(spine, [1, 2])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)
        for delivery in inbox.deliveries:
            await delivery.terminate()
        await bench.elapse(1.5)
        assert inbox.numbers == [1, 2]

    async def test_a_retried_letter_comes_back_after_its_delay_and_counts(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, [1])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 1)
        await inbox.deliveries[0].retry(0)
        await bench.until(lambda: len(inbox) == 2)
        await inbox.deliveries[1].retry(0.6)
        await bench.elapse(0.3)
        assert len(inbox) == 2
        await bench.until(lambda: len(inbox) == 3)
        assert [delivery.deliveries for delivery in inbox.deliveries] == [1, 2, 3]
        assert {delivery.sequence for delivery in inbox.deliveries} == {1}
        await inbox.deliveries[2].ack()

    async def test_a_lease_that_runs_out_hands_the_letter_over_again(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=1.0)
        await write(spine, [1])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)
        assert [delivery.deliveries for delivery in inbox.deliveries] == [1, 2]
        await inbox.deliveries[1].ack()

    async def test_a_lease_that_is_extended_does_not_run_out(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=1.0)
        await write(spine, [1])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 1)
        for _ in range(5):
            await bench.elapse(0.4)
            await inbox.deliveries[0].extend()
        assert len(inbox) == 1
        await bench.until(lambda: len(inbox) == 2)

    async def test_an_ack_after_the_lease_still_counts(self, bench: Bench) -> None:
        spine, policy = await bench.letters(ack_wait_s=1.0)
        await write(spine, [1])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)
        await inbox.deliveries[0].ack()
        await bench.elapse(1.5)
        assert len(inbox) == 2
        await bench.expect_backlog(spine, policy.name, 0, 0)

    async def test_settling_twice_is_settling_once(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(4))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=2)
        await bench.until(lambda: len(inbox) == 2)
        first = inbox.deliveries[0]
        await first.ack()
        await first.ack()
        await first.retry(0)
        await first.terminate()
        await first.extend()
        await bench.until(lambda: len(inbox) == 3)
        await bench.elapse(0.3)
        assert inbox.numbers == [0, 1, 2]

    async def test_the_server_gives_up_at_its_own_backstop(self, bench: Bench) -> None:
        spine, policy = await bench.letters(max_deliver=3)
        await write(spine, [1])
        inbox = Inbox()

        def refuse(delivery: ports.Delivery) -> None:
            inbox(delivery)
            bench.start(delivery.retry(0))

        await spine.consume(policy, refuse, window=10)
        await bench.until(lambda: len(inbox) == 3)
        await bench.elapse(0.5)
        assert [delivery.deliveries for delivery in inbox.deliveries] == [1, 2, 3]

    async def test_a_durable_keeps_its_place_between_subscriptions(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(4))
        first, second = Inbox(), Inbox()
        subscription = await spine.consume(policy, first, window=10)
        await bench.until(lambda: len(first) == 4)
        await first.ack_all()
        await subscription.close()
        await write(spine, [4, 5])
        await spine.consume(policy, second, window=10)
        await bench.until(lambda: len(second) == 2)
        assert second.numbers == [4, 5]

    async def test_two_durables_each_get_everything(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        other = consumer.ConsumerPolicy("other", STREAM.name, policy.filter)
        await provision.durable(spine, other)
        inboxes = [Inbox(), Inbox()]
        for each, inbox in zip((policy, other), inboxes, strict=True):
            await spine.consume(each, inbox, window=50)
        await write(spine, range(20))
        await bench.until(lambda: all(len(inbox) == 20 for inbox in inboxes))
        assert inboxes[0].numbers == inboxes[1].numbers == list(range(20))

    async def test_a_filter_narrows_to_a_tenant_and_a_topic(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        wanted = consumer.ConsumerPolicy("acme_only", STREAM.name, "tenant.acme.letters.*.urgent")
        await provision.durable(spine, wanted)
        inbox = Inbox()
        await spine.consume(wanted, inbox, window=10)
        await write(spine, [1], tenant="acme", topic="a.urgent")
        await write(spine, [2], tenant="acme-2", topic="a.urgent")
        await write(spine, [3], tenant="acme", topic="a")
        await write(spine, [4], tenant="acme", topic="a.urgent.more")
        await write(spine, [5], tenant="acme", topic="b.urgent")
        await bench.until(lambda: len(inbox) == 2)
        await bench.elapse(0.2)
        assert inbox.numbers == [1, 5]

    async def test_several_filters_let_through_what_either_does_in_the_order_of_the_stream(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        policy = consumer.ConsumerPolicy("some", STREAM.name, "tenant.*.letters.a.> tenant.acme.letters.b")
        assert await provision.durable(spine, policy) is True
        assert await provision.durable(spine, policy) is False
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        for number, (tenant, topic) in enumerate(
            [("acme", "b"), ("acme", "a"), ("acme", "a.x"), ("other", "b"), ("other", "a.x.y"), ("acme", "b")]
        ):
            await write(spine, [number], tenant=tenant, topic=topic)
        await bench.until(lambda: len(inbox) == 4)
        await bench.elapse(0.2)
        assert inbox.numbers == [0, 2, 4, 5]
        await bench.expect_backlog(spine, policy.name, 0, 4)

    async def test_deliver_new_begins_with_what_comes_after_it(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, [1, 2])
        policy = consumer.ConsumerPolicy("late", STREAM.name, CONSUMER.filter, deliver_new=True)
        await provision.durable(spine, policy)
        await write(spine, [3, 4])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)
        assert inbox.numbers == [3, 4]

    async def test_a_consumer_that_does_not_exist_is_rejected(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        assert (await rejection(spine.consume(CONSUMER, Inbox(), window=1))).code == "no_consumer"
        elsewhere = consumer.ConsumerPolicy("reader", "NOWHERE", ">")
        assert (await rejection(spine.consume(elsewhere, Inbox(), window=1))).code == "no_stream"

    async def test_a_work_queue_forgets_what_is_settled(self, bench: Bench) -> None:
        spine = await bench.connect()
        work = stream.StreamPolicy(
            "WORK", ("tenant.*.work.>",), "jobs", retention="workqueue", discard="new", max_bytes=4096
        )
        await provision.streams(spine, [work])
        policy = consumer.ConsumerPolicy("worker", "WORK", "tenant.*.work.>")
        await provision.durable(spine, policy)
        job = ports.Outgoing("WORK", "tenant.acme.work.a", "k", {}, b"x" * 1500)
        for _ in range(2):
            await spine.publish(job)
        assert (await unavailability(spine.publish(job))).code == "stream_full"
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)
        await inbox.deliveries[0].ack()
        await inbox.deliveries[1].terminate()

        async def publish_when_there_is_room() -> None:
            while len(inbox) < 4:
                with contextlib.suppress(errors.Unavailable):
                    await spine.publish(job)
                await asyncio.sleep(0)

        await bench.result(publish_when_there_is_room())
