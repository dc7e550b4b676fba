"""Conformance: nobody who may write into a bucket, or has a reference of another tenant, gets a wrong byte accepted."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from penstock.spine.testing.payload_bench import CHUNK_BYTES, TERMS, PayloadBench, content, read, refusal

Chunks = list[bytes]


def _flipped(chunk: bytes, place: int) -> bytes:
    return chunk[:place] + bytes((chunk[place] ^ 1,)) + chunk[place + 1 :]


REWRITINGS: Final[Mapping[str, tuple[Callable[[Chunks], Chunks], str]]] = {
    "a bit of the text": (lambda c: [_flipped(c[0], 100), *c[1:]], "payload_forged"),
    "a bit of the tag": (lambda c: [*c[:-1], _flipped(c[-1], len(c[-1]) - 1)], "payload_forged"),
    "the number": (lambda c: [c[0], _flipped(c[1], 3), *c[2:]], "payload_truncated"),
    "the first number": (lambda c: [_flipped(c[0], 3), *c[1:]], "no_payload"),
    "the last flag taken": (lambda c: [*c[:-1], _flipped(c[-1], 4)], "payload_forged"),
    "the last flag given": (lambda c: [_flipped(c[0], 4), *c[1:]], "payload_forged"),
    "a flag that is none": (lambda c: [c[0][:4] + b"\7" + c[0][5:], *c[1:]], "payload_forged"),
    "the end cut off": (lambda c: c[:-1], "payload_truncated"),
    "the beginning cut off": (lambda c: c[1:], "no_payload"),
    "the middle cut out": (lambda c: [c[0], *c[2:]], "payload_truncated"),
    "two swapped": (lambda c: [c[0], c[2], c[1], *c[3:]], "payload_truncated"),
    "a chunk cut short": (lambda c: [c[0][:-1], *c[1:]], "payload_forged"),
    "almost nothing": (lambda _: [b"x"], "payload_forged"),
    "nothing": (lambda _: [], "no_payload"),
}
"""What is done to four chunks, and what a reader says to it."""


class Forging:
    """Sealed chunks are what was put, or an error."""

    async def test_whoever_holds_the_bucket_cannot_change_what_is_read(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        for what, (rewrite, code) in REWRITINGS.items():
            reference = await store.put("parser", "acme", content(3 * CHUNK_BYTES + 5), TERMS)
            chunks = await payloads_bench.chunks(reference)
            assert len(chunks) == 4
            await payloads_bench.plant(reference, rewrite(chunks))
            assert await refusal(payloads_bench.result(read(store, "acme", reference))) == code, what
            await store.delete("acme", reference)

    async def test_what_is_verified_before_a_forged_chunk_is_right(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        whole = content(3 * CHUNK_BYTES)
        reference = await store.put("parser", "acme", whole, TERMS)
        chunks = await payloads_bench.chunks(reference)
        await payloads_bench.plant(reference, [*chunks[:2], _flipped(chunks[2], 50)])
        pieces = list[bytes]()

        async def gather() -> None:
            async for piece in store.get("acme", reference):
                pieces.append(piece)

        assert await refusal(gather()) == "payload_forged"
        assert b"".join(pieces) == whole[: 2 * CHUNK_BYTES]

    async def test_what_comes_twice_out_of_turn_or_behind_the_end_passes_by(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        whole = content(3 * CHUNK_BYTES + 5)
        reference = await store.put("parser", "acme", whole, TERMS)
        a, b, c, d = await payloads_bench.chunks(reference)
        for again in ([a, a, b, c, c, d, d], [a, c, d, b, c, d], [b, a, d, b, a, c, d], [a, b, c, d, a, b, c, b"junk"]):
            await payloads_bench.plant(reference, again)
            assert await read(store, "acme", reference) == whole

    async def test_chunks_of_another_payload_do_not_fit(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        key = bytes(range(32))
        terms = dataclasses.replace(TERMS, key=key)
        mine = await store.put("parser", "acme", content(2 * CHUNK_BYTES, seed="mine"), terms)
        theirs = await store.put("parser", "acme", content(2 * CHUNK_BYTES, seed="theirs"), terms)
        chunks, others = await payloads_bench.chunks(mine), await payloads_bench.chunks(theirs)
        for planted in ([others[0], chunks[1]], others):
            await payloads_bench.plant(mine, planted)
            assert await refusal(read(store, "acme", mine)) == "payload_forged"

    async def test_a_reference_that_was_changed_opens_nothing(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        reference = await store.put("parser", "acme", content(CHUNK_BYTES + 5), TERMS)
        for changes in ({"key": bytes(32)}, {"size_bytes": 5}, {"sha256": "0" * 64}):
            changed = dataclasses.replace(reference, **changes)
            assert await refusal(read(store, "acme", changed)) == "payload_forged", changes

    async def test_a_reference_of_another_tenant_is_like_one_that_is_not_there(
        self, payloads_bench: PayloadBench
    ) -> None:
        store = await payloads_bench.opened()
        reference = await store.put("parser", "acme", content(10), TERMS)
        for work in (read(store, "twin", reference), store.delete("twin", reference)):
            assert await refusal(work) == "no_payload"
        chunks = await payloads_bench.chunks(reference)
        stolen = dataclasses.replace(reference, name=reference.name.replace("acme", "twin"))
        await payloads_bench.plant(stolen, chunks)
        assert await refusal(read(store, "twin", stolen)) == "payload_forged"
        assert await read(store, "acme", reference) == content(10)

    async def test_a_name_that_is_no_name_reaches_nothing(self, payloads_bench: PayloadBench) -> None:
        store = await payloads_bench.opened()
        reference = await store.put("parser", "acme", content(10), TERMS)
        for changes in ({"name": "acme_>"}, {"name": "acme_*"}, {"name": "acme_a b"}, {"bucket": "jobs_parser.C.>"}):
            hostile = dataclasses.replace(reference, **changes)
            for work in (read(store, "acme", hostile), store.delete("acme", hostile)):
                assert await refusal(work) in {"bad_token", "no_payload"}, changes
        assert await read(store, "acme", reference) == content(10)

    async def test_nothing_in_the_bucket_and_nothing_that_prints_tells_the_key_or_the_text(
        self, payloads_bench: PayloadBench
    ) -> None:
        store = await payloads_bench.opened()
        reference = await store.put("parser", "acme", b"a secret of acme" * 20, TERMS)
        stored = b"".join(await payloads_bench.chunks(reference))
        assert b"secret" not in stored
        assert reference.key not in stored
        assert reference.key.hex() not in repr(reference)
        assert str(reference.key) not in repr(reference)
        assert "key" not in repr(TERMS)
