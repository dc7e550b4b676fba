"""The payload store in memory, for tests and for a first look: sealed like the real one, gone with the process."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator

from penstock.base import clock as clocks
from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import memory_alarm, payload_transfer


@dataclasses.dataclass(slots=True)
class Kept:
    """One chunk, and until when it is kept by the monotonic clock."""

    chunk: bytes
    until_s: float


class MemoryBuckets:
    """What all clients share: the chunks of each object of each bucket."""

    def __init__(self, *, clock: clocks.Clock | None = None) -> None:
        self.clock: clocks.Clock = clock or clocks.SystemClock()
        self.policies: dict[str, payload.BucketPolicy] = {}
        self.objects: dict[tuple[str, str], list[Kept]] = {}

    def kept(self, bucket: str, name: str) -> list[bytes]:
        """The chunks of one object whose time is not over."""
        now_s = self.clock.monotonic()
        return [kept.chunk for kept in self.objects.get((bucket, name), []) if kept.until_s > now_s]

    def store(self, bucket: str, name: str, chunk: bytes, *, lifetime_s: float) -> None:
        """Keep one more chunk. Raises Unavailable `bucket_away`, `bucket_full`."""
        policy = self.policies.get(bucket)
        if policy is None:
            raise payload.bucket_away(bucket)
        held_bytes = sum(len(one) for of, there in self.objects if of == bucket for one in self.kept(of, there))
        if held_bytes + len(chunk) > policy.max_bytes:
            raise payload.bucket_full(bucket)
        lives_s = min(lifetime_s, policy.longest_s)
        self.objects.setdefault((bucket, name), []).append(Kept(chunk, self.clock.monotonic() + lives_s))


class MemoryChunks:
    """One client of a `MemoryBuckets`. While `connected` is not set, its calls wait for `deadline_s` seconds."""

    def __init__(self, buckets: MemoryBuckets, *, deadline_s: float = 15.0) -> None:
        self.buckets, self._deadline_s = buckets, deadline_s
        self.connected = asyncio.Event()
        self.connected.set()
        self._closed = False

    async def online(self) -> None:
        """Return when connected. Raises Unavailable `disconnected`, `spine_closed`."""
        if self._closed:
            raise errors.Unavailable("spine_closed", "the payload store was closed")
        if not await memory_alarm.wait_for(self.connected, self.buckets.clock, self._deadline_s):
            raise errors.Unavailable("disconnected", "the payload store does not answer")

    async def provide(self, policy: payload.BucketPolicy) -> bool:
        """See to a bucket."""
        await self.online()
        made = policy.name not in self.buckets.policies
        there = self.buckets.policies.setdefault(policy.name, policy)
        if there != policy:
            raise payload.bucket_differs(policy.name, str(there))
        return made

    def upload(self, bucket: str, name: str, lifetime_s: int) -> "MemoryUpload":
        """Begin to store an object."""
        return MemoryUpload(self, bucket, name, lifetime_s)

    async def download(self, bucket: str, name: str) -> AsyncGenerator[bytes]:
        """The chunks of an object."""
        position = 0
        while True:
            await self.online()
            kept = self.buckets.kept(bucket, name)
            if bucket not in self.buckets.policies:
                raise payload.bucket_away(bucket)
            if position >= len(kept):
                return
            yield kept[position]
            position += 1

    async def remove(self, bucket: str, name: str) -> None:
        """Forget an object."""
        await self.online()
        self.buckets.objects.pop((bucket, name), None)

    async def close(self) -> None:
        """Hang up."""
        self._closed = True


class MemoryUpload:
    """One payload on its way."""

    def __init__(self, chunks: MemoryChunks, bucket: str, name: str, lifetime_s: int) -> None:
        self._chunks, self._bucket, self._name, self._lifetime_s = chunks, bucket, name, lifetime_s

    async def send(self, chunk: bytes) -> None:
        """Store the next chunk."""
        await self._chunks.online()
        self._chunks.buckets.store(self._bucket, self._name, chunk, lifetime_s=self._lifetime_s)

    async def finish(self, _stored: payload_transfer.Stored, /) -> None:
        """All is stored already."""
        await self._chunks.online()

    async def abandon(self) -> None:
        """Nothing is on its way."""


class MemoryPayloads(payload_transfer.SealedPayloads):
    """One client of the payload store in memory. `disconnect` and `reconnect` play an outage of this client."""

    def __init__(
        self,
        buckets: MemoryBuckets | None = None,
        *,
        deadline_s: float = 15.0,
        limit_bytes: int = payload.SIZE_LIMIT_BYTES,
    ) -> None:
        self._memory = MemoryChunks(buckets or MemoryBuckets(), deadline_s=deadline_s)
        super().__init__(self._memory, clock=self._memory.buckets.clock, limit_bytes=limit_bytes)

    def disconnect(self) -> None:
        """Lose the connection: calls wait."""
        self._memory.connected.clear()

    def reconnect(self) -> None:
        """Get it back."""
        self._memory.connected.set()
