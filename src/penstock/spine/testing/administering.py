"""Conformance: streams and consumers are created or validated, told apart field by field, and never changed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from penstock.spine import consumer, ports, provision, stream
from penstock.spine.testing.bench import CONSUMER, STREAM, Bench, rejection, write

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
        assert await spine.backlog(STREAM.name, policy.name) == (0, 0)
        await write(spine, range(10))
        assert await spine.backlog(STREAM.name, policy.name) == (10, 0)
        held: list[ports.Delivery] = []
        await spine.consume(policy, held.append, window=4)
        await bench.until(lambda: len(held) == 4)
        assert await spine.backlog(STREAM.name, policy.name) == (6, 4)
        assert (await rejection(spine.backlog(STREAM.name, "nobody"))).code == "no_consumer"
