"""An nkey: who we are to a NATS server, as a seed that signs and never leaves this process.

A seed is base32 of: two bytes that say what it is (seed, and of whom), 32 bytes of ed25519, and a CRC-16 of both.
https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
"""

import base64
import binascii
import re
from typing import Final

from penstock.base import errors

_SEED: Final = 18 << 3
"""What makes base32 begin with S."""
_USER: Final = 20 << 3
"""What makes base32 begin with U."""
_SEED_BYTES: Final = 32
_LINE: Final = re.compile(r"\bS[A-Z2-7]{57}\b")


class UserKey:
    """Signs as one user of the server's configuration. Never shows its seed."""

    def __init__(self, seed: bytes) -> None:
        # Here, so that whoever has no nkey does not load the library.
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519

        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._public_key = _encoded(bytes([_USER]) + public)

    @property
    def public_key(self) -> str:
        """As the server's configuration names the user: `U...`."""
        return self._public_key

    def sign(self, nonce: bytes) -> bytes:
        """The 64 bytes of an ed25519 signature."""
        return self._key.sign(nonce)

    def __repr__(self) -> str:
        return f"UserKey({self._public_key})"


def user_key(text: str) -> UserKey:
    """Read a seed, `SU...`, alone or with comments around it. Raises Rejected `bad_nkey`, not repeating it."""
    found = _LINE.search(text)
    raw = base64.b32decode(found[0] + "=" * (-len(found[0]) % 8)) if found else b""
    body, check = raw[:-2], raw[-2:]
    if len(body) != 2 + _SEED_BYTES or int.from_bytes(check, "little") != binascii.crc_hqx(body, 0):
        raise errors.Rejected(
            "bad_nkey", "that is no nkey seed: SU and 56 more letters and digits, as `nk -gen user` says"
        )
    kind, of = body[0] & 0b1111_1000, (body[0] & 0b111) << 5 | body[1] >> 3
    if kind != _SEED or of != _USER:
        raise errors.Rejected("bad_nkey", "that nkey seed is not a user's: it must begin with SU")
    return UserKey(body[2:])


def seed_text(seed: bytes) -> str:
    """Write a user's 32 bytes as a seed: `SU...`."""
    return _encoded(bytes([_SEED | _USER >> 5, (_USER & 0b1_1111) << 3]) + seed)


def _encoded(body: bytes) -> str:
    check = binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(body + check).rstrip(b"=").decode()
