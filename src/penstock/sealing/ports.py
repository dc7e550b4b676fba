"""What sealing needs from outside: who wraps data keys, and which rooms hold sealed values."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol


class KeyService(Protocol):
    """Holds one key-encryption key, here or far away, and wraps data keys under it.

    `place` says which row a wrapped key belongs to; it opens with that place only.
    """

    @property
    def id(self) -> str:
        """Names the key without telling anything about it: at most 200 of `A-Za-z0-9:/_.-`, always the same.

        Another key elsewhere may have that name: what was wrapped, and does not open there, tells them apart.
        """
        ...

    async def check(self) -> None:
        """Prove that keys can be wrapped and unwrapped now. Raises as `wrap` and `unwrap` do."""
        ...

    async def wrap(self, secret: bytes, place: bytes) -> bytes:
        """Wrap 32 bytes; never twice the same.

        Raises Unavailable `key_service_away`, Rejected `key_service_refused` when it will not do so for us.
        """
        ...

    async def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        """The 32 bytes that were wrapped for that place.

        Raises Broken `seal_broken` when they were changed or belong elsewhere, and what `wrap` raises.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class SealedValue:
    """One sealed value as it is stored, and the owner that it was sealed for."""

    owner: str
    sealed: bytes


class SealedValues(Protocol):
    """The rows of one room that hold values sealed for one purpose; asked by `rekey` when their data key changes."""

    @property
    def purpose(self) -> str:
        """The purpose that these values are sealed for."""
        ...

    async def batch(self, tenant: str, after: str, limit: int) -> Sequence[SealedValue]:
        """At most `limit` values of a tenant in a steady order, those behind the owner `after` ("": from the first)."""
        ...

    async def replace(self, tenant: str, owner: str, *, old: bytes, new: bytes) -> bool:
        """Put `new` in the place of `old`; False, and nothing done, when the row holds something else by now."""
        ...
