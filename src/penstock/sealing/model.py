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
from penstock.sealing import ports

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
VERSION: Final = 1
_GENERATION_BYTES: Final = 4
_SEALED_LEAST: Final = 1 + _GENERATION_BYTES + NONCE_BYTES + TAG_BYTES
_WRAPPED_BYTES: Final = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES
_PROVED: Final = hashlib.sha256(b"penstock key-encryption key").digest()
"""What the proof of a key-encryption key opens to: known to everybody, so that it is worth nothing."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class KeyEncryptionKey:
    """32 bytes from outside the database: a `ports.KeyService` in this process's own memory, which is never away."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise errors.Rejected("sealing_key_wrong", f"a sealing key is {KEY_BYTES} bytes, not {len(self.secret)}")

    @property
    def id(self) -> str:
        """The first 8 hex digits of the key's SHA-256."""
        return hashlib.sha256(self.secret).hexdigest()[:8]

    async def check(self) -> None:
        """As `KeyService.check`: there is nothing that could be away."""

    async def wrap(self, secret: bytes, place: bytes) -> bytes:
        """As `KeyService.wrap`."""
        nonce = os.urandom(NONCE_BYTES)
        return bytes((VERSION,)) + nonce + AESGCM(self.secret).encrypt(nonce, secret, place)

    async def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        """As `KeyService.unwrap`."""
        if len(wrapped) != _WRAPPED_BYTES or wrapped[0] != VERSION:
            raise errors.Broken("seal_broken", "this is no wrapped data key, or one of a newer build")
        nonce, text = wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :]
        try:
            return AESGCM(self.secret).decrypt(nonce, text, place)
        except InvalidTag:
            raise errors.Broken("seal_broken", "a wrapped data key was changed, or moved to another row") from None

    async def close(self) -> None:
        """As `KeyService.close`."""

    def __repr__(self) -> str:
        return f"KeyEncryptionKey(id={self.id!r})"


class NoKey:
    """Stands where a process holds no key, because none of its roles opens what is sealed."""

    @property
    def id(self) -> str:
        """Nobody's."""
        return "none"

    async def check(self) -> None:
        """Nothing to prove."""

    async def wrap(self, secret: bytes, place: bytes) -> bytes:
        """Raises Broken: a role that seals must say so in the table of roles."""
        raise errors.Broken("no_sealing", f"this process has no key to seal {len(secret)} of {len(place)} bytes with")

    async def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        """As `wrap`."""
        raise errors.Broken("no_sealing", f"this process has no key to open {len(wrapped)} of {len(place)} bytes with")

    async def close(self) -> None:
        """Nothing to hang up."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that new data keys are wrapped under, and others that open what was wrapped before."""

    current: ports.KeyService
    old: tuple[ports.KeyService, ...] = ()

    @property
    def all(self) -> tuple[ports.KeyService, ...]:
        """The current one first."""
        return (self.current, *self.old)

    def find(self, id: str) -> ports.KeyService:
        """The key of that id. Raises Rejected `sealing_key_wrong`."""
        for key in self.all:
            if key.id == id:
                return key
        raise errors.Rejected(
            "sealing_key_wrong",
            f"the database's secrets are sealed under key {id}, and this process has {self.current.id}",
            hint="Bring back that key: its file, PENSTOCK_SEALING_KEY, or PENSTOCK_SEALING__OLD_KEY.",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class KnownKey:
    """A key-encryption key as the database knows it: its name, and a known value that was wrapped under it.

    Names are no proof: another server of the same kind may have a key of the same name. `retired`: nothing new is
    wrapped under it.
    """

    id: str
    proof: bytes | None
    """None for keys of the first release, all of them local: their id is their digest."""

    retired: bool = False

    async def prove(self, ring: KeyRing) -> None:
        """That the ring's key of this name is the one that was used here.

        Raises Rejected `sealing_key_wrong` when the ring has none of this name, `sealing_key_differs` when it has
        another key of the same name, and what the key's service raises.
        """
        key = ring.find(self.id)
        if self.proof is None:
            return
        try:
            same = await key.unwrap(self.proof, _proving(self.id)) == _PROVED
        except errors.Broken:
            same = False
        if not same:
            raise errors.Rejected(
                "sealing_key_differs",
                f"the database's secrets are sealed under another key of the name {self.id} than this process has",
                hint="Is it another server, or another namespace? Nothing was sealed: bring back the settings so far.",
            )


async def proof_of(key: ports.KeyService) -> bytes:
    """The known value, wrapped under this key, for `KnownKey`. Raises what the key's service raises."""
    return await key.wrap(_PROVED, _proving(key.id))


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

    @property
    def place(self) -> bytes:
        """Where the wrapped bytes belong."""
        return _wrapping(self.tenant, self.purpose, self.generation)

    async def unwrap(self, ring: KeyRing) -> DataKey:
        """The data key. Raises Rejected `sealing_key_wrong`, and what the key's service raises."""
        secret = await ring.find(self.kek_id).unwrap(self.wrapped, self.place)
        return DataKey(secret, self.generation, self.kek_id)

    async def moved(self, ring: KeyRing) -> "WrappedKey":
        """The same data key, wrapped under the ring's current key. Raises as `unwrap` does."""
        secret = await ring.find(self.kek_id).unwrap(self.wrapped, self.place)
        wrapped = await ring.current.wrap(secret, self.place)
        return dataclasses.replace(self, kek_id=ring.current.id, wrapped=wrapped)


async def new_key(key: ports.KeyService, tenant: str, purpose: str, generation: int) -> WrappedKey:
    """A fresh data key, wrapped under that key-encryption key. Raises what the key's service raises."""
    wrapped = await key.wrap(os.urandom(KEY_BYTES), _wrapping(tenant, purpose, generation))
    return WrappedKey(tenant, purpose, generation, key.id, wrapped)


def _wrapping(tenant: str, purpose: str, generation: int) -> bytes:
    """Distinct from every sealed value's place: the owner is one that no caller can name."""
    return b"penstock data key" + Place(tenant, purpose, "").associated(generation)


def _proving(id: str) -> bytes:
    """Where a key's proof belongs: no data key is ever wrapped for it."""
    return b"penstock key proof" + id.encode()
