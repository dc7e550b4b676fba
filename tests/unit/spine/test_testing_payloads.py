"""The payload suite lets the store in memory pass, and catches one that breaks any of its promises."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import payload_seal, payload_transfer, payloads_memory
from penstock.spine.testing import payload_memory, payloads


async def names_of_passed() -> list[str]:
    return [name async for name in payloads.check_payloads(payload_memory.memory_payload_bench)]


async def test_the_suite_runs_without_a_test_framework() -> None:
    assert await names_of_passed() == sorted(name for name in dir(payloads.PayloadConformance) if name[:5] == "test_")


def ignore(*_: Any, **__: Any) -> None:
    """Does nothing."""


async def forget(*_: Any, **__: Any) -> None:
    """Does nothing."""


async def twice(self: payloads_memory.MemoryChunks, bucket: str, name: str) -> AsyncGenerator[bytes]:
    for chunk in self.buckets.kept(bucket, name):
        yield chunk
        yield chunk


def plain_close(_: payload_seal.Seal, number: int, plain: bytes, *, last: bool) -> bytes:
    return number.to_bytes(4, "big") + bytes((last,)) + bytes(plain) + bytes(16)


def plain_open(_: payload_seal.Seal, chunk: bytes) -> bytes:
    return chunk[5:-16]


def same_place(_: payload_seal.Place) -> bytes:
    return b"anywhere"


async def _at_once(chunks: payloads_memory.MemoryChunks) -> None:
    if not chunks.connected.is_set():
        raise errors.Unavailable("disconnected", "the payload store does not answer")


async def _overwrite(chunks: payloads_memory.MemoryChunks, policy: payload.BucketPolicy) -> bool:
    chunks.buckets.policies[policy.name] = policy
    return True


SABOTAGE: dict[str, list[tuple[Any, str, Any]]] = {
    "chunks are stored as they are": [
        (payload_seal.Seal, "close", plain_close),
        (payload_seal.Seal, "open", plain_open),
    ],
    "a place is not bound": [(payload_seal.Place, "encoded", same_place)],
    "the last flag is not looked at": [(payload_seal, "is_last", lambda _: True)],
    "numbers are not looked at": [(payload_seal, "number_of", lambda _: 0)],
    "owners are not looked at": [(payload, "check_owner", ignore)],
    "terms are not looked at": [(payload, "check_terms", ignore)],
    "lifetimes never end": [(payload_transfer.SealedPayloads, "_check_alive", ignore)],
    "sizes are not looked at": [(payload_transfer.SealedPayloads, "_check_size", ignore)],
    "nothing is tidied up": [(payload_transfer.SealedPayloads, "_tidy", forget)],
    "nothing is deleted": [(payloads_memory.MemoryChunks, "remove", forget)],
    "outages are not waited for": [(payloads_memory.MemoryChunks, "online", _at_once)],
    "a bucket is changed silently": [(payloads_memory.MemoryChunks, "provide", _overwrite)],
}


@pytest.mark.parametrize("fault", SABOTAGE)
async def test_a_store_that_breaks_a_promise_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, replacement in SABOTAGE[fault]:
        monkeypatch.setattr(owner, name, replacement)
    with pytest.raises((AssertionError, errors.PenstockError)):
        await names_of_passed()


async def test_a_store_whose_chunks_come_twice_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads_memory.MemoryChunks, "download", twice)
    store = payloads_memory.MemoryPayloads()
    await store.provide(payload.BucketPolicy("parser"))
    whole = bytes(range(256)) * 2000
    reference = await store.put("parser", "acme", whole, payload.Terms(60))
    assert b"".join([piece async for piece in store.get("acme", reference)]) == whole
