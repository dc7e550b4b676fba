"""A key-value bucket on NATS: a stream `KV_<bucket>` with one subject per key, as every NATS client understands it.

Layout: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md
"""

import contextlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from penstock.base import context as contexts
from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import acceptance, nats_answers, nats_browse, nats_policies
from penstock.spine.adapters.nats_calls import Calls
from penstock.spine.plane import link

OPERATION: Final = "KV-Operation"
MARKER: Final = "Nats-Marker-Reason"
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


async def open_bucket(calls: Calls, plane: link.Link, bucket: str, *, history: int, max_age_s: float) -> "NatsKeyValue":
    """The bucket, made when it is missing. Raises Rejected `bad_bucket`."""
    acceptance.bucket(bucket)
    if not 1 <= history <= 64:
        raise errors.Rejected("bad_bucket", "a bucket keeps 1-64 revisions of a key", field="history")
    name = f"KV_{bucket}"
    try:
        await calls.stream_info(name)
    except errors.Rejected as missing:
        if missing.code != "no_stream":
            raise
        await _make(calls, _config(bucket, history, max_age_s))
    return NatsKeyValue(calls, plane, bucket)


async def _make(calls: Calls, config: Mapping[str, Any]) -> None:
    """Make the bucket with copies on three servers; one server refuses that, and keeps the only copy."""
    for copies in (3, 1):
        try:
            await calls.api(f"STREAM.CREATE.{config['name']}", {**config, "num_replicas": copies})
            return
        except errors.Rejected as refused:
            if refused.code != "stream_refused":  # somebody else made it meanwhile, with other limits
                return


def _config(bucket: str, history: int, max_age_s: float) -> dict[str, Any]:
    window_s = min(120.0, max_age_s) if max_age_s > 0 else 120.0
    return {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "max_msgs_per_subject": history,
        "max_age": nats_policies.nanoseconds(max_age_s),
        "duplicate_window": nats_policies.nanoseconds(window_s),
        "discard": "new",
        "storage": "file",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
    }


class NatsKeyValue:
    """One bucket."""

    def __init__(self, calls: Calls, plane: link.Link, bucket: str) -> None:
        self._calls, self._plane = calls, plane
        self._stream, self._prefix = f"KV_{bucket}", f"$KV.{bucket}."

    async def get(self, key: str) -> ports.Entry | None:
        """The latest entry, or None."""
        entry = await self._latest(key)
        return entry if entry is not None and entry.value is not None else None

    async def _latest(self, key: str) -> ports.Entry | None:
        """The latest entry, a deletion included."""
        acceptance.key(key)
        # Any copy answers a direct read, and may be behind; this asks the leader.
        asked = {"last_by_subj": f"{self._prefix}{key}"}
        try:
            found = await self._calls.api(f"STREAM.MSG.GET.{self._stream}", asked)
        except errors.Rejected as error:
            if error.code != "no_message":
                raise
            return None
        stored = nats_answers.stored(self._stream, found["message"])
        return _entry(key, stored.body, stored.headers, stored.sequence)

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there."""
        return await self._write(key, value, {})

    async def create(self, key: str, value: bytes) -> int:
        """Write only if the key does not exist."""
        entry = await self._latest(key)
        if entry is not None and entry.value is not None:
            raise acceptance.conflict(key)
        return await self.update(key, value, revision=entry.revision if entry else 0)

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Write only over that revision."""
        return await self._write(key, value, {EXPECTED: str(revision)})

    async def delete(self, key: str) -> None:
        """Remove the key."""
        await self._write(key, b"", {OPERATION: "DEL"})

    async def _write(self, key: str, value: bytes, headers: Mapping[str, str]) -> int:
        acceptance.entry(key, value, self._calls.link.payload_limit_bytes)
        # An attempt whose answer was lost is made again: the id keeps it from counting as a second write.
        identified = {contexts.MESSAGE_ID: secrets.token_hex(12), **headers}
        try:
            return (await self._calls.store(f"{self._prefix}{key}", value, identified)).sequence
        except errors.Rejected as error:
            raise (acceptance.conflict(key) if error.code == "revision_conflict" else error) from None

    async def keys(self) -> list[str]:
        """The keys that have a value, sorted."""
        found: list[str] = []
        async with contextlib.aclosing(self.watch()) as entries:
            async for entry in entries:
                if entry is None:
                    break
                found.append(entry.key)
        return sorted(found)

    async def watch(self) -> AsyncGenerator[ports.Entry | None]:
        """Every current entry, then None once, then every change."""
        reader = nats_browse.OrderedReader(self._calls, self._plane, self._stream, f"{self._prefix}>")
        try:
            newest, pending = await self._newest(), await reader.open_latest()
            if not pending and newest:
                newest = await self._newest()  # it may have been forgotten in between
            # The copy that is read may be behind the leader.
            while pending or reader.position < newest:
                delivery = await reader.next()
                pending = delivery.pending
                entry = self._read(delivery.subject, delivery.body, delivery.headers, delivery.sequence)
                if entry.value is not None:
                    yield entry
            yield None
            while True:
                delivery = await reader.next()
                yield self._read(delivery.subject, delivery.body, delivery.headers, delivery.sequence)
        finally:
            await reader.close()

    async def _newest(self) -> int:
        """The sequence of the newest entry; 0 without any."""
        state = await self._calls.stream_state(self._stream)
        return int(state["last_seq"]) if state["messages"] else 0

    def _read(self, subject: str, value: bytes, headers: Mapping[str, str], revision: int) -> ports.Entry:
        return _entry(subject.removeprefix(self._prefix), value, headers, revision)


def _entry(key: str, value: bytes, headers: Mapping[str, str], revision: int) -> ports.Entry:
    deleted = OPERATION in headers or MARKER in headers
    return ports.Entry(key, None if deleted else value, revision)
