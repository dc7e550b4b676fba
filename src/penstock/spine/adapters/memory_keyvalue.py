"""Key-value buckets in memory: the latest value by key, revisions over the whole bucket, and watchers."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable

from penstock.base import clock as clocks
from penstock.spine import ports
from penstock.spine.adapters import acceptance


@dataclasses.dataclass(slots=True)
class Written:
    """One revision and when it was written (monotonic seconds)."""

    entry: ports.Entry
    written_s: float


class MemoryBucket:
    """One bucket. Watchers read on from a revision, so that they miss nothing while their client is offline."""

    def __init__(self, clock: clocks.Clock, *, max_age_s: float, limit_bytes: int) -> None:
        self._clock, self._max_age_s, self.limit_bytes = clock, max_age_s, limit_bytes
        self._latest: dict[str, Written] = {}
        self._revision = 0
        self.changed = asyncio.Event()

    def read(self, key: str) -> ports.Entry | None:
        """The latest entry, a deletion included."""
        written = self._latest.get(key)
        if written is None or self._too_old(written):
            return None
        return written.entry

    def write(self, key: str, value: bytes | None) -> int:
        """Write or delete; returns the revision."""
        self._revision += 1
        self._latest.pop(key, None)
        self._latest[key] = Written(ports.Entry(key, value, self._revision), self._clock.monotonic())
        self.announce()
        return self._revision

    def announce(self) -> None:
        """Wake every watcher."""
        announced, self.changed = self.changed, asyncio.Event()
        announced.set()

    def since(self, revision: int) -> list[ports.Entry]:
        """The latest entry of every key that changed after a revision, in the order in which they changed."""
        return [
            written.entry
            for written in self._latest.values()
            if written.entry.revision > revision and not self._too_old(written)
        ]

    def _too_old(self, written: Written) -> bool:
        return 0 < self._max_age_s <= self._clock.monotonic() - written.written_s


class MemoryKeyValue:
    """One client's view of a bucket.

    `online` waits until the client is connected or its deadline is over, `wait_online` for as long as it takes.
    """

    def __init__(
        self, bucket: MemoryBucket, *, online: Callable[[], Awaitable[None]], wait_online: Callable[[], Awaitable[None]]
    ) -> None:
        self._bucket, self._online, self._wait_online = bucket, online, wait_online

    async def get(self, key: str) -> ports.Entry | None:
        """The latest entry, or None."""
        acceptance.key(key)
        await self._online()
        entry = self._bucket.read(key)
        return entry if entry is not None and entry.value is not None else None

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there."""
        acceptance.entry(key, value, self._bucket.limit_bytes)
        await self._online()
        return self._bucket.write(key, bytes(value))

    async def create(self, key: str, value: bytes) -> int:
        """Write only if the key does not exist."""
        acceptance.entry(key, value, self._bucket.limit_bytes)
        await self._online()
        entry = self._bucket.read(key)
        if entry is not None and entry.value is not None:
            raise acceptance.conflict(key)
        return self._bucket.write(key, bytes(value))

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Write only over that revision."""
        acceptance.entry(key, value, self._bucket.limit_bytes)
        await self._online()
        entry = self._bucket.read(key)
        if (entry.revision if entry else 0) != revision:
            raise acceptance.conflict(key)
        return self._bucket.write(key, bytes(value))

    async def delete(self, key: str) -> None:
        """Remove the key."""
        acceptance.key(key)
        await self._online()
        self._bucket.write(key, None)

    async def keys(self) -> list[str]:
        """The keys that have a value, sorted."""
        await self._online()
        return sorted(entry.key for entry in self._bucket.since(0) if entry.value is not None)

    async def watch(self) -> AsyncGenerator[ports.Entry | None]:
        """Every current entry, then None once, then every change."""
        await self._wait_online()
        seen = 0
        for entry in self._bucket.since(0):
            seen = entry.revision
            if entry.value is not None:
                yield entry
        yield None
        while True:
            await self._wait_online()
            changed = self._bucket.changed
            for entry in self._bucket.since(seen):
                seen = entry.revision
                yield entry
            await changed.wait()
