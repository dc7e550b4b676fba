"""Payloads: what is too large for a message travels beside it, sealed, with a lifetime, and goes away by itself.

A payload is put once, read by whoever holds its reference, and never changed. One bucket per component: whoever may
read a component's bucket reads sealed bytes, since a payload's key is only in its reference.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from penstock.base import errors, ids
from penstock.messages.v1 import job_pb2

MIB: Final = 1 << 20
GIB: Final = 1 << 30
DAY_S: Final = 86_400.0
KEY_BYTES: Final = 32
SIZE_LIMIT_BYTES: Final = 100 * MIB
LONGEST_S: Final = 7 * DAY_S
_DELETED_AT_ONCE: Final = 8


@dataclasses.dataclass(frozen=True, slots=True)
class BucketPolicy:
    """What the bucket of one component holds at most: all of its tenants' payloads together.

    When it is full, puts wait for lifetimes to end. `longest_s` is the longest lifetime of a payload, and what is left
    behind by anybody is gone after it.
    """

    component: str
    max_bytes: int = 4 * GIB
    longest_s: float = LONGEST_S
    replicas: int = 1

    @property
    def name(self) -> str:
        """The bucket's name. Raises Rejected for a component that is no slug."""
        return bucket_of(self.component)


def bucket_of(component: str) -> str:
    """`jobs_<component>`: the bucket beside the stream of its jobs."""
    return f"jobs_{ids.slug(component, 'component')}"


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """All that is needed to read one payload, by its tenant only. `key` is a secret and is in no bucket.

    `sha256` (hex) and `size_bytes` are of the plain bytes; `expires_at` is when it is gone.
    """

    bucket: str
    name: str
    size_bytes: int
    sha256: str
    expires_at: datetime
    key: bytes = dataclasses.field(repr=False)

    def to_message(self) -> job_pb2.ObjectReference:
        """As it travels in an envelope; the key travels apart, as the envelope's `payload_key`."""
        message = job_pb2.ObjectReference(
            bucket=self.bucket, name=self.name, size_bytes=self.size_bytes, sha256=self.sha256
        )
        message.expires_at.FromDatetime(self.expires_at)
        return message


def of_message(message: job_pb2.ObjectReference, key: bytes) -> Reference:
    """A reference from an envelope and the key that it was sealed under."""
    expires_at = message.expires_at.ToDatetime(tzinfo=UTC)
    return Reference(message.bucket, message.name, message.size_bytes, message.sha256, expires_at, key)


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """How a payload is put: for how long, how large it says it is, and under which key.

    Without `size_bytes` the limit strikes as soon as it is exceeded, not before. Without a `key` a fresh one is made;
    with one (a job's, so that its results need none of their own) it may be used for any number of payloads.
    """

    lifetime_s: float
    size_bytes: int | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)


class Payloads(Protocol):
    """The payload store. Every call waits for an outage to end, then raises Unavailable; none holds a whole payload."""

    async def provide(self, policy: BucketPolicy) -> bool:
        """See to a component's bucket; True when it was made. Raises Rejected `bucket_differs`, and changes nothing."""
        ...

    async def put(self, component: str, tenant: str, content: bytes | AsyncIterable[bytes], terms: Terms) -> Reference:
        """Store a payload; it can be read once this has returned, until its lifetime is over.

        What a put that failed or was killed has left behind goes away by itself; putting again makes another payload.
        Raises Rejected `payload_too_large` (before anything is read, when its size is declared), `payload_size` when
        it is not as large as declared, `bad_lifetime`, `bad_key`; Unavailable `bucket_full`, `bucket_away` when there
        is no bucket or nobody leads it; and whatever `content` raises.
        """
        ...

    def get(self, tenant: str, reference: Reference) -> AsyncGenerator[bytes]:
        """The payload, piece by piece, each verified before it is handed out; whole only when this ends.

        Raises Rejected `no_payload` (deleted, never there, or another tenant's), `payload_expired`; Poisoned
        `payload_truncated` when the rest of it is not there, `payload_forged` when a bit of it is not what was put.
        """
        ...

    async def delete(self, tenant: str, reference: Reference) -> None:
        """Remove a payload before its time; one that is gone is fine. Raises Rejected `no_payload` for another's."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


async def discard(payloads: Payloads, tenant: str, references: Sequence[Reference]) -> None:
    """Remove what a finished job has left, all that can be; what is missing is fine.

    Raises the first failure after everything was tried: what is left goes away when its lifetime ends.
    """
    turns = asyncio.Semaphore(_DELETED_AT_ONCE)

    async def remove(reference: Reference) -> None:
        async with turns:
            await payloads.delete(tenant, reference)

    ended = await asyncio.gather(*map(remove, references), return_exceptions=True)
    for failure in ended:
        if failure is not None:
            raise failure


def new_name(tenant: str) -> str:
    """A name for one payload of a tenant: `<tenant>_<id>`, one subject token."""
    return f"{ids.tenant_id(tenant)}_{ids.new_id()}"


def check_owner(tenant: str, reference: Reference) -> None:
    """Raise Rejected `no_payload` for another tenant's, which looks like one that is not there."""
    if reference.name.rpartition("_")[0] != ids.tenant_id(tenant) or not reference.name.isascii():
        raise missing()
    ids.token(reference.name, "payload")
    ids.token(reference.bucket, "bucket")


def check_terms(terms: Terms, *, longest_s: float, limit_bytes: int) -> None:
    """Raise Rejected for what no payload may be."""
    if not 1 <= terms.lifetime_s <= longest_s:
        raise errors.Rejected(
            "bad_lifetime", f"a payload lives 1 to {longest_s:g} seconds, not {terms.lifetime_s:g}", field="lifetime_s"
        )
    if terms.key is not None and len(terms.key) != KEY_BYTES:
        raise errors.Rejected("bad_key", f"a payload's key is {KEY_BYTES} bytes", field="key")
    if terms.size_bytes is not None and terms.size_bytes > limit_bytes:
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> errors.Rejected:
    """Above the limit, declared or found."""
    return errors.Rejected(
        "payload_too_large",
        f"a payload is at most {limit_bytes} bytes",
        hint="Put what is larger into object storage, or cut it up.",
        status=413,
    )


def missing() -> errors.Rejected:
    """Deleted, never there, or another tenant's."""
    return errors.Rejected("no_payload", "there is no such payload", status=404)


def expired(reference: Reference) -> errors.Rejected:
    """Its lifetime is over."""
    return errors.Rejected("payload_expired", f"the payload's lifetime ended at {reference.expires_at}", status=410)


def truncated() -> errors.Poisoned:
    """The rest is not there."""
    return errors.Poisoned(
        "payload_truncated",
        "a part of the payload is not in its bucket",
        hint="The stream lost it, or somebody removed it: make the job again.",
    )


def forged() -> errors.Poisoned:
    """Something is not what was put."""
    return errors.Poisoned(
        "payload_forged",
        "the payload is not what was put under this reference",
        hint="Somebody wrote into the bucket, or the reference or its key was changed.",
    )


def bucket_differs(bucket: str, detail: str) -> errors.Rejected:
    """It is there, and cannot keep what is asked."""
    return errors.Rejected(
        "bucket_differs", f"the bucket {bucket} is another: {detail}", hint="Nothing was changed.", status=409
    )


def bucket_full(bucket: str) -> errors.Unavailable:
    """No room now."""
    return errors.Unavailable(
        "bucket_full",
        f"the bucket {bucket} is full",
        hint="Payloads leave it when their jobs end or their lifetimes are over.",
        after_s=5.0,
    )


def bucket_away(bucket: str) -> errors.Unavailable:
    """Nobody answers for it."""
    return errors.Unavailable("bucket_away", f"nobody answers for the bucket {bucket}", hint="Was it provided?")
