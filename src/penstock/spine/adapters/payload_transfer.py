"""Putting and getting payloads over any store of chunks: cut, sealed, counted, and verified on the way back.

A store keeps the chunks of a name in the order in which they came and may keep some twice or out of turn, when an
answer was lost and they were sent again. So a reader takes chunk 0, then the next time that it sees chunk 1, and so
on, and lets everything else pass by: what it takes is what was put, or an error.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import math
import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import timedelta
from typing import Final, Protocol

from penstock.base import clock as clocks
from penstock.base import errors, ids, telemetry
from penstock.spine import payload
from penstock.spine.adapters import payload_seal

CHUNK_BYTES: Final = 128 << 10
"""Plain bytes of a chunk: what other NATS clients cut objects into."""
TIDIES_WITHIN_S: Final = 2.0

carried = telemetry.counter(
    "penstock_spine_payload_bytes_total",
    labels=("direction",),
    meaning="Plain bytes of payloads, by direction: put, get.",
    remedy="Growing by itself is the load. Compare with the sizes of buckets (penstock stream ls --all).",
)
failed = telemetry.counter(
    "penstock_spine_payload_failures_total",
    labels=("code",),
    meaning="Payloads that could not be put or read, by the code of the error.",
    remedy="bucket_full: raise the bucket's limit, or shorten lifetimes. payload_forged: somebody writes into a bucket "
    "who should not. payload_truncated: JetStream lost a part; the job is made again.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What a payload is as an object of its bucket: sealed bytes, chunks and digest."""

    bucket: str
    name: str
    size_bytes: int
    chunks: int
    sha256: bytes


class Upload(Protocol):
    """One payload on its way into a bucket."""

    async def send(self, chunk: bytes) -> None:
        """Have the next chunk stored; may return before it is. Raises Unavailable."""
        ...

    async def finish(self, stored: Stored, /) -> None:
        """Return when every chunk is stored, and say in the bucket that the object is complete. Raises Unavailable."""
        ...

    async def abandon(self) -> None:
        """Return when nothing of it is on its way any more."""
        ...


class Chunks(Protocol):
    """A store of chunks, each gone after its lifetime."""

    async def provide(self, policy: payload.BucketPolicy) -> bool:
        """See to a bucket."""
        ...

    def upload(self, bucket: str, name: str, lifetime_s: int) -> Upload:
        """Begin to store an object."""
        ...

    def download(self, bucket: str, name: str) -> AsyncGenerator[bytes]:
        """The chunks of an object, in the order in which they are stored; none when there is no such object."""
        ...

    async def remove(self, bucket: str, name: str) -> None:
        """Forget an object, if there is one."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class SealedPayloads:
    """The payload store over a store of chunks."""

    def __init__(
        self,
        chunks: Chunks,
        *,
        clock: clocks.Clock | None = None,
        limit_bytes: int = payload.SIZE_LIMIT_BYTES,
        longest_s: float = payload.LONGEST_S,
    ) -> None:
        self._chunks, self._clock = chunks, clock or clocks.SystemClock()
        self._limit_bytes, self._longest_s = limit_bytes, longest_s

    async def provide(self, policy: payload.BucketPolicy) -> bool:
        """See to a component's bucket; True when it was made."""
        return await self._chunks.provide(policy)

    async def put(
        self, component: str, tenant: str, content: bytes | AsyncIterable[bytes], terms: payload.Terms
    ) -> payload.Reference:
        """Store a payload."""
        bucket, name = payload.bucket_of(component), payload.new_name(tenant)
        payload.check_terms(terms, longest_s=self._longest_s, limit_bytes=self._limit_bytes)
        if isinstance(content, bytes) and len(content) > self._limit_bytes:
            raise payload.too_large(self._limit_bytes)
        key = terms.key or secrets.token_bytes(payload.KEY_BYTES)
        place = payload_seal.Place(bucket, ids.tenant_id(tenant), name)
        expires_at = self._clock.now() + timedelta(seconds=terms.lifetime_s)
        upload = self._chunks.upload(bucket, name, math.ceil(terms.lifetime_s))
        try:
            digest, size_bytes = await self._send(upload, payload_seal.Seal(key, place), place, content, terms)
        except BaseException as error:
            if isinstance(error, errors.PenstockError):
                failed.labels(error.code).inc()
            await self._tidy(upload, bucket, name)
            raise
        carried.labels("put").inc(size_bytes)
        return payload.Reference(bucket, name, size_bytes, digest, expires_at, key)

    async def _send(
        self,
        upload: Upload,
        seal: payload_seal.Seal,
        place: payload_seal.Place,
        content: bytes | AsyncIterable[bytes],
        terms: payload.Terms,
    ) -> tuple[str, int]:
        """Cut, seal and send; the digest and the size of the plain bytes."""
        plain, sealed = hashlib.sha256(), hashlib.sha256()
        size_bytes = stored_bytes = number = 0
        async with contextlib.aclosing(_pieces(content)) as pieces:
            async for piece, last in pieces:
                size_bytes += len(piece)
                self._check_size(size_bytes, terms.size_bytes, last=last)
                plain.update(piece)
                chunk = seal.close(number, piece, last=last)
                sealed.update(chunk)
                stored_bytes += len(chunk)
                number += 1
                await upload.send(chunk)
        await upload.finish(Stored(place.bucket, place.name, stored_bytes, number, sealed.digest()))
        return plain.hexdigest(), size_bytes

    def _check_size(self, size_bytes: int, declared_bytes: int | None, *, last: bool) -> None:
        if size_bytes > self._limit_bytes:
            raise payload.too_large(self._limit_bytes)
        if declared_bytes is not None and (size_bytes > declared_bytes or (last and size_bytes < declared_bytes)):
            raise errors.Rejected("payload_size", f"the payload is not the declared {declared_bytes} bytes")

    async def _tidy(self, upload: Upload, bucket: str, name: str) -> None:
        """Take back what a put has stored before it failed, if that is quick and allowed; else its lifetime ends it."""
        with contextlib.suppress(errors.PenstockError, TimeoutError):
            async with asyncio.timeout(TIDIES_WITHIN_S):
                await upload.abandon()
                await self._chunks.remove(bucket, name)

    async def get(self, tenant: str, reference: payload.Reference) -> AsyncGenerator[bytes]:
        """The payload, piece by piece."""
        try:
            async with contextlib.aclosing(self._verified(tenant, reference)) as pieces:
                async for piece in pieces:
                    carried.labels("get").inc(len(piece))
                    yield piece
        except errors.PenstockError as error:
            failed.labels(error.code).inc()
            raise

    async def _verified(self, tenant: str, reference: payload.Reference) -> AsyncGenerator[bytes]:
        """Open chunk after chunk, each in its turn."""
        payload.check_owner(tenant, reference)
        self._check_alive(reference)
        place = payload_seal.Place(reference.bucket, ids.tenant_id(tenant), reference.name)
        seal, digest = payload_seal.Seal(reference.key, place), hashlib.sha256()
        size_bytes = awaited = 0
        async with contextlib.aclosing(self._chunks.download(reference.bucket, reference.name)) as chunks:
            async for chunk in chunks:
                if payload_seal.number_of(chunk) != awaited:
                    continue
                piece = seal.open(chunk)
                digest.update(piece)
                size_bytes += len(piece)
                awaited += 1
                last = payload_seal.is_last(chunk)
                if size_bytes > reference.size_bytes:
                    raise payload.forged()
                if last and (digest.hexdigest(), size_bytes) != (reference.sha256, reference.size_bytes):
                    raise payload.forged()
                if piece:
                    yield piece
                if last:
                    return
        self._check_alive(reference)
        raise payload.truncated() if awaited else payload.missing()

    def _check_alive(self, reference: payload.Reference) -> None:
        if self._clock.now() >= reference.expires_at:
            raise payload.expired(reference)

    async def delete(self, tenant: str, reference: payload.Reference) -> None:
        """Remove a payload before its time."""
        payload.check_owner(tenant, reference)
        await self._chunks.remove(reference.bucket, reference.name)

    async def close(self) -> None:
        """Hang up."""
        await self._chunks.close()


async def _pieces(content: bytes | AsyncIterable[bytes]) -> AsyncGenerator[tuple[memoryview, bool]]:
    """The content in pieces of a chunk's size and whether each is the last: one, perhaps empty, always is."""
    if isinstance(content, bytes):
        whole = memoryview(content)
        for begin in range(0, max(len(whole), 1), CHUNK_BYTES):
            yield whole[begin : begin + CHUNK_BYTES], begin + CHUNK_BYTES >= len(whole)
        return
    waiting = bytearray()
    async for part in content:
        waiting += part
        # The last chunk is only known once nothing follows: a full one is kept back until something does.
        while len(waiting) > CHUNK_BYTES:
            yield memoryview(bytes(waiting[:CHUNK_BYTES])), False
            del waiting[:CHUNK_BYTES]
    yield memoryview(bytes(waiting)), True
