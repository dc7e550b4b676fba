"""What `rekey` reads and writes: data keys of all tenants, through one session as a role that can do nothing else.

The session holds a lock for as long as it lives, so there is one rekeyer at a time. Each call is one short transaction.
"""

import dataclasses
import datetime
from typing import Final

from penstock.database import pool, session
from penstock.sealing import model, store

ROLE: Final = "rekey"
_LOCK: Final = "penstock rekey"


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One replacement of keys, as it was asked for; `begun_at` by the database's clock."""

    id: int
    kek_id: str
    data_keys: bool
    begun_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class KeyUse:
    """A key-encryption key and how many data keys are wrapped under it."""

    id: str
    first_used_at: datetime.datetime
    retired_at: datetime.datetime | None
    emptied_at: datetime.datetime | None
    data_keys: int


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """The data keys of one tenant and purpose: the newest generation, when it was made, and how many there are."""

    tenant: str
    purpose: str
    newest: int
    made_at: datetime.datetime
    count: int


class RekeyStore:
    """Statements of the role `penstock_rekey`. Open it with `connected`, and close it."""

    def __init__(self, held: session.Session) -> None:
        self._session = held

    async def lead(self) -> bool:
        """Try to be the one rekeyer; True from then on until the session ends."""
        row = await self._session.fetch_one("select pg_try_advisory_lock(hashtextextended(%s, 0))", (_LOCK,))
        return bool(row and row[0])

    async def open_run(self) -> Run | None:
        """The run that was begun and not finished."""
        row = await self._session.fetch_one(
            "select id, kek_id, data_keys, begun_at from sealing.rekey_run where finished_at is null"
        )
        return Run(*row) if row else None

    async def begin(self, kek_id: str, proof: bytes, *, data_keys: bool) -> Run:
        """A new run towards that key, which may be wrapped under from now on; an open run to another one ends here.

        The proof is written anew each time: a service may give up the version of its key that wrapped the last one.
        """
        async with self._session.transaction() as bound:
            bound.send("update sealing.rekey_run set finished_at = now() where finished_at is null")
            bound.send(
                "insert into sealing.key_encryption_key (id, proof, adopted) "
                "values (%s, %s::bytea, not exists (select from sealing.key_encryption_key)) "
                "on conflict (id) do update set retired_at = null, emptied_at = null, proof = excluded.proof",
                (kek_id, proof),
            )
            answer = bound.send(
                "insert into sealing.rekey_run (kek_id, data_keys) values (%s, %s) "
                "returning id, kek_id, data_keys, begun_at",
                (kek_id, data_keys),
            )
        return Run(*answer.rows()[0])

    async def retire_others(self, kek_id: str) -> None:
        """Let nobody wrap anything new under another key. Waits for those who are just doing so."""
        await self._session.execute(
            "update sealing.key_encryption_key set retired_at = now() where id <> %s and retired_at is null", (kek_id,)
        )

    async def foreign(self, kek_id: str, after: model.WrappedKey | None, limit: int) -> list[model.WrappedKey]:
        """Data keys wrapped under another key than this one, behind the last one seen."""
        tenant, purpose, generation = (after.tenant, after.purpose, after.generation) if after else ("", "", 0)
        rows = await self._session.fetch_all(
            "select tenant, purpose, generation, kek_id, wrapped from sealing.data_key where kek_id <> %s "
            "and (tenant, purpose, generation) > (%s::text, %s::text, %s::integer) "
            "order by tenant, purpose, generation limit %s::bigint",
            (kek_id, tenant, purpose, generation, limit),
        )
        return [model.WrappedKey(*row) for row in rows]

    async def replace(self, old: list[model.WrappedKey], new: list[model.WrappedKey]) -> int:
        """Put each wrapped key in the place of its old form, if that is still there; how many were."""
        async with self._session.transaction() as bound:
            answers = [
                bound.send(
                    "update sealing.data_key set kek_id = %s, wrapped = %s where tenant = %s and purpose = %s "
                    "and generation = %s::integer and wrapped = %s",
                    (after.kek_id, after.wrapped, after.tenant, after.purpose, after.generation, before.wrapped),
                )
                for before, after in zip(old, new, strict=True)
            ]
        return sum(answer.affected for answer in answers)

    async def families(self, after: Family | None, limit: int) -> list[Family]:
        """Data keys by tenant and purpose, in order, behind the last one seen."""
        tenant, purpose = (after.tenant, after.purpose) if after else ("", "")
        rows = await self._session.fetch_all(
            "select tenant, purpose, max(generation), max(created_at), count(*) from sealing.data_key "
            "where (tenant, purpose) > (%s::text, %s::text) "
            "group by tenant, purpose order by tenant, purpose limit %s::bigint",
            (tenant, purpose, limit),
        )
        return [Family(*row) for row in rows]

    async def keys_of(self, family: Family) -> list[model.WrappedKey]:
        """Every generation of a family, the newest first."""
        rows = await self._session.fetch_all(
            "select tenant, purpose, generation, kek_id, wrapped from sealing.data_key "
            "where tenant = %s and purpose = %s order by generation desc",
            (family.tenant, family.purpose),
        )
        return [model.WrappedKey(*row) for row in rows]

    async def add(self, key: model.WrappedKey) -> None:
        """Keep a new generation, unless somebody else made it meanwhile."""
        await self._session.execute(
            "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
            "values (%s, %s, %s::integer, %s, %s) on conflict do nothing",
            (key.tenant, key.purpose, key.generation, key.kek_id, key.wrapped),
        )

    async def discard(self, family: Family, grace_s: float) -> int:
        """Delete the older generations of a family whose newest one is older than `grace_s`; how many."""
        return await self._session.execute(
            "delete from sealing.data_key as old using (select max(generation) as generation, max(created_at) as made "
            "from sealing.data_key where tenant = %s and purpose = %s) as newest "
            "where old.tenant = %s and old.purpose = %s and old.generation < newest.generation "
            "and newest.made < now() - make_interval(secs => %s::double precision)",
            (family.tenant, family.purpose, family.tenant, family.purpose, grace_s),
        )

    async def note_emptied(self) -> list[str]:
        """Note which retired keys nothing is wrapped under any more; returns those that were not noted before."""
        rows = await self._session.fetch_all(
            "update sealing.key_encryption_key as kek set emptied_at = now() where retired_at is not null "
            "and emptied_at is null and not exists (select from sealing.data_key where kek_id = kek.id) returning id"
        )
        return [row[0] for row in rows]

    async def finish(self, run: Run) -> None:
        """The run is done."""
        await self._session.execute("update sealing.rekey_run set finished_at = now() where id = %s", (run.id,))

    async def known(self) -> list[model.KnownKey]:
        """The key-encryption keys that data keys may be wrapped under."""
        return [model.KnownKey(*row) for row in await self._session.fetch_all(store.KNOWN)]

    async def uses(self) -> list[KeyUse]:
        """Every key-encryption key that was ever used here, the newest first."""
        rows = await self._session.fetch_all(
            "select id, first_used_at, retired_at, emptied_at, "
            "(select count(*) from sealing.data_key where kek_id = kek.id) "
            "from sealing.key_encryption_key as kek order by first_used_at desc, id"
        )
        return [KeyUse(*row) for row in rows]

    async def beat(self) -> None:
        """Say that we are still here: a session that is silent for long is ended, and its lock with it."""
        await self._session.execute("select 1")

    def close(self) -> None:
        """Hang up, and let go of the lock."""
        self._session.close()


async def connected(database: pool.Database) -> RekeyStore:
    """A session as the role. Raises Unavailable, Broken `permission_denied` for a login that is not the operator's."""
    return RekeyStore(await database.session(ROLE))
