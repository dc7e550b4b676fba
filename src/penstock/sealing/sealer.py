"""The use cases: seal a value for its place, open it there again, and say at start-up whether the key is the right one.

The data key is committed in a transaction of its own before anything is sealed with it, so a value that was stored can
always be opened. Unwrapped keys stay in memory, bounded and for minutes only; what wrapped them may be away meanwhile.
"""

import collections
import time
from collections.abc import Callable
from typing import Final

from penstock.base import errors, ids
from penstock.sealing import model, store

CACHE_S: Final = 300.0
CACHED: Final = 1000
_NEWEST: Final = 0


class Sealer:
    """Seals and opens values of tenants. `purpose` is a token such as `channel-secret`; `owner` is the row's id."""

    def __init__(
        self,
        keys: store.KeepsKeys,
        ring: model.KeyRing,
        *,
        cache_s: float = CACHE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys, self._ring, self._cache_s, self._monotonic = keys, ring, cache_s, monotonic
        self._cache: collections.OrderedDict[tuple[str, str, int], tuple[float, model.DataKey]] = (
            collections.OrderedDict()
        )

    async def verify(self) -> None:
        """Prove that this process has the keys that the database needs. Raises Rejected `sealing_key_wrong`.

        The first process to do so on a new database decides the key: from then on another one is wrong, also before
        anything is sealed.
        """
        for id in await self._keys.adopt(self._ring.current.id):
            self._ring.find(id)

    async def check(self) -> None:
        """Prove that the current key can be used now. Raises Unavailable while its service is away, Rejected."""
        await self._ring.current.check()

    async def seal(self, tenant: str, purpose: str, owner: str, plain: bytes) -> bytes:
        """Seal `plain` for one row of one tenant; 33 bytes longer.

        Raises Unavailable when the keys cannot be read, Rejected `sealing_key_retired` for a tenant's first value when
        `rekey` has moved everything to another key-encryption key meanwhile.
        """
        place = _place(tenant, purpose, owner)
        return (await self._newest(place)).seal(place, plain)

    async def open(self, tenant: str, purpose: str, owner: str, sealed: bytes) -> bytes:
        """What was sealed for that row.

        Raises Broken `seal_broken` when the value was changed or belongs elsewhere, Rejected `sealing_key_gone` when
        its key was deleted, `sealing_key_wrong` when this process lacks the key-encryption key.
        """
        place = _place(tenant, purpose, owner)
        return (await self._of_generation(place, model.generation_of(sealed))).open(place, sealed)

    def forget(self, tenant: str, purpose: str) -> None:
        """Drop the unwrapped keys of a purpose from memory: they were deleted or replaced."""
        for name in [name for name in self._cache if name[:2] == (tenant, purpose)]:
            del self._cache[name]

    async def close(self) -> None:
        """Forget every key, and hang up."""
        self._cache.clear()
        for key in self._ring.all:
            await key.close()

    async def _newest(self, place: model.Place) -> model.DataKey:
        known = self._recall(place, _NEWEST)
        if known is not None:
            return known
        found = await self._keys.newest(place.tenant, place.purpose)
        while found is None:
            made = await model.new_key(self._ring, place.tenant, place.purpose, 1)
            if await self._keys.insert(made):
                found = made
            else:
                found = await self._keys.newest(place.tenant, place.purpose)
        key = await found.unwrap(self._ring)
        self._remember(place, _NEWEST, key)
        self._remember(place, key.generation, key)
        return key

    async def _of_generation(self, place: model.Place, generation: int) -> model.DataKey:
        known = self._recall(place, generation)
        if known is not None:
            return known
        found = await self._keys.find(place.tenant, place.purpose, generation)
        if found is None:
            raise errors.Rejected("sealing_key_gone", f"the key of '{place.purpose}' is not there any more", status=410)
        key = await found.unwrap(self._ring)
        self._remember(place, generation, key)
        return key

    def _recall(self, place: model.Place, generation: int) -> model.DataKey | None:
        name = (place.tenant, place.purpose, generation)
        entry = self._cache.get(name)
        if entry is None or entry[0] <= self._monotonic():
            self._cache.pop(name, None)
            return None
        self._cache.move_to_end(name)
        return entry[1]

    def _remember(self, place: model.Place, generation: int, key: model.DataKey) -> None:
        self._cache[place.tenant, place.purpose, generation] = (self._monotonic() + self._cache_s, key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)


def _place(tenant: str, purpose: str, owner: str) -> model.Place:
    """A checked place. Raises Rejected; an empty owner is nobody's row."""
    if not owner:
        raise errors.Rejected("bad_owner", "a sealed value belongs to something", field="owner")
    return model.Place(ids.tenant_id(tenant), ids.token(purpose, "purpose"), owner)
