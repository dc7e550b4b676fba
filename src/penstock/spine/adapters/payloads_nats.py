"""The payload store on NATS: an object-store bucket per component, over a connection of its own.

Layout (ADR-20): a stream `OBJ_<bucket>` with chunks under `$O.<bucket>.C.<nuid>` and one description under
`$O.<bucket>.M.<base64url of the name>`; name and nuid are the same here, so that a reference alone leads to the
chunks. https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-20.md

Reading and writing need nothing but `$O.<bucket>.C.>`, `$O.<bucket>.M.>`, `$JS.API.DIRECT.GET.OBJ_<bucket>` (ADR-31,
batched) and one's own inbox, which is what a fenced worker has. Lifetimes are per message (ADR-43).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from penstock.base import clock as clocks
from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import nats_answers, nats_policies, payload_batch, payload_transfer, payload_upload
from penstock.spine.plane import link as links
from penstock.spine.plane.address import Address, address

TRY_S: Final = 3.0
PAUSE_S: Final = 0.05
SETTLES_S: Final = (0.05, 0.2, 0.75)
"""How long to wait, one after the other, before what is not there is missing: any copy of a bucket may answer, and one
that is a little behind does not know yet what its leader has acknowledged."""


class NatsChunks:
    """Chunks in object-store buckets. `deadline_s` is how long nothing may move before a call gives up."""

    def __init__(self, link: links.Link, *, deadline_s: float = 15.0) -> None:
        self._link, self._deadline_s = link, deadline_s

    async def provide(self, policy: payload.BucketPolicy) -> bool:
        """See to a bucket; True when it was made."""
        there = await self._there(policy)
        if there is not None:
            _check(policy, there)
            return False
        try:
            made = await self._api(f"STREAM.CREATE.OBJ_{policy.name}", bucket_config(policy))
            _check(policy, made["config"])  # a server before 2.11 knows nothing of lifetimes, and does not say so
        except errors.Rejected:
            # Somebody else may have made it at the same time: what counts is what is there now.
            if (there := await self._there(policy)) is None:
                raise
            _check(policy, there)
            return False
        return True

    async def _there(self, policy: payload.BucketPolicy) -> dict[str, Any] | None:
        """The configuration of the stream behind a bucket; None when there is none."""
        try:
            return (await self._api(f"STREAM.INFO.OBJ_{policy.name}"))["config"]
        except errors.Rejected as error:
            if error.code != "no_stream":
                raise
            return None

    def upload(self, bucket: str, name: str, lifetime_s: int) -> payload_upload.NatsUpload:
        """Begin to store an object."""
        return payload_upload.NatsUpload(self._link, bucket, name, lifetime_s, deadline_s=self._deadline_s)

    async def download(self, bucket: str, name: str) -> AsyncGenerator[bytes]:
        """The chunks of an object; the next batch is on its way while one is read."""
        reader = payload_batch.Reader(self._link, bucket, name, deadline_s=self._deadline_s)
        settling = iter(SETTLES_S)
        async with contextlib.aclosing(reader):
            while True:
                batch = await reader.next()
                for chunk in batch:
                    yield chunk
                if batch:
                    settling = iter(SETTLES_S)
                    continue
                pause_s = next(settling, None)
                if pause_s is None:
                    return
                await asyncio.sleep(pause_s)

    async def remove(self, bucket: str, name: str) -> None:
        """Forget an object: its description, then its chunks."""
        for subject in (payload_upload.description_subject(bucket, name), payload_upload.chunk_subject(bucket, name)):
            try:
                await self._api(f"STREAM.PURGE.OBJ_{bucket}", {"filter": subject})
            except errors.Rejected as error:
                if error.code != "no_stream":
                    raise

    async def close(self) -> None:
        """Hang up."""
        await self._link.close()

    async def _api(self, subject: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """One idempotent call of the JetStream API, made again while the world is away and there is time."""
        body = msgspec.json.encode(request) if request else b""
        until = asyncio.get_running_loop().time() + self._deadline_s
        while True:
            left_s = until - asyncio.get_running_loop().time()
            try:
                await self._link.wait_connected(max(left_s, 0.01))
                answer = await self._link.call(f"$JS.API.{subject}", body, max(0.01, min(TRY_S, left_s)))
                if not answer.status:
                    return nats_answers.result(answer.body)
                raise errors.Unavailable("no_jetstream", "NATS answers, JetStream does not")
            except errors.Unavailable as error:
                if error.code in {"spine_closed", "storage_full"} or left_s <= PAUSE_S:
                    raise
            await asyncio.sleep(PAUSE_S)


class NatsPayloads(payload_transfer.SealedPayloads):
    """The payload store on NATS. Made by `connect`."""

    @classmethod
    async def connect(
        cls,
        url: str | Address,
        *,
        name: str = "penstock payloads",
        wait_s: float | None = None,
        deadline_s: float = 15.0,
        limit_bytes: int = payload.SIZE_LIMIT_BYTES,
    ) -> "NatsPayloads":
        """Connect, however long it takes, or for `wait_s` seconds: apart from other traffic, which must not queue.

        Raises Rejected `nats_auth`, `nats_url`, Unavailable `nats_unreachable` when `wait_s` is over.
        """
        there = url if isinstance(url, Address) else address(url, name=name)
        link = links.Link(there)
        await link.open(wait_s=wait_s)
        chunks = NatsChunks(link, deadline_s=deadline_s)
        return cls(chunks, clock=clocks.SystemClock(), limit_bytes=limit_bytes)


def bucket_config(policy: payload.BucketPolicy) -> dict[str, Any]:
    """The stream behind a bucket: refusing when full, with lifetimes per message.

    Unlike what `nats object add` makes, it takes no roll-ups: `Nats-Rollup: all` of one worker would remove what all
    other jobs of its component have there, and no name is ever used twice.
    """
    return {
        "name": f"OBJ_{policy.name}",
        "description": f"payloads of jobs of {policy.component}",
        "subjects": [f"$O.{policy.name}.C.>", f"$O.{policy.name}.M.>"],
        "max_bytes": policy.max_bytes,
        "max_age": nats_policies.nanoseconds(policy.longest_s),
        "discard": "new",
        "storage": "file",
        "num_replicas": policy.replicas,
        "allow_rollup_hdrs": False,
        "allow_direct": True,
        "allow_msg_ttl": True,
    }


def _check(policy: payload.BucketPolicy, there: dict[str, Any]) -> None:
    """Raise Rejected `bucket_differs` for a stream that cannot keep payloads as this policy asks."""
    asked = bucket_config(policy)
    fixed = ("subjects", "max_bytes", "max_age", "discard", "allow_rollup_hdrs", "allow_direct", "allow_msg_ttl")
    wrong = [
        f"{field} is {there.get(field)}, wanted {asked[field]}" for field in fixed if there.get(field) != asked[field]
    ]
    if wrong:
        raise payload.bucket_differs(policy.name, "; ".join(wrong))
