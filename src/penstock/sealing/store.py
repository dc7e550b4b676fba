"""Rows of `sealing.data_key` and `sealing.key_encryption_key`."""

from typing import Protocol

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
        """Keep a new data key; False when another process was faster. Durable when it returns."""
        ...

    async def kek_ids(self) -> list[str]:
        """Every key-encryption key that a data key was ever wrapped under here."""
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
        """As `KeepsKeys.insert`."""
        async with self._database.transaction("sealing", [key.tenant]) as transaction:
            transaction.send(
                "insert into sealing.key_encryption_key (id) values (%s) on conflict do nothing", (key.kek_id,)
            )
            answer = transaction.send(
                "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
                "values (%s, %s, %s, %s, %s) on conflict do nothing",
                (key.tenant, key.purpose, key.generation, key.kek_id, key.wrapped),
            )
        return answer.affected == 1

    async def kek_ids(self) -> list[str]:
        """As `KeepsKeys.kek_ids`."""
        async with self._database.transaction("sealing") as transaction:
            answer = transaction.send("select id from sealing.key_encryption_key order by first_used_at")
        return [row[0] for row in answer.rows()]
