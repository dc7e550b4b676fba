"""The suite that every payload store passes: inherit it in a test class, or await `check_payloads`."""

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.testing.payload_bench import (
    BUCKET,
    CHUNK_BYTES,
    LIMIT_BYTES,
    TERMS,
    PayloadBench,
    content,
    parts,
    read,
    refusal,
)
from penstock.spine.testing.payload_forging import Forging


class PayloadConformance(Forging):
    """Every promise of `spine.payload.Payloads` as a test. A subclass provides the fixture `payloads_bench`."""

    async def test_what_was_put_is_read_whatever_its_size(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        for size in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 11 * CHUNK_BYTES + 7):
            whole = content(size)
            for given in (whole, parts(whole)):
                reference = await store.put("parser", "acme", given, TERMS)
                assert (reference.size_bytes, reference.bucket) == (size, BUCKET.name)
                assert await read(store, "acme", reference) == whole
                await store.delete("acme", reference)

    async def test_the_limit_itself_is_taken_and_another_client_reads_it(self, payloads_bench: PayloadBench) -> None:
        store, other = await payloads_bench.opened(), await payloads_bench.connect()
        whole = content(LIMIT_BYTES)
        reference = await store.put("parser", "acme", parts(whole), dataclasses.replace(TERMS, size_bytes=LIMIT_BYTES))
        assert await read(other, "acme", reference) == whole

    async def test_too_much_is_refused_early_and_leaves_nothing(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        asked = list[int]()

        async def endless() -> AsyncGenerator[bytes]:
            while True:
                asked.append(1)
                yield bytes(CHUNK_BYTES)

        declared = dataclasses.replace(TERMS, size_bytes=LIMIT_BYTES + 1)
        assert await refusal(store.put("parser", "acme", endless(), declared)) == "payload_too_large"
        assert asked == []
        assert await refusal(store.put("parser", "acme", bytes(LIMIT_BYTES + 1), TERMS)) == "payload_too_large"
        assert await refusal(store.put("parser", "acme", endless(), TERMS)) == "payload_too_large"
        assert len(asked) <= LIMIT_BYTES // CHUNK_BYTES + 2
        assert await payloads_bench.held_bytes() == 0

    async def test_a_size_that_is_not_as_declared_is_refused_and_leaves_nothing(
        self, payloads_bench: PayloadBench
    ) -> None:
        store = await payloads_bench.opened()
        for size in (0, 9, 11, 200_000):
            terms = dataclasses.replace(TERMS, size_bytes=10)
            assert await refusal(store.put("parser", "acme", parts(content(size)), terms)) == "payload_size"
        assert await payloads_bench.held_bytes() == 0

    async def test_terms_that_make_no_sense_are_refused(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        for lifetime_s in (-1, 0, 0.5, 8 * payload.DAY_S, float("nan"), float("inf")):
            assert await refusal(store.put("parser", "acme", b"x", payload.Terms(lifetime_s))) == "bad_lifetime"
        for key in (b"", bytes(16), bytes(33)):
            assert await refusal(store.put("parser", "acme", b"x", payload.Terms(60, key=key))) == "bad_key"
        for component, tenant in (("a.b", "acme"), ("*", "acme"), ("parser", "a>"), ("parser", ""), ("", "acme")):
            assert await refusal(store.put(component, tenant, b"x", TERMS)) == "bad_slug"

    async def test_a_payload_is_gone_when_its_own_lifetime_is_over(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        long = await store.put("parser", "acme", content(300_000), TERMS)
        held_bytes = await payloads_bench.held_bytes()
        short = await store.put("parser", "acme", content(400_000), payload.Terms(1))
        assert await read(store, "acme", short) == content(400_000)
        await payloads_bench.elapse(1.01)
        assert await refusal(read(store, "acme", short)) == "payload_expired"
        patient = dataclasses.replace(short, expires_at=long.expires_at)

        async def emptied() -> bool:
            return await payloads_bench.held_bytes() <= held_bytes

        await payloads_bench.until(emptied)
        assert await refusal(payloads_bench.result(read(store, "acme", patient))) == "no_payload"
        assert await read(store, "acme", long) == content(300_000)

    async def test_deleting_is_for_good_and_may_be_repeated(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        kept, gone = [await store.put("parser", "acme", content(200_000), TERMS) for _ in range(2)]
        for _ in range(2):
            await store.delete("acme", gone)
            assert await refusal(payloads_bench.result(read(store, "acme", gone))) == "no_payload"
        assert await read(store, "acme", kept) == content(200_000)
        await payload.discard(store, "acme", [kept, gone, kept])
        assert await payloads_bench.held_bytes() == 0

    async def test_one_key_serves_several_payloads(self, payloads_bench: PayloadBench) -> None:
        store, key = await payloads_bench.opened(), secrets.token_bytes(payload.KEY_BYTES)
        terms = dataclasses.replace(TERMS, key=key)
        first, second = [await store.put("parser", "acme", content(1000), terms) for _ in range(2)]
        assert (first.key, second.key) == (key, key)
        assert (await payloads_bench.chunks(first)) != (await payloads_bench.chunks(second))
        message = second.to_message()
        assert await read(store, "acme", payload.of_message(message, key)) == content(1000)
        assert key not in message.SerializeToString()

    async def test_a_full_bucket_is_unavailable_until_there_is_room(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        first = await store.put("parser", "acme", content(LIMIT_BYTES), TERMS)
        held_bytes = await payloads_bench.held_bytes()
        assert await refusal(store.put("parser", "acme", content(LIMIT_BYTES), TERMS)) == "bucket_full"
        assert await payloads_bench.held_bytes() == held_bytes, "what had been stored of the second is taken back"
        await store.delete("acme", first)
        second = await store.put("parser", "acme", content(LIMIT_BYTES), TERMS)
        assert await read(store, "acme", second) == content(LIMIT_BYTES)

    async def test_a_bucket_is_made_once_and_never_changed(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.connect()
        assert [await store.provide(BUCKET), await store.provide(BUCKET)] == [True, False]
        other = dataclasses.replace(BUCKET, max_bytes=BUCKET.max_bytes + 1)
        assert await refusal(store.provide(other)) == "bucket_differs"
        assert await store.provide(BUCKET) is False

    async def test_of_two_who_make_a_bucket_at_once_one_does(self, payloads_bench: PayloadBench) -> None:
        stores = [await payloads_bench.connect() for _ in range(2)]
        await asyncio.gather(*(store.provide(BUCKET) for store in stores))
        others = [dataclasses.replace(BUCKET, component="other", max_bytes=size << 20) for size in (2, 3)]
        made = await asyncio.gather(
            *(store.provide(policy) for store, policy in zip(stores, others, strict=True)), return_exceptions=True
        )
        (refused,) = [one for one in made if isinstance(one, errors.Rejected)]
        assert (refused.code, made.count(True)) == ("bucket_differs", 1)

    async def test_a_bucket_that_is_not_there_is_unavailable(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.connect(deadline_s=0.3)
        assert await refusal(payloads_bench.result(store.put("parser", "acme", b"x", TERMS))) == "bucket_away"

    async def test_many_at_once_do_not_mix(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        wholes = [content(150_000 + number) for number in range(10)]

        async def there_and_back(number: int) -> bytes:
            tenant = f"t{number % 2}"
            reference = await store.put("parser", tenant, parts(wholes[number], size_bytes=7000), TERMS)
            return await read(store, tenant, reference)

        assert await asyncio.gather(*map(there_and_back, range(len(wholes)))) == wholes

    async def test_a_fenced_worker_reads_its_input_and_writes_its_results(self, payloads_bench: PayloadBench) -> None:
        store, worker = await payloads_bench.opened(), await payloads_bench.connect_fenced()
        terms = dataclasses.replace(TERMS, key=secrets.token_bytes(payload.KEY_BYTES))
        for size in (0, 1, 9 * CHUNK_BYTES + 1):
            given = await store.put("parser", "acme", content(size), terms)
            assert await read(worker, "acme", given) == content(size)
            made = await worker.put("parser", "acme", parts(content(size + 1)), terms)
            assert await read(store, "acme", made) == content(size + 1)
            await payload.discard(store, "acme", [given, made])
        assert await refusal(payloads_bench.result(read(worker, "acme", given))) == "no_payload"

    async def test_what_the_content_raises_is_raised_and_leaves_nothing(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()

        async def broken() -> AsyncGenerator[bytes]:
            yield content(500_000)
            raise LookupError("the source is gone")

        try:
            await store.put("parser", "acme", broken(), TERMS)
        except LookupError as error:
            assert str(error) == "the source is gone"
        else:
            raise AssertionError("a broken source was taken for a whole one")
        assert await payloads_bench.held_bytes() == 0

    async def test_a_put_that_is_cancelled_leaves_nothing(self, payloads_bench: PayloadBench) -> None:
        store, begun = await payloads_bench.opened(), asyncio.Event()

        async def stuck() -> AsyncGenerator[bytes]:
            yield content(500_000)
            begun.set()
            await asyncio.Event().wait()

        putting = asyncio.create_task(store.put("parser", "acme", stuck(), TERMS))
        await begun.wait()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        assert putting.cancelled()
        assert await payloads_bench.held_bytes() == 0

    async def test_a_put_and_a_get_outlive_an_outage(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        whole = content(LIMIT_BYTES)

        async def interrupted() -> AsyncGenerator[bytes]:
            yield whole[: LIMIT_BYTES // 2]
            await payloads_bench.interrupt()
            yield whole[LIMIT_BYTES // 2 :]

        putting = asyncio.create_task(store.put("parser", "acme", interrupted(), TERMS))
        await payloads_bench.elapse(0.3)
        assert not putting.done()
        await payloads_bench.restore()
        reference = await payloads_bench.result(_awaited(putting))
        back = b""
        async with aclosing(store.get("acme", reference)) as pieces:
            async for piece in pieces:
                back += piece
                if len(back) == len(piece):
                    await payloads_bench.interrupt()
                    await payloads_bench.restore()
        assert back == whole

    async def test_an_outage_that_lasts_is_unavailable(self, payloads_bench: PayloadBench) -> None:
        await payloads_bench.opened()
        store = await payloads_bench.connect(deadline_s=0.3)
        reference = await store.put("parser", "acme", content(10), TERMS)
        await payloads_bench.interrupt()
        for work in (
            store.put("parser", "acme", content(10), TERMS),
            read(store, "acme", reference),
            store.delete("acme", reference),
            store.provide(BUCKET),
        ):
            assert await refusal(payloads_bench.result(work)) == "disconnected"
        await payloads_bench.restore()
        again = await payloads_bench.connect()
        assert await payloads_bench.result(read(again, "acme", reference)) == content(10)


async def _awaited(task: "asyncio.Task[payload.Reference]") -> payload.Reference:
    return await task


async def check_payloads(open_bench: Callable[[], AbstractAsyncContextManager[PayloadBench]]) -> AsyncGenerator[str]:
    """Run the whole suite without a test framework; yields the name of each test that passed.

    Raises AssertionError, or whatever the store raised, for the first that did not.
    """
    suite = PayloadConformance()
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        async with open_bench() as bench:
            await getattr(suite, name)(bench)
        yield name
