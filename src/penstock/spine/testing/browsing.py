"""Conformance: reading a stream without leaving a trace."""

import contextlib
from collections.abc import AsyncGenerator

from penstock.spine import consumer, ports, provision, stream
from penstock.spine.testing.bench import STREAM, Bench, Inbox, rejection, write


class Browsing:
    """Reading without a durable."""

    async def test_browsing_begins_behind_a_sequence(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 11))
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=7)) as entries:
            found = [await bench.result(_next(entries)) for _ in range(3)]
        assert [entry.sequence for entry in found] == [8, 9, 10]
        assert (found[0].stream, found[0].consumer, found[0].body) == (STREAM.name, "", b"8")
        assert found[0].headers["Nats-Msg-Id"] == "acme:a:8"

    async def test_browsing_goes_on_with_what_comes(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, [1])
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as entries:
            assert (await bench.result(_next(entries))).body == b"1"
            waiting = bench.start(_next(entries))
            await write(spine, [2])
            await bench.until(waiting.done)
            assert (await waiting).body == b"2"

    async def test_browsing_many_keeps_order(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(700))
        found: list[int] = []
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as entries:

            async def collect() -> None:
                while len(found) < 700:
                    found.append(int((await anext(entries)).body))

            await bench.result(collect())
        assert found == list(range(700))

    async def test_browsing_from_now_skips_what_was(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, [1, 2])
        async with contextlib.aclosing(spine.browse(STREAM.name, ">")) as entries:
            waiting = bench.start(_next(entries))
            await bench.elapse(0.2)
            assert not waiting.done()
            await write(spine, [3])
            await bench.until(waiting.done)
            assert (await waiting).body == b"3"

    async def test_browsing_behind_the_end_waits_for_what_comes(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, [1, 2])
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=1000)) as entries:
            waiting = bench.start(_next(entries))
            await bench.elapse(0.2)
            await write(spine, [3])
            await bench.until(waiting.done)
            assert (await waiting).sequence == 3

    async def test_browsing_filters(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        for number, tenant in enumerate(("acme", "globex", "acme", "acme-2", "acme")):
            await write(spine, [number], tenant=tenant)
        async with contextlib.aclosing(spine.browse(STREAM.name, "tenant.acme.>", after=0)) as entries:
            found = [(await bench.result(_next(entries))).sequence for _ in range(3)]
        assert found == [1, 3, 5]

    async def test_browsed_messages_need_not_be_settled(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, [1])
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as entries:
            entry = await bench.result(_next(entries))
        await entry.ack()
        await entry.retry(0)
        await entry.terminate()
        await entry.extend()
        await bench.expect_backlog(spine, policy.name, 1, 0)

    async def test_closing_removes_nobody_elses_consumer(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        other = await bench.connect()
        await write(spine, [1, 2])
        async with contextlib.aclosing(other.browse(STREAM.name, ">", after=0)) as theirs:
            await bench.result(_next(theirs))
            async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as ours:
                await bench.result(_next(ours))
            assert (await bench.result(_next(theirs))).sequence == 2
        assert await spine.describe_consumer(STREAM.name, policy.name) is not None
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 2)

    async def test_a_stream_that_does_not_exist_is_rejected(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert (await rejection(_next(spine.browse("NOWHERE", ">", after=0)))).code == "no_stream"

    async def test_a_work_queue_is_not_for_browsing(self, bench: Bench) -> None:
        spine = await bench.connect()
        await provision.streams(
            spine, [stream.StreamPolicy("WORK", ("tenant.*.work.>",), "jobs", retention="workqueue")]
        )
        assert (await rejection(_next(spine.browse("WORK", ">", after=0)))).code == "not_browsable"

    async def test_what_is_no_pattern_is_rejected(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        for pattern in ("", "a b", "tenant.>.x", "a..b", "a*b"):
            assert (await rejection(_next(spine.browse(STREAM.name, pattern, after=0)))).code == "bad_subject", pattern

    async def test_browsing_goes_on_after_an_outage_without_gap_or_repetition(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(5))
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as entries:
            found = [int((await bench.result(_next(entries))).body) for _ in range(3)]
            await bench.interrupt()
            await bench.restore()
            await bench.result(write(spine, range(5, 10)))
            found += [int((await bench.result(_next(entries))).body) for _ in range(7)]
        assert found == list(range(10))

    async def test_a_closed_client_ends_its_browsing(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        waiting = bench.start(_next(spine.browse(STREAM.name, ">", after=0)))
        await bench.elapse(0.2)
        await spine.close()
        await bench.until(waiting.done)
        error = waiting.exception()
        assert getattr(error, "code", None) == "spine_closed"

    async def test_a_durable_made_while_browsing_is_untouched(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, [1])
        async with contextlib.aclosing(spine.browse(STREAM.name, ">", after=0)) as entries:
            await bench.result(_next(entries))
            await provision.durable(spine, consumer.ConsumerPolicy("made", STREAM.name, ">"))
        await bench.expect_backlog(spine, "made", 1, 0)


async def _next(entries: AsyncGenerator[ports.Delivery]) -> ports.Delivery:
    return await anext(entries)
