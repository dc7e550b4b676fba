"""Rows of `unknown_event`: written in the transaction of their request's messages, read by whoever looks into them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from penstock.base import ids
from penstock.channels import ports
from penstock.channels.model import unknown as model
from penstock.database import column, pool, transaction

_KINDS: Final = (
    column.Texts,
    column.Texts,
    column.Texts,
    column.Texts,
    column.Blobs,
    column.Bigints,
    column.Moments,
)
_KEY: Final = "tenant, account, event_id"
_INSERT: Final = f"""
insert into channels.unknown_event ({_KEY}, kind, body, size_bytes, received_at)
select * from unnest({", ".join(f"%s::{kind.sql}[]" for kind in _KINDS)})
on conflict (tenant, account, event_id) do nothing returning {_KEY}"""  # noqa: S608 - no part comes from outside
_LATEST: Final = """
select account, event_id, kind, ''::bytea, size_bytes, received_at from channels.unknown_event
where tenant = %s and (%s = '' or account = %s) order by received_at desc, account, event_id limit %s"""
_ONE: Final = """
select account, event_id, kind, body, size_bytes, received_at from channels.unknown_event
where tenant = %s and account = %s and event_id = %s"""
_HELD: Final = """
select count(*), coalesce(sum(octet_length(body)), 0)::bigint from channels.unknown_event
where tenant = %s and account = %s"""


@dataclasses.dataclass(slots=True)
class Row:
    """One unknown event on its way into the table, beside the rows of its request's messages."""

    unknown: ClassVar[bool] = True

    tenant: str
    key: tuple[str, str, str]
    lane: str
    size_bytes: int
    elements: list[bytes]


def row(account: ports.Account, one: model.Kept) -> Row:
    """Its row; it has a lane of its own, since it is published nowhere and so comes before or after nothing."""
    elements = [
        *column.texts(account.tenant, account.id, one.event_id, one.kind),
        column.blob(one.body),
        column.bigint(one.size_bytes),
        column.moment(one.received_at),
    ]
    lane = f"unknown\0{account.tenant}\0{account.id}\0{one.event_id}"
    return Row(account.tenant, (account.tenant, account.id, one.event_id), lane, len(one.body) + 256, elements)


def write(bound: transaction.Transaction, rows: Sequence[Row]) -> Callable[[], list[bool]]:
    """Queue the insert of rows sorted by key; what is returned says of each, once committed, whether it is new."""
    elements = zip(*(one.elements for one in rows), strict=True)
    columns = [kind.of(each) for kind, each in zip(_KINDS, elements, strict=True)]
    answer = bound.send(_INSERT, columns)

    def read() -> list[bool]:
        new: set[Any] = set(answer.rows())
        return [(at == 0 or rows[at - 1].key != one.key) and one.key in new for at, one in enumerate(rows)]

    return read


class UnknownStore:
    """Unknown events in Postgres, for reading."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def latest(self, tenant: ids.TenantId, account: str, limit: int) -> list[tuple[str, model.Kept]]:
        """Accounts and their latest unknown events, without bodies, newest first; of all accounts when it is empty."""
        async with self._database.transaction("channels", [tenant]) as bound:
            rows = await bound.fetch_all(_LATEST, (tenant, account, account, limit))
        return [_found(one) for one in rows]

    async def find(self, tenant: ids.TenantId, account: str, event_id: str) -> model.Kept | None:
        """One with its body."""
        async with self._database.transaction("channels", [tenant]) as bound:
            found = await bound.fetch_one(_ONE, (tenant, account, event_id))
        return _found(found)[1] if found else None

    async def held(self, tenant: ids.TenantId, account: str) -> tuple[int, int]:
        """How many an account has, and how many bytes their bodies."""
        async with self._database.transaction("channels", [tenant]) as bound:
            found = await bound.fetch_one(_HELD, (tenant, account))
        return (found[0], found[1]) if found else (0, 0)


def _found(row: Sequence[Any]) -> tuple[str, model.Kept]:
    account, event_id, kind, body, size_bytes, received_at = row
    return account, model.Kept(event_id, kind, bytes(body), size_bytes, received_at)
