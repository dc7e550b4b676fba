"""Conformance: key-value buckets: revisions, conflicts, and watching for ever."""

import contextlib
from collections.abc import AsyncGenerator

from penstock.spine import ports
from penstock.spine.testing.bench import Bench, rejection


class KeyValues:
    """A small, watched table."""

    async def test_a_value_is_what_was_put_last(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        assert await table.get("a") is None
        first = await table.put("a", b"1")
        second = await table.put("a", b"\x00\xff")
        assert second > first
        assert await table.get("a") == ports.Entry("a", b"\x00\xff", second)
        empty = await table.put("empty", b"")
        assert await table.get("empty") == ports.Entry("empty", b"", empty)

    async def test_every_client_sees_the_same_bucket(self, bench: Bench) -> None:
        here = await (await bench.connect()).key_value("settings")
        there = await (await bench.connect()).key_value("settings")
        elsewhere = await (await bench.connect()).key_value("other")
        revision = await here.put("a", b"1")
        assert await there.get("a") == ports.Entry("a", b"1", revision)
        assert await elsewhere.get("a") is None

    async def test_create_writes_only_what_is_not_there(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        await table.create("a", b"1")
        refused = await rejection(table.create("a", b"2"))
        assert (refused.code, refused.status) == ("revision_conflict", 409)
        await table.delete("a")
        revision = await table.create("a", b"3")
        assert await table.get("a") == ports.Entry("a", b"3", revision)

    async def test_update_writes_only_over_the_revision_it_knows(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        revision = await table.put("a", b"1")
        await table.put("b", b"elsewhere")
        newer = await table.update("a", b"2", revision=revision)
        assert newer > revision
        assert (await rejection(table.update("a", b"3", revision=revision))).code == "revision_conflict"
        assert (await rejection(table.update("missing", b"3", revision=revision))).code == "revision_conflict"
        assert await table.get("a") == ports.Entry("a", b"2", newer)

    async def test_what_is_deleted_is_gone(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        await table.put("a", b"1")
        await table.delete("a")
        await table.delete("a")
        await table.delete("never")
        assert await table.get("a") is None
        assert await table.keys() == []

    async def test_keys_are_those_with_a_value_sorted(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        assert await table.keys() == []
        for key in ("b", "a.b.c", "A", "x/y=z", "_-", "gone"):
            await table.put(key, key.encode())
        await table.delete("gone")
        assert await table.keys() == sorted(["b", "a.b.c", "A", "x/y=z", "_-"])

    async def test_keys_and_buckets_with_other_characters_are_rejected(self, bench: Bench) -> None:
        spine = await bench.connect()
        table = await spine.key_value("settings")
        for key in ("", ".", "a..b", ".a", "a.", "a b", "*", ">", "é", "a\r\nb"):
            assert (await rejection(table.put(key, b""))).code == "bad_key", key
            assert (await rejection(table.get(key))).code == "bad_key", key
        for bucket in ("", "a.b", "a b", "*"):
            assert (await rejection(spine.key_value(bucket))).code == "bad_bucket", bucket
        assert (await rejection(spine.key_value("deep", history=65))).code == "bad_bucket"

    async def test_a_value_too_large_is_rejected(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        assert (await rejection(table.put("a", b"x" * (2 << 20)))).code == "too_large"
        await table.put("a", b"1")

    async def test_a_watch_tells_what_is_there_and_then_what_changes(self, bench: Bench) -> None:
        spine = await bench.connect()
        table = await spine.key_value("settings")
        await table.put("a", b"old")
        await table.put("b", b"1")
        await table.put("a", b"1")
        await table.put("gone", b"1")
        await table.delete("gone")
        async with contextlib.aclosing(table.watch()) as entries:
            current: list[tuple[str, bytes | None]] = []
            while (entry := await bench.result(_next(entries))) is not None:
                current.append((entry.key, entry.value))
            assert sorted(current, key=str) == [("a", b"1"), ("b", b"1")]
            other = await (await bench.connect()).key_value("settings")
            for change in (("c", b"1"), ("a", b"2"), ("c", None)):
                await (other.delete(change[0]) if change[1] is None else other.put(change[0], change[1]))
                entry = await bench.result(_next(entries))
                assert entry is not None
                assert (entry.key, entry.value) == change

    async def test_a_watch_of_an_empty_bucket_says_so_at_once(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("settings")
        async with contextlib.aclosing(table.watch()) as entries:
            assert await bench.result(_next(entries)) is None
            waiting = bench.start(_next(entries))
            revision = await table.put("a", b"1")
            await bench.until(waiting.done)
            assert await waiting == ports.Entry("a", b"1", revision)

    async def test_a_watch_goes_on_after_an_outage(self, bench: Bench) -> None:
        spine, other = await bench.connect(), await bench.connect()
        table = await spine.key_value("settings")
        theirs = await other.key_value("settings")
        await table.put("a", b"1")
        async with contextlib.aclosing(table.watch()) as entries:
            assert await bench.result(_next(entries)) is not None
            assert await bench.result(_next(entries)) is None
            waiting = bench.start(_next(entries))
            await bench.interrupt()
            await bench.restore()
            await bench.result(theirs.put("b", b"2"))
            await bench.until(waiting.done)
            entry = await waiting
            assert entry is not None
            assert (entry.key, entry.value) == ("b", b"2")
            await theirs.delete("a")
            gone = await bench.result(_next(entries))
            assert gone is not None
            assert (gone.key, gone.value) == ("a", None)

    async def test_values_outlive_an_outage_and_calls_wait_for_its_end(self, bench: Bench) -> None:
        spine = await bench.connect()
        table = await spine.key_value("settings")
        await table.put("a", b"1")
        await bench.interrupt()
        reading = bench.start(table.get("a"))
        writing = bench.start(table.put("b", b"2"))
        await bench.elapse(0.2)
        assert not reading.done()
        await bench.restore()
        await bench.until(lambda: reading.done() and writing.done())
        entry = await reading
        assert entry is not None
        assert entry.value == b"1"
        assert await table.keys() == ["a", "b"]

    async def test_values_of_a_bucket_with_an_age_are_forgotten(self, bench: Bench) -> None:
        table = await (await bench.connect()).key_value("sessions", max_age_s=0.4)
        await table.put("a", b"1")
        assert await table.get("a") is not None
        await bench.elapse(1.2)
        assert await table.get("a") is None
        assert await table.keys() == []


async def _next(entries: AsyncGenerator[ports.Entry | None]) -> ports.Entry | None:
    return await anext(entries)
