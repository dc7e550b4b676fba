"""Conformance: streams and consumers are created or validated, told apart field by field, and changed when asked."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Final

from penstock.spine import consumer, ports, provision, stream
from penstock.spine.testing.bench import CONSUMER, STREAM, Bench, Inbox, rejection, write

STREAM_CHANGES: Final[Mapping[str, Any]] = {
    "subjects": ("tenant.*.letters.>", "tenant.*.parcels.>"),
    "retention": "workqueue",
    "discard": "new",
    "max_age_s": 1200.0,
    "max_bytes": 128 << 20,
    "duplicate_window_s": 240.0,
    "replicas": 3,
}
CONSUMER_CHANGES: Final[Mapping[str, Any]] = {
    "filter": "tenant.acme.letters.>",
    "max_ack_pending": 300,
    "ack_wait_s": 31.0,
    "max_deliver": 7,
}


class Administering:
    """Create or validate."""

    async def test_what_is_missing_is_created_and_what_is_there_is_left_alone(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert await spine.describe_stream(STREAM.name) is None
        other = stream.StreamPolicy("PARCELS", ("tenant.*.parcels.>",), "other things")
        assert await provision.streams(spine, [STREAM]) == [STREAM.name]
        assert await provision.streams(spine, [STREAM, other]) == ["PARCELS"]
        assert await provision.streams(spine, [STREAM, other]) == []
        found = await spine.describe_stream(STREAM.name)
        assert found is not None
        assert list(stream.differences(STREAM, found)) == list(stream.differences(found, STREAM)) == []
        assert found.purpose == STREAM.purpose

    async def test_every_field_of_a_stream_that_differs_is_named_and_none_is_changed(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [STREAM])
        before = await spine.describe_stream(STREAM.name)
        for field, value in STREAM_CHANGES.items():
            wanted = dataclasses.replace(STREAM, **{field: value})
            refused = await rejection(provision.streams(spine, [wanted]))
            assert refused.code == "stream_differs"
            assert f"LETTERS.{field} is " in refused.detail
            assert refused.detail.count(" wanted ") == 1
        both = dataclasses.replace(STREAM, max_age_s=1200.0, discard="new")
        assert (await rejection(provision.streams(spine, [both]))).detail.count(" wanted ") == 2
        assert await spine.describe_stream(STREAM.name) == before

    async def test_nothing_is_created_when_something_differs(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [STREAM])
        missing = stream.StreamPolicy("PARCELS", ("tenant.*.parcels.>",), "other things")
        await rejection(provision.streams(spine, [missing, dataclasses.replace(STREAM, max_age_s=1200.0)]))
        assert await spine.describe_stream("PARCELS") is None

    async def test_a_stream_may_hold_more_than_it_must(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [STREAM])
        less = dataclasses.replace(
            STREAM, subjects=("tenant.*.letters.a.>",), max_age_s=60.0, max_bytes=1 << 20, duplicate_window_s=1.0
        )
        assert await provision.streams(spine, [less]) == []

    async def test_no_limit_is_more_than_any_limit(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [dataclasses.replace(STREAM, max_bytes=-1, max_age_s=0.0)])
        assert await provision.streams(spine, [STREAM]) == []
        found = await spine.describe_stream(STREAM.name)
        assert found is not None
        assert (found.max_bytes <= 0, found.max_age_s) == (True, 0.0)

    async def test_a_stream_that_appeared_meanwhile_with_another_configuration_is_rejected(self, bench: Bench) -> None:
        spine = await bench.connect()
        await spine.create_stream(STREAM)
        await spine.create_stream(STREAM)
        refused = await rejection(
            spine.create_stream(dataclasses.replace(STREAM, max_age_s=1.0, duplicate_window_s=1.0))
        )
        assert refused.code == "stream_exists"

    async def test_two_streams_may_not_share_a_subject(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [STREAM])
        rival = stream.StreamPolicy("RIVAL", ("tenant.acme.*.a",), "takes some of it")
        assert (await rejection(provision.streams(spine, [rival]))).code == "stream_refused"

    async def test_a_durable_is_created_and_validated(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [STREAM])
        assert await spine.describe_consumer(STREAM.name, CONSUMER.name) is None
        assert await provision.durable(spine, CONSUMER) is True
        assert await provision.durable(spine, CONSUMER) is False
        found = await spine.describe_consumer(STREAM.name, CONSUMER.name)
        assert found is not None
        assert list(consumer.differences(CONSUMER, found)) == []

    async def test_every_field_of_a_durable_that_differs_is_named_and_none_is_changed(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        before = await spine.describe_consumer(STREAM.name, policy.name)
        for field, value in CONSUMER_CHANGES.items():
            wanted = dataclasses.replace(policy, **{field: value})
            refused = await rejection(provision.durable(spine, wanted))
            assert refused.code == "consumer_differs"
            assert f"reader.{field} is " in refused.detail
            assert refused.detail.count(" wanted ") == 1
            assert (await rejection(spine.create_consumer(wanted))).code == "consumer_exists"
        assert await spine.describe_consumer(STREAM.name, policy.name) == before

    async def test_a_durable_needs_its_stream(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert await spine.describe_consumer(STREAM.name, CONSUMER.name) is None
        assert (await rejection(spine.create_consumer(CONSUMER))).code == "no_stream"
        assert (await rejection(spine.backlog(STREAM.name, CONSUMER.name))).code == "no_stream"

    async def test_consumers_of_a_work_queue_share_no_subject(self, bench: Bench) -> None:
        spine = await bench.connect()
        work = stream.StreamPolicy("WORK", ("tenant.*.work.>",), "jobs", retention="workqueue")
        await provision.streams(spine, [work])
        await provision.durable(spine, consumer.ConsumerPolicy("all", "WORK", "tenant.*.work.>"))
        rival = consumer.ConsumerPolicy("some", "WORK", "tenant.acme.work.>")
        assert (await rejection(provision.durable(spine, rival))).code == "consumer_refused"

    async def test_the_backlog_counts_what_waits_and_what_is_held(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await bench.expect_backlog(spine, policy.name, 0, 0)
        await write(spine, range(10))
        await bench.expect_backlog(spine, policy.name, 10, 0)
        held: list[ports.Delivery] = []
        await spine.consume(policy, held.append, window=4)
        await bench.until(lambda: len(held) == 4)
        await bench.expect_backlog(spine, policy.name, 6, 4)
        assert (await rejection(spine.backlog(STREAM.name, "nobody"))).code == "no_consumer"

    async def test_an_existing_stream_becomes_what_its_policy_says(self, bench: Bench) -> None:
        spine, _ = await bench.letters()
        await write(spine, range(4))
        changed = dataclasses.replace(
            STREAM,
            subjects=("tenant.*.letters.>", "tenant.*.parcels.>"),
            max_age_s=1200.0,
            max_bytes=32 << 20,
            discard="new",
            duplicate_window_s=60.0,
        )
        await spine.update_stream(changed)
        found = await spine.describe_stream(STREAM.name)
        assert found is not None
        assert list(stream.differences(changed, found)) == list(stream.differences(found, changed)) == []
        await bench.expect_backlog(spine, CONSUMER.name, 4, 0)
        for field, value in (("retention", "workqueue"), ("replicas", 3)):
            refused = await rejection(spine.update_stream(dataclasses.replace(changed, **{field: value})))
            assert refused.code == "stream_refused", field
        missing = dataclasses.replace(STREAM, name="PARCELS", subjects=("parcels",))
        assert (await rejection(spine.update_stream(missing))).code == "no_stream"
        assert await spine.describe_stream(STREAM.name) == found

    async def test_a_lower_limit_drops_the_oldest_unless_the_stream_refuses_instead(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(10))
        state = await spine.stream_state(STREAM.name)
        assert state is not None
        half = state.size_bytes // 2
        await spine.update_stream(dataclasses.replace(STREAM, max_bytes=half, discard="new"))
        assert (await spine.stream_state(STREAM.name)) == state
        await spine.update_stream(dataclasses.replace(STREAM, max_bytes=half))
        left = await spine.stream_state(STREAM.name)
        assert left is not None
        assert (left.first, left.last, left.messages) == (6, 10, 5)

    async def test_an_existing_durable_changes_and_keeps_its_place(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(3))
        inbox = Inbox()
        subscription = await spine.consume(policy, inbox, window=3)
        await bench.until(lambda: len(inbox) == 3)
        await inbox.ack_all()
        await subscription.close()
        for field, value in CONSUMER_CHANGES.items():
            policy = dataclasses.replace(policy, **{field: value})
            await spine.update_consumer(policy)
            found = await spine.describe_consumer(STREAM.name, policy.name)
            assert found is not None
            assert list(consumer.differences(policy, found)) == []
        await write(spine, range(3, 5))
        again = Inbox()
        await spine.consume(policy, again, window=5)
        await bench.until(lambda: len(again) == 2)
        assert again.numbers == [3, 4]

    async def test_what_is_not_there_is_not_changed_into_being(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert (await rejection(spine.update_consumer(CONSUMER))).code == "no_stream"
        await provision.streams(spine, [STREAM])
        assert (await rejection(spine.update_consumer(CONSUMER))).code == "no_consumer"
        assert await spine.consumer_states(STREAM.name) == []

    async def test_streams_are_listed_and_say_what_they_hold_since_when(self, bench: Bench) -> None:
        spine, _ = await bench.letters()
        assert await spine.stream_names() == [STREAM.name]
        assert await spine.stream_state("PARCELS") is None
        empty = await spine.stream_state(STREAM.name)
        assert empty is not None
        assert (empty.last, empty.messages, empty.size_bytes, empty.oldest) == (0, 0, 0, None)
        await write(spine, range(3))
        await bench.elapse(0.05)
        first = await spine.message(STREAM.name, 1)
        third = await spine.message(STREAM.name, 3)
        assert first is not None
        assert third is not None
        await write(spine, range(3, 5))
        state = await spine.stream_state(STREAM.name)
        assert state is not None
        assert (state.first, state.last, state.messages, state.oldest) == (1, 5, 5, first.at)
        assert (state.created, len(state.peers), state.moving) == (empty.created, len(empty.peers), "")
        assert await spine.first_since(STREAM.name, first.at - datetime.timedelta(hours=1)) == 1
        assert await spine.first_since(STREAM.name, third.at + datetime.timedelta(milliseconds=1)) == 4
        assert await spine.first_since(STREAM.name, third.at + datetime.timedelta(days=1)) == 6
        assert (await rejection(spine.first_since("PARCELS", third.at))).code == "no_stream"
