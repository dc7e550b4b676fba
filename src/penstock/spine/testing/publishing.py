"""Conformance: what `publish` stores, recognises as sent before, and refuses."""

import asyncio
import dataclasses
from typing import Any

from penstock.base import errors
from penstock.spine import ports, provision
from penstock.spine.testing.bench import STREAM, Bench, letter, rejection, unavailability, write


async def read(bench: Bench, spine: ports.Spine, count: int, *, name: str = STREAM.name) -> list[ports.Delivery]:
    """The first messages of a stream."""
    found: list[ports.Delivery] = []

    async def collect() -> None:
        entries = spine.browse(name, ">", after=0)
        try:
            async for delivery in entries:
                found.append(delivery)
                if len(found) == count:
                    return
        finally:
            await entries.aclose()

    await bench.result(collect())
    return found


class Publishing:
    """Messages into streams."""

    async def test_a_message_is_stored_and_counted(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        assert await spine.publish(letter(1)) == ports.Published(STREAM.name, 1, duplicate=False)
        assert await spine.publish(letter(2)) == ports.Published(STREAM.name, 2, duplicate=False)

    async def test_the_same_id_is_stored_once_and_answers_where(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, [1, 2])
        again = await spine.publish(letter(1, body=b"another body"))
        assert again == ports.Published(STREAM.name, 1, duplicate=True)
        await bench.expect_backlog(spine, policy.name, 2, 0)

    async def test_the_same_id_is_stored_again_after_the_duplicate_window(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [dataclasses.replace(STREAM, duplicate_window_s=0.2)])
        await spine.publish(letter(1))
        published: list[ports.Published] = []

        async def again() -> None:
            while not published or published[-1].duplicate:
                published.append(await spine.publish(letter(1)))
                await asyncio.sleep(0)

        await bench.result(again())
        assert published[-1].sequence == 2

    async def test_many_at_once_are_each_stored_once(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        published = await asyncio.gather(*(spine.publish(letter(number)) for number in range(300)))
        assert sorted(p.sequence for p in published) == list(range(1, 301))
        await bench.expect_backlog(spine, policy.name, 300, 0)

    async def test_messages_published_one_after_the_other_are_stored_in_that_order(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(50))
        assert [int(delivery.body) for delivery in await read(bench, spine, 50)] == list(range(50))

    async def test_a_subject_that_no_stream_takes_is_rejected(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        stray = dataclasses.replace(letter(1), subject="tenant.acme.parcels.a")
        assert (await rejection(spine.publish(stray))).code == "no_stream"

    async def test_a_body_above_the_limit_is_rejected_and_the_connection_lives_on(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        refused = await rejection(spine.publish(letter(1, body=b"x" * (1 << 20))))
        assert (refused.code, refused.status) == ("too_large", 413)
        headers = {"Nats-Msg-Id": "1", "note": "é" * (1 << 19)}
        assert (await rejection(spine.publish(dataclasses.replace(letter(1), headers=headers)))).code == "too_large"
        assert (await spine.publish(letter(2, body=b"x" * ((1 << 20) - 4096)))).sequence == 1

    async def test_headers_arrive_as_they_were_sent(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        headers = {
            "Nats-Msg-Id": "acme:1",
            "X-MiXeD-Case": "Kept",
            "lower": "kept",
            "unicode": "Grüße, 你好, 🐟",
            "colon": "a: b: c",
            "empty": "",
            "blanks": "inside  are kept",
            "penstock_type.v1": "penstock.v1.Message",
        }
        await spine.publish(dataclasses.replace(letter(1), headers=headers))
        assert dict((await read(bench, spine, 1))[0].headers) == headers

    async def test_blanks_around_header_values_do_not_travel(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await spine.publish(dataclasses.replace(letter(1), headers={"Nats-Msg-Id": "1", "padded": "  a b  "}))
        assert (await read(bench, spine, 1))[0].headers["padded"] == "a b"

    async def test_bodies_are_bytes(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        bodies = [b"", b"\0", b"\r\n\r\nPUB x 0\r\n", bytes(range(256)), b"\xff\xfe\xfd", b"x" * 100_000]
        for number, body in enumerate(bodies):
            await spine.publish(letter(number, body=body))
        assert [delivery.body for delivery in await read(bench, spine, len(bodies))] == bodies

    async def test_a_message_without_headers_is_taken(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await spine.publish(dataclasses.replace(letter(1), headers={}))
        assert dict((await read(bench, spine, 1))[0].headers) == {}

    async def test_subjects_may_hold_every_character_of_a_token(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        topics = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "_-_", "-", "x" * 128]
        for number, topic in enumerate(topics):
            await spine.publish(letter(number, topic=f"{topic}.deep.{topic}"))
        found = [delivery.subject for delivery in await read(bench, spine, len(topics))]
        assert found == [f"tenant.acme.letters.{topic}.deep.{topic}" for topic in topics]

    async def test_subjects_outside_the_grammar_are_rejected(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        for subject in (
            "tenant.*.letters.a",
            "tenant.acme.>",
            "tenant..letters",
            "",
            ".",
            "a b",
            "a\r\nPUB x 0\r\n",
            "$JS.API",
            "é",
        ):
            refused = await rejection(spine.publish(dataclasses.replace(letter(1), subject=subject)))
            assert refused.code == "bad_subject", subject

    async def test_headers_that_would_not_arrive_are_rejected(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        bad: list[dict[str, str]] = [
            {"a": "b\r\nc: d"},
            {"a b": "c"},
            {"": "c"},
            {"a:": "c"},
            {"a": "\0"},
            {"a": "\ud800"},
        ]
        for headers in bad:
            refused = await rejection(spine.publish(dataclasses.replace(letter(1), headers=headers)))
            assert refused.code == "bad_header", headers

    async def test_a_stream_that_refuses_when_full_is_unavailable(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [dataclasses.replace(STREAM, max_bytes=4096, discard="new")])
        refused: list[errors.Unavailable] = []
        for number in range(20):
            try:
                await spine.publish(letter(number, body=b"x" * 500))
            except errors.Unavailable as error:
                refused.append(error)
        assert {error.code for error in refused} == {"stream_full"}
        assert len(refused) < 20
        assert (await read(bench, spine, 1))[0].sequence == 1

    async def test_a_stream_that_forgets_when_full_forgets_the_oldest(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [dataclasses.replace(STREAM, max_bytes=4096)])
        for number in range(20):
            await spine.publish(letter(number, body=b"x" * 500))
        kept = await read(bench, spine, 1)
        assert 10 < kept[0].sequence < 20

    async def test_old_messages_are_forgotten(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(spine, [dataclasses.replace(STREAM, max_age_s=0.3, duplicate_window_s=0.2)])
        await write(spine, [1, 2])
        await bench.elapse(1.0)
        await write(spine, [3])
        assert [delivery.sequence for delivery in await read(bench, spine, 1)] == [3]

    async def test_a_publish_on_the_connection_that_stands_is_taken(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        assert spine.connection > 0
        assert (await spine.publish(letter(1), on=spine.connection)).sequence == 1
        assert (await spine.publish(letter(1), on=spine.connection)).duplicate
        for other in (spine.connection + 1, spine.connection - 1):
            assert (await unavailability(spine.publish(letter(2), on=other))).code == "disconnected"
        stray = dataclasses.replace(letter(1), subject="tenant.acme.parcels.a")
        assert (await rejection(spine.publish(stray, on=spine.connection))).code == "no_stream"

    async def test_after_close_every_call_is_unavailable(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await spine.close()
        assert not spine.connected
        calls: list[Any] = [
            spine.publish(letter(1)),
            spine.emit(ports.Signal("a", {}, b"")),
            spine.request(ports.Signal("a", {}, b""), timeout_s=1),
            spine.describe_stream(STREAM.name),
            spine.backlog(STREAM.name, policy.name),
            spine.key_value("bucket"),
        ]
        assert [(await unavailability(call)).code for call in calls] == ["spine_closed"] * len(calls)
