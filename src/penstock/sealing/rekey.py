"""Replaces keys while everything runs: data keys under another key-encryption key, and values under new data keys.

Steps, each in small transactions, each safe to do again: begin a run; let nobody wrap anything new under other keys;
wrap every data key under the current one; make new data keys and seal values anew under them, when asked; delete data
keys that were replaced an hour ago; note which key-encryption keys hold nothing any more. A process that was killed in
between leaves a run that is open, and the next call goes on with it.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from penstock.base import errors
from penstock.sealing import model, ports
from penstock.sealing.rekey_store import Family, KeyUse, RekeyStore, Run

POINTS: Final = ("begun", "retired", "wrapped", "renewed", "resealed", "discarded", "emptied", "finished")
"""Where a crash is tried: after each step, and within `wrapped`, `renewed` and `resealed` after each small part."""

BATCH: Final = 50
GRACE_S: Final = 3600.0
"""A replaced data key is kept for so long: who asked for the newest one just before may store what was sealed with it
until then, and that is sealed anew by the next call."""

BEAT_S: Final = 5.0
"""While a key service is waited for, something is said to the database so often: it ends a session that is silent."""

T = TypeVar("T")


@dataclasses.dataclass(slots=True)
class Report:
    """What a call did, or would do: counts of data keys and values, and the keys that nothing depends on any more."""

    kek_id: str
    dry_run: bool = False
    resumed: bool = False
    wrapped: int = 0
    renewed: int = 0
    resealed: int = 0
    discarded: int = 0
    kept: int = 0
    """Replaced data keys that are kept for an hour yet, or of purposes that no room of this build answers for."""

    broken: list[str] = dataclasses.field(default_factory=list[str])
    """Data keys and values that do not open: `tenant/purpose/generation` or `tenant/purpose owner`."""

    emptied: list[str] = dataclasses.field(default_factory=list[str])


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Which keys there are, which this process has, and which may be thrown away (older backups still need them)."""

    current: str
    keys: Sequence[KeyUse]
    held: Sequence[str]
    disposable: Sequence[str]
    missing: Sequence[str]
    run_open: bool


class Rekey:
    """One rekeyer. `values` are the rooms' sealed rows; `reached` hears each of `POINTS`, `told` how far it is."""

    def __init__(
        self,
        store: RekeyStore,
        ring: model.KeyRing,
        values: Sequence[ports.SealedValues],
        *,
        reached: Callable[[str], None] = lambda _: None,
        told: Callable[[Report], None] = lambda _: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._store, self._ring = store, ring
        self._values: Mapping[str, ports.SealedValues] = {each.purpose: each for each in values}
        self._reached, self._told, self._grace_s = reached, told, grace_s

    async def status(self) -> Status:
        """What is sealed under which key."""
        uses, open_run = await self._store.uses(), await self._store.open_run()
        held = [key.id for key in self._ring.all]
        return Status(
            current=self._ring.current.id,
            keys=uses,
            held=held,
            disposable=[use.id for use in uses if use.emptied_at is not None],
            missing=[use.id for use in uses if use.emptied_at is None and use.data_keys and use.id not in held],
            run_open=open_run is not None,
        )

    async def plan(self, *, data_keys: bool) -> Report:
        """What `run` would do, changing nothing."""
        report = Report(self._ring.current.id, dry_run=True)
        report.wrapped = sum(use.data_keys for use in await self._store.uses() if use.id != report.kek_id)
        async for family in self._families():
            values = self._values.get(family.purpose)
            if values is None:
                report.kept += family.count - 1
                continue
            renewed = int(data_keys)
            report.renewed += renewed
            report.kept += family.count - 1 + renewed
            async for each in self._all_of(values, family.tenant):
                report.resealed += _generation(each) < family.newest + renewed
        return report

    async def run(self, *, data_keys: bool) -> Report:
        """Replace the key-encryption key, and with `data_keys` data keys too; go on with a run that was cut off.

        Raises Rejected `rekey_running` while another process is at it, `sealing_key_wrong` when a key is missing that
        something is wrapped under and `sealing_key_differs` when one is a namesake (then nothing is changed), and what
        key services raise (what was done stays done).
        """
        if not await self._store.lead():
            raise errors.Rejected("rekey_running", "another process is replacing keys", status=409)
        await self._prove()
        run, resumed = await self._begun(data_keys=data_keys)
        report = Report(run.kek_id, resumed=resumed)
        self._reached("begun")
        await self._store.retire_others(run.kek_id)
        self._reached("retired")
        await self._wrap_all(run, report)
        if run.data_keys:
            await self._renew_all(run, report)
        await self._settle(report)
        report.emptied = await self._store.note_emptied()
        self._reached("emptied")
        await self._store.finish(run)
        self._reached("finished")
        return report

    async def _prove(self) -> None:
        """That this process can do it: otherwise every other one would be shut out from its own key, for nothing."""
        for use in await self._store.uses():
            if use.data_keys:
                self._ring.find(use.id)
        held = {key.id for key in self._ring.all}
        for known in await self._store.known():
            if known.id in held:
                await self._awaited(known.prove(self._ring))
        await self._awaited(self._ring.current.check())

    async def _begun(self, *, data_keys: bool) -> tuple[Run, bool]:
        found = await self._store.open_run()
        current = self._ring.current
        if found is not None and found.kek_id == current.id and found.data_keys >= data_keys:
            return found, True
        proof = await self._awaited(model.proof_of(current))
        return await self._store.begin(current.id, proof, data_keys=data_keys), False

    async def _awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """What a key service answers, however long that takes: the session, and our lock with it, is kept meanwhile."""
        answering = asyncio.create_task(work)
        try:
            await self._store.beat()
            while not (await asyncio.wait({answering}, timeout=BEAT_S))[0]:
                await self._store.beat()
            return await answering
        finally:
            answering.cancel()

    async def _wrap_all(self, run: Run, report: Report) -> None:
        last: model.WrappedKey | None = None
        while found := await self._store.foreign(run.kek_id, last, BATCH):
            old: list[model.WrappedKey] = []
            new: list[model.WrappedKey] = []
            for key in found:
                try:
                    moved = await self._awaited(key.moved(self._ring))
                except errors.Broken:
                    report.broken.append(f"{key.tenant}/{key.purpose}/{key.generation}")
                    continue
                old.append(key)
                new.append(moved)
            report.wrapped += await self._store.replace(old, new)
            last = found[-1]
            self._told(report)
            self._reached("wrapped")

    async def _renew_all(self, run: Run, report: Report) -> None:
        async for family in self._families():
            if family.purpose in self._values and family.made_at < run.begun_at:
                fresh = model.new_key(self._ring.current, family.tenant, family.purpose, family.newest + 1)
                await self._store.add(await self._awaited(fresh))
                report.renewed += 1
                self._told(report)
                self._reached("renewed")

    async def _settle(self, report: Report) -> None:
        """Seal anew what is sealed under a replaced data key, and delete those that nobody can be using any more."""
        async for family in self._families():
            if family.count == 1:
                continue
            values = self._values.get(family.purpose)
            if values is None or not await self._reseal(family, values, report):
                report.kept += family.count - 1
                continue
            gone = await self._store.discard(family, self._grace_s)
            report.discarded += gone
            report.kept += family.count - 1 - gone
            self._reached("discarded")

    async def _reseal(self, family: Family, values: ports.SealedValues, report: Report) -> bool:
        """Whether every value of the family is sealed under its newest data key now."""
        wrapped = await self._store.keys_of(family)
        keys: dict[int, model.DataKey] = {}
        whole = True
        async for each in self._all_of(values, family.tenant):
            generation = _generation(each)
            if generation >= family.newest:
                continue
            place = model.Place(family.tenant, family.purpose, each.owner)
            try:
                for key in wrapped:
                    if key.generation in {generation, family.newest} and key.generation not in keys:
                        keys[key.generation] = await self._awaited(key.unwrap(self._ring))
                plain = keys[generation].open(place, each.sealed)
            except (errors.Broken, KeyError):
                report.broken.append(f"{family.tenant}/{family.purpose} {each.owner}")
                whole = False
                continue
            fresh = keys[family.newest].seal(place, plain)
            report.resealed += await values.replace(family.tenant, each.owner, old=each.sealed, new=fresh)
            self._told(report)
            self._reached("resealed")
        return whole

    async def _families(self) -> AsyncGenerator[Family]:
        last: Family | None = None
        while found := await self._store.families(last, BATCH):
            for family in found:
                yield family
            last = found[-1]

    async def _all_of(self, values: ports.SealedValues, tenant: str) -> AsyncGenerator[ports.SealedValue]:
        """Every sealed value of a tenant; one that is replaced meanwhile is met once, in either form."""
        after = ""
        while found := await values.batch(tenant, after, BATCH):
            await self._store.beat()
            for each in found:
                yield each
            after = found[-1].owner


def _generation(value: ports.SealedValue) -> int:
    """Which generation of the data key it needs; 0, which there is never, for what is no sealed value."""
    try:
        return model.generation_of(value.sealed)
    except errors.Broken:
        return 0
