"""What an id may look like, how one is made, and which partition it falls into.

Partitions and derived ids are frozen: they name rows and subjects that already exist (golden in `tests/golden`).
"""

import base64
import functools
import hashlib
import os
import re
import time
import zlib
from typing import Final, NewType

from penstock.base import errors

TenantId = NewType("TenantId", str)
AccountId = NewType("AccountId", str)
ChannelName = NewType("ChannelName", str)
ConversationId = NewType("ConversationId", str)
EventId = NewType("EventId", str)
CommandId = NewType("CommandId", str)
AppName = NewType("AppName", str)

PARTITIONS: Final = 64
"""Virtual shards of everything that is kept in order by key; frozen."""

SLUG_LENGTH: Final = 40
TOKEN_LENGTH: Final = 128

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,63}")
_LENGTHS: Final = tuple(length.to_bytes(8, "big").decode("ascii") for length in range(128))


@functools.lru_cache(maxsize=4096)
def slug(value: str, field: str) -> str:
    """Return `value` if it is a slug: lower-case letters, digits and single dashes, 1-40 characters.

    Slugs never hold an underscore, so `_` separates them without ambiguity. Raises Rejected naming `field`.
    """
    if len(value) > SLUG_LENGTH or not _SLUG.fullmatch(value):
        raise errors.Rejected(
            "bad_slug",
            f"{field} must be 1-{SLUG_LENGTH} lower-case letters, digits and single dashes",
            hint=f"Choose something like '{suggest_slug(value)}'.",
            field=field,
        )
    return value


def suggest_slug(value: str) -> str:
    """A slug close to `value`, for hints."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "acme"


def tenant_id(value: str) -> TenantId:
    """Validate a tenant's slug."""
    return TenantId(slug(value, "tenant"))


@functools.lru_cache(maxsize=4096)
def token(value: str, field: str) -> str:
    """Return `value` if it may stand in a subject as one token: `[A-Za-z0-9_-]`, 1-128 characters. Raises Rejected."""
    if len(value) > TOKEN_LENGTH or not _TOKEN.fullmatch(value):
        raise errors.Rejected(
            "bad_token", f"{field} must be 1-{TOKEN_LENGTH} letters, digits, '-' and '_'", field=field
        )
    return value


def encode_token(value: str) -> str:
    """Turn any text into one subject token, injectively.

    Short plain ids stand as they are. Anything else becomes `_` + base64url of its UTF-8 bytes, and what would exceed
    a token's length `__` + base64url of its SHA-256. A plain id never starts with `_`, so the three never meet.
    """
    if _PLAIN.fullmatch(value):
        return value
    raw = value.encode("utf-8", "surrogatepass")
    if len(raw) <= 90:  # 90 bytes are 120 base64 characters
        return "_" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return "__" + base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


def partition(tenant: str, kind: str, key: str) -> int:
    """CRC-32 (IEEE 802.3) of tenant, kind and key, joined by NUL, modulo 64."""
    return zlib.crc32(f"{tenant}\0{kind}\0{key}".encode("utf-8", "surrogatepass")) % PARTITIONS


def partition_token(number: int) -> str:
    """`p00` to `p63`."""
    if not 0 <= number < PARTITIONS:
        raise errors.Broken("bad_partition", f"partition {number} is outside 0-{PARTITIONS - 1}")
    return f"p{number:02d}"


class _Drawn:
    """Random bytes drawn from the system 4 KiB at a time; a forked child draws its own."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._bytes, self._next = b"", 0

    def take(self, count: int) -> bytes:
        end = self._next + count
        if end > len(self._bytes):
            self._bytes, self._next, end = os.urandom(max(4096, count)), 0, count
        taken = self._bytes[self._next : end]
        self._next = end
        return taken


random_bytes: Final = _Drawn().take
"""So many random bytes for an id. Not for secrets: they would have lain in memory before."""


def new_id() -> str:
    """A fresh id of 32 hex digits that sorts by time: UUID version 7 (RFC 9562, section 5.7) without dashes."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(random_bytes(10), "big")
    high = (milliseconds & ((1 << 48) - 1)) << 16 | 0x7000 | random >> 68
    low = 0x8000000000000000 | random & ((1 << 62) - 1)
    return f"{high:016x}{low:016x}"


def derive_id(*parts: str) -> str:
    """The same 32 hex digits for the same parts, for ever: the first half of SHA-256 over length-prefixed parts."""
    try:
        # Short plain parts, which is what ids are made of nearly always: put together as text and encoded once.
        whole = "".join([_LENGTHS[len(part)] + part for part in parts]).encode("ascii")
    except (IndexError, UnicodeEncodeError):
        raws = [part.encode("utf-8", "surrogatepass") for part in parts]
        whole = b"".join([len(raw).to_bytes(8, "big") + raw for raw in raws])
    return hashlib.sha256(whole).hexdigest()[:32]
