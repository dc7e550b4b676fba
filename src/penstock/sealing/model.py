"""The envelope: AES-256-GCM with the place of the value as associated data, so that no row opens another's secret.

A sealed value is `version (1) | generation of the data key (4, big-endian) | nonce (12) | ciphertext and tag (n + 16)`;
a wrapped data key is `version (1) | nonce (12) | ciphertext and tag (48)`. Nonces are random: NIST SP 800-38D, 8.3,
allows 2^32 messages per key, and a data key serves one purpose of one tenant.
"""

import dataclasses
import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.base import errors

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
VERSION: Final = 1
_GENERATION_BYTES: Final = 4
_SEALED_LEAST: Final = 1 + _GENERATION_BYTES + NONCE_BYTES + TAG_BYTES
_WRAPPED_BYTES: Final = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class KeyEncryptionKey:
    """32 bytes from outside the database. `id` names it without telling anything about it."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise errors.Rejected("sealing_key_wrong", f"a sealing key is {KEY_BYTES} bytes, not {len(self.secret)}")

    @property
    def id(self) -> str:
        """The first 8 hex digits of the key's SHA-256."""
        return hashlib.sha256(self.secret).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"KeyEncryptionKey(id={self.id!r})"


@dataclasses.dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that new data keys are wrapped under, and older ones that still open what was wrapped before."""

    current: KeyEncryptionKey
    old: tuple[KeyEncryptionKey, ...] = ()

    def find(self, id: str) -> KeyEncryptionKey:
        """The key of that id. Raises Rejected `sealing_key_wrong`."""
        for key in (self.current, *self.old):
            if key.id == id:
                return key
        raise errors.Rejected(
            "sealing_key_wrong",
            f"the database's secrets are sealed under key {id}, and this process has {self.current.id}",
            hint="Bring back that key: its file, PENSTOCK_SEALING_KEY, or PENSTOCK_SEALING__OLD_KEY.",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value lives. It opens nowhere else."""

    tenant: str
    purpose: str
    owner: str

    def associated(self, generation: int) -> bytes:
        """The place as bytes, each part with its length, so that no two places look the same."""
        parts = (b"penstock sealed", *(part.encode() for part in (self.tenant, self.purpose, self.owner)))
        return generation.to_bytes(_GENERATION_BYTES, "big") + b"".join(
            len(part).to_bytes(4, "big") + part for part in parts
        )


class DataKey:
    """An unwrapped data key: one generation, of one tenant, for one purpose. Never prints and is never stored."""

    __slots__ = ("_cipher", "generation", "kek_id")

    def __init__(self, secret: bytes, generation: int, kek_id: str) -> None:
        self._cipher = AESGCM(secret)
        self.generation, self.kek_id = generation, kek_id

    def seal(self, place: Place, plain: bytes) -> bytes:
        """Seal `plain` for that place; 33 bytes longer, and never twice the same."""
        nonce = os.urandom(NONCE_BYTES)
        head = bytes((VERSION,)) + self.generation.to_bytes(_GENERATION_BYTES, "big")
        return head + nonce + self._cipher.encrypt(nonce, plain, place.associated(self.generation))

    def open(self, place: Place, sealed: bytes) -> bytes:
        """What was sealed. Raises Broken `seal_broken` when a bit was changed or the place is another."""
        if generation_of(sealed) != self.generation:
            raise errors.Broken("seal_broken", "a sealed value needs a data key of another generation")
        nonce, text = sealed[5 : 5 + NONCE_BYTES], sealed[5 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, place.associated(self.generation))
        except InvalidTag:
            raise errors.Broken("seal_broken", "a sealed value was changed, or moved from where it belongs") from None


def generation_of(sealed: bytes) -> int:
    """Which generation of the data key a sealed value needs. Raises Broken `seal_broken` for what is none."""
    if len(sealed) < _SEALED_LEAST or sealed[0] != VERSION:
        raise errors.Broken("seal_broken", "this is no sealed value, or one of a newer build")
    return int.from_bytes(sealed[1:5], "big")


@dataclasses.dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored: under which key-encryption key, and the bytes."""

    tenant: str
    purpose: str
    generation: int
    kek_id: str
    wrapped: bytes

    def unwrap(self, ring: KeyRing) -> DataKey:
        """The data key. Raises Rejected `sealing_key_wrong`, Broken `seal_broken` for a row that was changed."""
        kek = ring.find(self.kek_id)
        if len(self.wrapped) != _WRAPPED_BYTES or self.wrapped[0] != VERSION:
            raise errors.Broken("seal_broken", "this is no wrapped data key, or one of a newer build")
        nonce, text = self.wrapped[1 : 1 + NONCE_BYTES], self.wrapped[1 + NONCE_BYTES :]
        try:
            secret = AESGCM(kek.secret).decrypt(nonce, text, _wrapping(self.tenant, self.purpose, self.generation))
        except InvalidTag:
            raise errors.Broken("seal_broken", "a wrapped data key was changed, or moved to another row") from None
        return DataKey(secret, self.generation, self.kek_id)


def new_key(ring: KeyRing, tenant: str, purpose: str, generation: int) -> WrappedKey:
    """A fresh data key, wrapped under the current key-encryption key."""
    nonce = os.urandom(NONCE_BYTES)
    secret = AESGCM(ring.current.secret).encrypt(nonce, os.urandom(KEY_BYTES), _wrapping(tenant, purpose, generation))
    return WrappedKey(tenant, purpose, generation, ring.current.id, bytes((VERSION,)) + nonce + secret)


def _wrapping(tenant: str, purpose: str, generation: int) -> bytes:
    """Distinct from every sealed value's place: the owner is one that no caller can name."""
    return b"penstock data key" + Place(tenant, purpose, "").associated(generation)
