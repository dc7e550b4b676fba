"""Pseudonyms, and the list of who was erased: kept so that a restored backup is erased again, naming nobody.

A pseudonym is HMAC-SHA-256 (RFC 2104) over tenant, channel, account and sender, each behind its length, under a key of
the tenant that is sealed as its other secrets are; half of it is kept. The same person has the same one for ever.
"""

import dataclasses
import datetime
import hmac
import os
from collections.abc import Sequence
from typing import Final, cast

from penstock.base import errors, ids
from penstock.database import pool
from penstock.sealing import ports
from penstock.sealing import sealer as sealing
from penstock.state import personal

ROOM: Final = "state"
PURPOSE: Final = "pseudonym"
KEY_BYTES: Final = 32
SENDER_BYTES: Final = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Erasure:
    """One person who was erased, as received up to `until`; not `finished_at` yet: something was out of reach."""

    tenant: ids.TenantId
    person: str
    channel: ids.ChannelName
    account: ids.AccountId
    until: datetime.datetime
    finished_at: datetime.datetime | None


class Pseudonyms:
    """What people of one tenant are called once nothing else is left of them."""

    def __init__(self, tenant: ids.TenantId, key: bytes) -> None:
        self._tenant, self._key = tenant, key

    def person(self, channel: str, account: str, sender: str) -> personal.Person:
        """Somebody who speaks. Raises Rejected `bad_sender`."""
        if not 1 <= len(sender.encode("utf-8", "surrogatepass")) <= SENDER_BYTES or "\0" in sender:
            raise errors.Rejected("bad_sender", f"sender must be 1-{SENDER_BYTES} bytes without NUL", field="sender")
        name = self._name(channel, account, sender)
        return personal.Person(self._tenant, ids.ChannelName(channel), ids.AccountId(account), sender, name)

    def conversation(self, channel: str, account: str, conversation: str) -> str:
        """What a conversation is called in which one erased person spoke alone: its id may be theirs."""
        return self._name(channel, account, "conversation", conversation)

    def _name(self, *parts: str) -> str:
        raws = [part.encode("utf-8", "surrogatepass") for part in (self._tenant, *parts)]
        whole = b"".join(len(raw).to_bytes(8, "big") + raw for raw in raws)
        return personal.ERASED + hmac.digest(self._key, whole, "sha256").hex()[:32]


class Erasures:
    """The list, and the keys of pseudonyms."""

    def __init__(self, database: pool.Database, sealer: sealing.Sealer) -> None:
        self._database, self._sealer = database, sealer

    async def pseudonyms(self, tenant: str) -> Pseudonyms:
        """Those of one tenant; the key is made when it is first needed. Raises Unavailable."""
        owner = ids.tenant_id(tenant)
        sealed = await self._sealed(owner)
        if sealed is None:
            fresh = await self._sealer.seal(owner, PURPOSE, PURPOSE, os.urandom(KEY_BYTES))
            async with self._database.transaction(ROOM, [owner]) as bound:
                await bound.execute(_ADD_KEY, (owner, fresh))
            # Of two who made one at once, both go on with what is there.
            sealed = await self._sealed(owner) or fresh
        return Pseudonyms(owner, await self._sealer.open(owner, PURPOSE, PURPOSE, sealed))

    async def _sealed(self, tenant: ids.TenantId) -> bytes | None:
        async with self._database.transaction(ROOM, [tenant]) as bound:
            row = await bound.fetch_one("select sealed from state.pseudonym_key where tenant = %s", (tenant,))
        return bytes(row[0]) if row else None

    async def begin(self, person: personal.Person, until: datetime.datetime) -> None:
        """Write down who is erased, before anything is."""
        values = (person.tenant, person.pseudonym, person.channel, person.account, until)
        async with self._database.transaction(ROOM, [person.tenant]) as bound:
            await bound.execute(_BEGIN, values)

    async def finish(self, person: personal.Person) -> None:
        """Nothing of what was received until then is left."""
        async with self._database.transaction(ROOM, [person.tenant]) as bound:
            await bound.execute(_FINISH, (person.tenant, person.pseudonym))

    async def list(self, tenant: str) -> list[Erasure]:
        """Everybody of a tenant who was erased, newest first."""
        owner = ids.tenant_id(tenant)
        async with self._database.transaction(ROOM, [owner]) as bound:
            rows = await bound.fetch_all(_LIST, (owner,))
        return [Erasure(*row) for row in rows]


class SealedKeys:
    """`sealing.ports.SealedValues` over the keys of pseudonyms: one a tenant, which is the owner of itself."""

    purpose = PURPOSE

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def batch(self, tenant: str, after: str, limit: int) -> Sequence[ports.SealedValue]:
        """As `SealedValues.batch`: the one there is, unless it was given out already."""
        async with self._database.transaction(ROOM, [tenant]) as bound:
            rows = await bound.fetch_all(
                "select sealed from state.pseudonym_key where tenant = %s and %s::text = '' limit %s::bigint",
                (tenant, after, limit),
            )
        return [ports.SealedValue(PURPOSE, bytes(sealed)) for (sealed,) in rows]

    async def replace(self, tenant: str, owner: str, *, old: bytes, new: bytes) -> bool:
        """As `SealedValues.replace`."""
        async with self._database.transaction(ROOM, [tenant]) as bound:
            changed = await bound.execute(
                "update state.pseudonym_key set sealed = %s where tenant = %s and sealed = %s and %s::text = %s::text",
                (new, tenant, old, owner, PURPOSE),
            )
        return changed == 1


def listed(document: object) -> list[Erasure]:
    """A list of erasures from JSON, as verbs print it: who, and up to when. Raises ValueError for anything else."""
    rows = cast("list[object]", document) if isinstance(document, list) else [None]
    return [_erasure(row) for row in rows]


def _erasure(row: object) -> Erasure:
    values = cast("dict[str, object]", row) if isinstance(row, dict) else {}
    texts = [str(values.get(name, "")) for name in ("tenant", "person", "channel", "account", "until")]
    if not all(texts):
        raise ValueError("an erasure has a tenant, a person, a channel, an account and a time")
    tenant, person, channel, account, until = texts
    moment = datetime.datetime.fromisoformat(until)
    return Erasure(ids.tenant_id(tenant), person, ids.ChannelName(channel), ids.AccountId(account), moment, None)


_ADD_KEY: Final = "insert into state.pseudonym_key (tenant, sealed) values (%s, %s) on conflict do nothing"
_BEGIN: Final = (
    "insert into state.erasure as known (tenant, person, channel, account, until) values (%s, %s, %s, %s, %s) "
    "on conflict (tenant, person) do update set until = greatest(known.until, excluded.until), finished_at = null"
)
_FINISH: Final = "update state.erasure set finished_at = now() where tenant = %s and person = %s"
_LIST: Final = (
    "select tenant, person, channel, account, until, finished_at from state.erasure where tenant = %s "
    "order by until desc, person"
)
