"""Payloads are sealed chunk by chunk before they leave the process, so that a bucket tells and takes nothing.

A sealed chunk is `number (4, big-endian) | 1 for the last one, else 0 (1) | ciphertext and tag (n + 16)`, AES-256-GCM
under a key of this payload alone: HKDF-SHA256 (RFC 5869) of the key in its reference, with the payload's place as
info. Its nonce is `number | last | 7 zero bytes`, used once under that key since every payload has a name of its own
(STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015). Number, last flag and place are associated data as well: no chunk can be changed, cut off,
swapped, appended, or moved to another payload, bucket or tenant.
"""

import dataclasses
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from penstock.spine import payload

TAG_BYTES: Final = 16
HEAD_BYTES: Final = 5
OVERHEAD_BYTES: Final = HEAD_BYTES + TAG_BYTES
_NONCE_TAIL: Final = bytes(7)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a payload lives, and for whom. It opens nowhere else."""

    bucket: str
    tenant: str
    name: str

    def encoded(self) -> bytes:
        """The place as bytes, each part with its length, so that no two places look the same."""
        parts = (part.encode() for part in (self.bucket, self.tenant, self.name))
        return b"penstock payload 1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Seal:
    """Seals the chunks of one payload, and opens them."""

    __slots__ = ("_cipher", "_place")

    def __init__(self, key: bytes, place: Place) -> None:
        self._place = place.encoded()
        derived = HKDF(hashes.SHA256(), payload.KEY_BYTES, salt=None, info=self._place).derive(key)
        self._cipher = AESGCM(derived)

    def close(self, number: int, plain: bytes | memoryview, *, last: bool) -> bytes:
        """Seal one chunk; each number once."""
        head = number.to_bytes(4, "big") + (b"\1" if last else b"\0")
        return head + self._cipher.encrypt(head + _NONCE_TAIL, plain, self._place + head)

    def open(self, chunk: bytes) -> bytes:
        """The plain bytes of a sealed chunk. Raises Poisoned `payload_forged`."""
        head = chunk[:HEAD_BYTES]
        try:
            return self._cipher.decrypt(head + _NONCE_TAIL, chunk[HEAD_BYTES:], self._place + head)
        except InvalidTag:
            raise payload.forged() from None


def number_of(chunk: bytes) -> int:
    """Which chunk it says it is. Raises Poisoned `payload_forged` for what is none."""
    if len(chunk) < OVERHEAD_BYTES or chunk[4] > 1:
        raise payload.forged()
    return int.from_bytes(chunk[:4], "big")


def is_last(chunk: bytes) -> bool:
    """Whether it says that it is the last one."""
    return chunk[4] == 1
