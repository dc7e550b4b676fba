"""The use cases: seal a value for its place, open it there again, and say at start-up whether the key is the right one.

The data key is committed in a transaction of its own before anything is sealed with it, so a value that was stored can
always be opened. Unwrapped keys stay in memory, bounded and for minutes only; what wrapped them may be away meanwhile.
Which data key is the newest, and which key-encryption key wraps new ones, is asked of the database each time: `rekey`
changes both, and no clock of ours knows how long a machine slept.
"""

import collections
import time
from collections.abc import Callable
from typing import Final

from penstock.base import errors, ids
from penstock.sealing import model, ports, store

CACHE_S: Final = 300.0
CACHED: Final = 1000


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
        self._proved: set[str] = set()

    async def verify(self) -> None:
        """Prove that this process has the keys that the database names. Raises Rejected `sealing_key_wrong`.

        The first process to do so on a new database decides the key: from then on another one is wrong, also before
        anything is sealed. Only that one calls a key service, and raises as `check` does.
        """
        for known in await self._known():
            self._ring.find(known.id)

    async def check(self) -> None:
        """Prove that keys can be wrapped now, and that those of this process are the database's and not namesakes.

        Raises Unavailable while a key service is away, Rejected `sealing_key_differs` or what the service refuses.
        """
        for known in await self._known():
            # What is retired wraps nothing new; whether it opens the rest, each data key says by itself.
            if not known.retired:
                await self._prove(known)
        await self._ring.current.check()

    async def seal(self, tenant: str, purpose: str, owner: str, plain: bytes) -> bytes:
        """Seal `plain` for one row of one tenant; 33 bytes longer. Store it soon: `rekey` waits an hour for it.

        Raises Unavailable when the keys cannot be read, and for a tenant's first value Rejected `sealing_key_retired`
        when `rekey` has moved everything to a key that this process lacks, `sealing_key_differs` as `check`.
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
        found = await self._keys.newest(place.tenant, place.purpose)
        while found is None:
            made = await model.new_key(await self._wrapping(), place.tenant, place.purpose, 1)
            if await self._keys.insert(made):
                found = made
            else:
                found = await self._keys.newest(place.tenant, place.purpose)
        return self._recall(place, found.generation) or await self._unwrapped(place, found)

    async def _wrapping(self) -> ports.KeyService:
        """The key that new data keys are wrapped under: the database says which, so that all processes agree."""
        live = {known.id: known for known in await self._known() if not known.retired}
        for key in self._ring.all:
            if key.id in live:
                await self._prove(live[key.id])
                return key
        raise errors.Rejected(
            "sealing_key_retired",
            f"nothing new is sealed under key {self._ring.current.id}",
            hint="Start this process again with the key that 'penstock secret status' names as current.",
            status=409,
        )

    async def _known(self) -> list[model.KnownKey]:
        """The database's keys; a new database adopts this process's current one."""
        found = await self._keys.known()
        if not found:
            await self._keys.adopt(self._ring.current.id, await model.proof_of(self._ring.current))
            found = await self._keys.known()
        return found

    async def _prove(self, known: model.KnownKey) -> None:
        """Once per process: where a key comes from does not change while it runs."""
        if known.id not in self._proved:
            await known.prove(self._ring)
            self._proved.add(known.id)

    async def _of_generation(self, place: model.Place, generation: int) -> model.DataKey:
        known = self._recall(place, generation)
        if known is not None:
            return known
        found = await self._keys.find(place.tenant, place.purpose, generation)
        if found is None:
            raise errors.Rejected("sealing_key_gone", f"the key of '{place.purpose}' is not there any more", status=410)
        return await self._unwrapped(place, found)

    async def _unwrapped(self, place: model.Place, found: model.WrappedKey) -> model.DataKey:
        key = await found.unwrap(self._ring)
        self._remember(place, key)
        return key

    def _recall(self, place: model.Place, generation: int) -> model.DataKey | None:
        name = (place.tenant, place.purpose, generation)
        entry = self._cache.get(name)
        if entry is None or entry[0] <= self._monotonic():
            self._cache.pop(name, None)
            return None
        self._cache.move_to_end(name)
        return entry[1]

    def _remember(self, place: model.Place, key: model.DataKey) -> None:
        self._cache[place.tenant, place.purpose, key.generation] = (self._monotonic() + self._cache_s, key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)


def _place(tenant: str, purpose: str, owner: str) -> model.Place:
    """A checked place. Raises Rejected; an empty owner is nobody's row."""
    if not owner:
        raise errors.Rejected("bad_owner", "a sealed value belongs to something", field="owner")
    return model.Place(ids.tenant_id(tenant), ids.token(purpose, "purpose"), owner)
