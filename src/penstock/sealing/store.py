"""Rows of `sealing.data_key` and `sealing.key_encryption_key`, as the processes that seal and open use them."""

from typing import Final, Protocol

from penstock.database import failure, pool
from penstock.sealing import model

KNOWN: Final = """
select id, proof, retired_at is not null from sealing.key_encryption_key
where emptied_at is null order by first_used_at, id"""
"""Keys that are not known to be empty, as rows of `model.KnownKey`."""

_NOT_RETIRED: Final = "data_key_not_retired"


class KeepsKeys(Protocol):
    """What the sealer needs of its tables."""

    async def newest(self, tenant: str, purpose: str) -> model.WrappedKey | None:
        """The data key of the highest generation, or None when there is none yet."""
        ...

    async def find(self, tenant: str, purpose: str, generation: int) -> model.WrappedKey | None:
        """One data key, or None when it is not there (any more)."""
        ...

    async def insert(self, key: model.WrappedKey) -> bool:
        """Keep a new data key; durable when it returns True.

        False, and nothing kept, when another process was faster, or nothing may be wrapped under its key-encryption
        key any more: look again.
        """
        ...

    async def known(self) -> list[model.KnownKey]:
        """The key-encryption keys that data keys may be wrapped under, the first one used first."""
        ...

    async def adopt(self, id: str, proof: bytes) -> None:
        """Let this be the key-encryption key of a new database; nothing happens where there was one ever."""
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
        """As `KeepsKeys.insert`. A trigger holds the key-encryption key's row, so that nobody retires it in between."""
        try:
            async with self._database.transaction("sealing", [key.tenant]) as transaction:
                made = transaction.send(
                    "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
                    "values (%s, %s, %s::integer, %s, %s::bytea) on conflict do nothing",
                    (key.tenant, key.purpose, key.generation, key.kek_id, key.wrapped),
                )
        except failure.Conflict as conflict:
            if conflict.constraint != _NOT_RETIRED:
                raise
            return False
        return made.affected == 1

    async def known(self) -> list[model.KnownKey]:
        """As `KeepsKeys.known`."""
        async with self._database.transaction("sealing") as transaction:
            rows = await transaction.fetch_all(KNOWN)
        return [model.KnownKey(*row) for row in rows]

    async def adopt(self, id: str, proof: bytes) -> None:
        """As `KeepsKeys.adopt`. There is one adopted key at most, so the second of two first processes meets it."""
        async with self._database.transaction("sealing") as transaction:
            await transaction.execute(
                "insert into sealing.key_encryption_key (id, proof) values (%s, %s::bytea) on conflict do nothing",
                (id, proof),
            )
