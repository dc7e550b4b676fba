"""Rows of `sealing.data_key` and `sealing.key_encryption_key`, as the processes that seal and open use them."""

from typing import Protocol

from penstock.base import errors
from penstock.database import pool
from penstock.sealing import model


class KeepsKeys(Protocol):
    """What the sealer needs of its tables."""

    async def newest(self, tenant: str, purpose: str) -> model.WrappedKey | None:
        """The data key of the highest generation, or None when there is none yet."""
        ...

    async def find(self, tenant: str, purpose: str, generation: int) -> model.WrappedKey | None:
        """One data key, or None when it is not there (any more)."""
        ...

    async def insert(self, key: model.WrappedKey) -> bool:
        """Keep a new data key; False when another process was faster. Durable when it returns.

        Raises Rejected `sealing_key_retired` when nothing may be wrapped under its key-encryption key any more.
        """
        ...

    async def adopt(self, kek_id: str) -> list[str]:
        """The key-encryption keys that data keys may be wrapped under; where there is none yet, it is this one."""
        ...


class KeyStore:
    """Data keys in Postgres."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def newest(self, tenant: str, purpose: str) -> model.WrappedKey | None:
        """As `KeepsKeys.newest`."""
        async with self._database.transaction("sealing", [tenant]) as transaction:
            answer = transaction.send(
                "select tenant, purpose, generation, kek_id, wrapped from sealing.data_key "
                "where tenant = %s and purpose = %s order by generation desc limit 1",
                (tenant, purpose),
            )
        return next((model.WrappedKey(*row) for row in answer.rows()), None)

    async def find(self, tenant: str, purpose: str, generation: int) -> model.WrappedKey | None:
        """As `KeepsKeys.find`."""
        async with self._database.transaction("sealing", [tenant]) as transaction:
            answer = transaction.send(
                "select tenant, purpose, generation, kek_id, wrapped from sealing.data_key "
                "where tenant = %s and purpose = %s and generation = %s",
                (tenant, purpose, generation),
            )
        return next((model.WrappedKey(*row) for row in answer.rows()), None)

    async def insert(self, key: model.WrappedKey) -> bool:
        """As `KeepsKeys.insert`. The key-encryption key's row is held, so that nobody can retire it in between."""
        async with self._database.transaction("sealing", [key.tenant]) as transaction:
            transaction.send(
                "insert into sealing.key_encryption_key (id) values (%s) on conflict do nothing", (key.kek_id,)
            )
            held = transaction.send(
                "select from sealing.key_encryption_key where id = %s and retired_at is null for share", (key.kek_id,)
            )
            made = transaction.send(
                "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
                "select %s, %s, %s, id, %s::bytea from sealing.key_encryption_key "
                "where id = %s and retired_at is null on conflict do nothing",
                (key.tenant, key.purpose, key.generation, key.wrapped, key.kek_id),
            )
        if held.affected == 0:
            raise errors.Rejected(
                "sealing_key_retired",
                f"key {key.kek_id} was replaced, and nothing new is sealed under it",
                hint="Start this process again with the key that 'penstock secret status' names as current.",
                status=409,
            )
        return made.affected == 1

    async def adopt(self, kek_id: str) -> list[str]:
        """As `KeepsKeys.adopt`. Locked, so that of two first processes the second meets the first one's key."""
        async with self._database.transaction("sealing") as transaction:
            known = await transaction.fetch_all(_LIVE)
            if not known:
                transaction.send("lock table sealing.key_encryption_key in share row exclusive mode")
                transaction.send(
                    "insert into sealing.key_encryption_key (id) "
                    "select %s where not exists (select from sealing.key_encryption_key)",
                    (kek_id,),
                )
                known = await transaction.fetch_all(_LIVE)
        return [row[0] for row in known]


_LIVE = "select id from sealing.key_encryption_key where emptied_at is null order by first_used_at, id"
