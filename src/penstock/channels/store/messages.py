"""Rows of `message`, each committed together with the outbox row that publishes it, many requests at once."""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, cast

from penstock.base import context as contexts
from penstock.channels import ports
from penstock.channels.model import event
from penstock.channels.model import unknown as unknown_model
from penstock.channels.store import unknown as unknown_rows
from penstock.database import column, group, transaction, waiting
from penstock.spine import ports as spine_ports
from penstock.spine import stream
from penstock.state import outbox

_OWN: Final = {
    "tenant": column.Texts,
    "account": column.Texts,
    "event_id": column.Texts,
    "conversation": column.Texts,
    "sender": column.Texts,
    "body_hash": column.Blobs,
    "received_at": column.Moments,
}
_KINDS: Final = tuple({**_OWN, **outbox.COLUMNS}.items())
_KEY: Final = "tenant, account, event_id"
_BESIDES_BYTES: Final = 1024
"""About what a row has besides its body."""

# In the order of the key, so that two transactions with the same events wait for each other and never both for the
# other. An event that another transaction is writing is waited for, so whatever is no row afterwards is known.
_INSERT: Final = f"""
insert into channels.message ({_KEY}, conversation, sender, body, body_hash, received_at)
select {_KEY}, conversation, sender, body, body_hash, received_at from given
on conflict (tenant, account, event_id) do nothing
returning {_KEY}"""  # noqa: S608 - no part of it comes from outside
# What was erased has no hash: whatever comes under its id again is a repetition of it.
_CHANGED: Final = """
select place from unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[])
    as given(place, tenant, account, event_id, body_hash)
join channels.message as known using (tenant, account, event_id)
where known.body_hash <> given.body_hash and known.body_hash <> ''"""


@dataclasses.dataclass(slots=True)
class Recorded:
    """What an insert found: ids of events that are new, and of known ones that say something else this time.

    `unknown` is how many of the events of unknown kinds are new.
    """

    new: frozenset[str]
    changed: frozenset[str]
    unknown: int = 0


@dataclasses.dataclass(slots=True)
class _Row:
    """One event on its way into the table, as elements of the columns in `_KINDS`."""

    unknown: ClassVar[bool] = False

    tenant: str
    key: tuple[str, str, str]
    lane: str
    message_id: str
    size_bytes: int
    elements: list[bytes]


_AnyRow = _Row | unknown_rows.Row
_NONE: Final = frozenset[str]()
_is_unknown: Final = operator.attrgetter("unknown")


class MessageStore:
    """Messages in Postgres."""

    def __init__(self, database: group.Transacts, *, limits: waiting.GroupLimits | None = None) -> None:
        self._adding = group.Group[_AnyRow, bool](database, "channels", _write, kind="messages", limits=limits)
        self._looking = group.Group[_Row, bool](database, "channels", _compare, kind="known messages", limits=limits)

    async def add(
        self,
        account: ports.Account,
        events: Sequence[event.Event],
        outgoing: Sequence[spine_ports.Outgoing],
        unknown: Sequence[unknown_model.Kept] = (),
    ) -> Recorded:
        """Store the events that are new and what publishes them (`outgoing`, one for each event), all or nothing.

        With them goes what came in the same request and is of `unknown` kinds. Events of one conversation are published
        in the order of calls. Raises Unavailable when it is not certain that the transaction committed, and when too
        many calls wait for it.
        """
        rows = [_row(account, one, out) for one, out in zip(events, outgoing, strict=True)]
        if not unknown:
            return await self._recorded(rows, await self._adding.join(rows))
        kept = [unknown_rows.row(account, one) for one in unknown]
        news = await self._adding.join([*rows, *kept])
        recorded = await self._recorded(rows, news[: len(rows)])
        return dataclasses.replace(recorded, unknown=sum(news[len(rows) :]))

    async def _recorded(self, rows: Sequence[_Row], news: Sequence[bool]) -> Recorded:
        """What became of the messages; those that are known are looked at again."""
        if all(news):
            return Recorded(frozenset([row.key[2] for row in rows]), _NONE)
        known = [row for row, new in zip(rows, news, strict=True) if not new]
        changes = await self._looking.join(known)
        return Recorded(
            frozenset(row.key[2] for row, new in zip(rows, news, strict=True) if new),
            frozenset(row.key[2] for row, changed in zip(known, changes, strict=True) if changed),
        )

    async def close(self) -> None:
        """Wait for what is being written."""
        await self._adding.close()
        await self._looking.close()


def _row(account: ports.Account, one: event.Event, outgoing: spine_ports.Outgoing) -> _Row:
    message, tenant = one.message, account.tenant
    event_id = message.event_id
    elements = [
        *column.texts(tenant, account.id, event_id, message.conversation, message.sender.id),
        column.blob(one.body_hash),
        column.moment(one.received_at),
        *outbox.elements(outgoing, tenant),
    ]
    key, message_id = (tenant, account.id, event_id), outgoing.headers[contexts.MESSAGE_ID]
    return _Row(tenant, key, outgoing.key, message_id, len(outgoing.body) + _BESIDES_BYTES, elements)


def _columns(rows: Sequence[_Row], places: Sequence[int]) -> dict[str, column.Column]:
    columns: dict[str, column.Column] = {"place": column.Bigints.of(list(map(column.bigint, places)))}
    for (name, kind), elements in zip(_KINDS, zip(*(row.elements for row in rows), strict=True), strict=True):
        columns[name] = kind.of(elements)
    return columns


def _write(bound: transaction.Transaction, rows: Sequence[_AnyRow], places: Sequence[int]) -> Callable[[], list[bool]]:
    """Insert what is new. An event that stands here twice is new once: the delivery that came first brings it."""
    if not any(map(_is_unknown, rows)):
        return _write_messages(bound, cast("Sequence[_Row]", rows), places)
    said = [(row, place) for row, place in zip(rows, places, strict=True) if isinstance(row, _Row)]
    # Messages first, everywhere: two transactions that write both kinds then wait for each other in one order.
    read_said = _write_messages(bound, [row for row, _ in said], [place for _, place in said]) if said else _nothing
    read_kept = unknown_rows.write(bound, [row for row in rows if isinstance(row, unknown_rows.Row)])

    def read() -> list[bool]:
        of_said, of_kept = iter(read_said()), iter(read_kept())
        return [next(of_kept if row.unknown else of_said) for row in rows]

    return read


def _nothing() -> list[bool]:
    """The answers of no messages."""
    return []


def _write_messages(
    bound: transaction.Transaction, rows: Sequence[_Row], places: Sequence[int]
) -> Callable[[], list[bool]]:
    first = [at == 0 or rows[at - 1].key != row.key for at, row in enumerate(rows)]
    columns = _columns(
        [row for row, is_first in zip(rows, first, strict=True) if is_first],
        [place for place, is_first in zip(places, first, strict=True) if is_first],
    )
    answer = outbox.append_each(bound, _INSERT, _KEY, columns, stream=stream.MESSAGES_INBOUND.name)

    def read() -> list[bool]:
        new: set[Any] = {row[0] for row in answer.rows()}
        return [is_first and row.message_id in new for row, is_first in zip(rows, first, strict=True)]

    return read


def _compare(bound: transaction.Transaction, rows: Sequence[_Row], places: Sequence[int]) -> Callable[[], list[bool]]:
    """Whether each of these known events said something else before."""
    columns = _columns(rows, places)
    answer = bound.send(_CHANGED, [columns[name] for name in ("place", *_KEY.split(", "), "body_hash")])

    def read() -> list[bool]:
        changed: set[Any] = {row[0] for row in answer.rows()}
        return [place in changed for place in places]

    return read
