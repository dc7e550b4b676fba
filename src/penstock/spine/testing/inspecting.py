"""Conformance: where streams and durables are, up to which sequence all is settled, and one message by its number."""

import asyncio
import dataclasses

from penstock.spine import consumer, ports, provision, stream
from penstock.spine.testing.bench import STREAM, Bench, Inbox, letter, rejection, write


class Inspecting:
    """Looking at what is there."""

    async def test_the_floor_is_where_everything_before_is_settled(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        assert await spine.floor(STREAM.name, policy.name) == 0
        await write(spine, range(1, 7))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=4)
        await bench.until(lambda: len(inbox) == 4)
        for acked, floor in ((3, 0), (1, 1), (4, 1), (2, 4)):
            await inbox.deliveries[acked - 1].ack()
            await floor_reaches(bench, spine, policy, floor)
            assert await spine.floor(STREAM.name, policy.name) == floor

    async def test_a_letter_that_is_retried_holds_the_floor(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(1, 4))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 3)
        await inbox.deliveries[0].retry(60.0)
        await inbox.deliveries[1].ack()
        await inbox.deliveries[2].terminate()
        await bench.elapse(0.2)
        assert await spine.floor(STREAM.name, policy.name) == 0

    async def test_letters_for_others_do_not_hold_the_floor(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        policy = consumer.ConsumerPolicy("mine", STREAM.name, "tenant.*.letters.mine tenant.*.letters.ours")
        await provision.durable(spine, policy)
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await write(spine, [1], topic="mine")
        await bench.until(lambda: len(inbox) == 1)
        await inbox.ack_all()
        await floor_reaches(bench, spine, policy, 1)
        await write(spine, range(2, 7), topic="theirs")
        await write(spine, [7], topic="ours")
        await write(spine, [8, 9], topic="theirs")
        await write(spine, [10], topic="mine")
        await bench.until(lambda: len(inbox) == 3)
        await inbox.deliveries[2].ack()
        await bench.elapse(0.1)
        assert await spine.floor(STREAM.name, policy.name) == 6
        await inbox.deliveries[1].ack()
        await floor_reaches(bench, spine, policy, 10)

    async def test_a_floor_needs_a_durable(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert (await rejection(spine.floor("NOWHERE", "nobody"))).code == "no_stream"
        await provision.streams(spine, [STREAM])
        assert (await rejection(spine.floor(STREAM.name, "nobody"))).code == "no_consumer"

    async def test_every_durable_of_a_stream_is_told_with_where_it_is(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        some = consumer.ConsumerPolicy(
            "few", STREAM.name, "tenant.acme.letters.a tenant.acme.letters.b", concurrency=1, pin_timeout_s=2.0
        )
        await provision.durable(spine, some)
        await write(spine, range(1, 6))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=3)
        await bench.until(lambda: len(inbox) == 3)
        await inbox.deliveries[0].ack()
        await floor_reaches(bench, spine, policy, 1)
        await bench.until(lambda: len(inbox) == 4)
        few, reader = await spine.consumer_states(STREAM.name)
        assert (few.floor, few.waiting, few.held) == (0, 5, 0)
        assert (reader.floor, reader.waiting, reader.held) == (1, 1, 3)
        assert list(consumer.differences(some, few.policy)) == list(consumer.differences(policy, reader.policy)) == []

    async def test_a_stream_that_is_not_there_has_no_durables_and_no_state(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert await spine.consumer_states("NOWHERE") == []
        assert await spine.stream_state("NOWHERE") is None

    async def test_many_durables_are_all_told(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        names = [f"reader_{number:03}" for number in range(300)]
        made = (consumer.ConsumerPolicy(name, STREAM.name, "tenant.*.letters.>") for name in names)
        await asyncio.gather(*map(spine.create_consumer, made))
        assert [state.policy.name for state in await spine.consumer_states(STREAM.name)] == names

    async def test_a_stream_tells_what_it_holds(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        empty = await spine.stream_state(STREAM.name)
        assert empty is not None
        assert (empty.last, empty.messages, empty.size_bytes) == (0, 0, 0)
        await write(spine, range(1, 6))
        full = await spine.stream_state(STREAM.name)
        assert full is not None
        assert (full.created, full.first, full.last, full.messages) == (empty.created, 1, 5, 5)
        assert full.size_bytes > 0

    async def test_a_stream_that_is_made_again_is_another_one(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 6))
        before = await spine.stream_state(STREAM.name)
        await bench.delete_stream(STREAM.name)
        assert await spine.stream_state(STREAM.name) is None
        await bench.elapse(0.05)
        await provision.streams(spine, [STREAM])
        after = await spine.stream_state(STREAM.name)
        assert before is not None
        assert after is not None
        assert after.created > before.created
        assert (await spine.publish(letter(6))).duplicate is False

    async def test_a_message_is_read_by_its_number(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        headers = {"Nats-Msg-Id": "acme:1", "X-MiXeD-Case": "Kept", "unicode": "Grüße", "empty": "", "colon": "a: b"}
        body = bytes(range(256))
        await spine.publish(letter(0))
        published = await spine.publish(dataclasses.replace(letter(1), headers=headers, body=body))
        assert published.sequence == 2
        found = await spine.message(STREAM.name, 2)
        assert found is not None
        assert (found.stream, found.consumer, found.subject) == (STREAM.name, "", "tenant.acme.letters.a")
        assert (found.sequence, dict(found.headers), found.body) == (2, headers, body)
        for settle in (found.ack(), found.retry(0), found.terminate(), found.extend()):
            await settle
        assert await spine.message(STREAM.name, 3) is None
        assert await spine.message("NOWHERE", 1) is None

    async def test_the_last_message_of_a_pattern_is_found_by_its_number(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        assert await spine.last_of(STREAM.name, "tenant.*.letters.mine") == 0
        await write(spine, range(1, 4), topic="mine")
        await write(spine, range(4, 6), topic="theirs")
        assert await spine.last_of(STREAM.name, "tenant.*.letters.mine") == 3
        assert await spine.last_of(STREAM.name, "tenant.acme.letters.*") == 5
        assert await spine.last_of(STREAM.name, "tenant.>") == 5
        assert await spine.last_of(STREAM.name, "tenant.globex.>") == 0
        assert (await rejection(spine.last_of("NOWHERE", "tenant.>"))).code == "no_stream"

    async def test_a_message_that_was_forgotten_is_not_found(self, bench: Bench) -> None:
        spine = await bench.connect()
        work = stream.StreamPolicy("WORK", ("tenant.*.work.>",), "jobs", retention="workqueue")
        await provision.streams(spine, [work])
        policy = consumer.ConsumerPolicy("worker", "WORK", "tenant.*.work.>")
        await provision.durable(spine, policy)
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        for _ in range(2):
            await spine.publish(ports.Outgoing("WORK", "tenant.acme.work.a", "k", {}, b"x"))
        await bench.until(lambda: len(inbox) == 2)
        await inbox.deliveries[0].ack()
        await floor_reaches(bench, spine, policy, 1)
        assert await spine.message("WORK", 1) is None
        assert await spine.message("WORK", 2) is not None


async def floor_reaches(bench: Bench, spine: ports.Spine, policy: consumer.ConsumerPolicy, floor: int) -> None:
    """Let time pass until a floor is that high; what is said about a delivery needs a moment to arrive."""
    for _ in range(200):
        if await spine.floor(policy.stream, policy.name) >= floor:
            return
        await bench.elapse(0.02)
    raise AssertionError(f"the floor did not reach {floor}")
