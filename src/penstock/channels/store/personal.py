"""Rows about one person, looked for window by window along the primary key: rare work that shall cost no index.

Nothing here holds a lock for longer than a statement over a window of rows.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from penstock.base import ids
from penstock.database import pool, transaction
from penstock.state import personal

ROOM: Final = "channels"

LOOKED_INTO_BYTES: Final = 16_384
"""Names are looked for in messages up to this size, so that a window of them fits into memory."""


class Window(NamedTuple):
    """What one statement looked through: how many rows, the last key of them, and what it found."""

    looked: int
    last: str
    rows: list[tuple[Any, ...]]


class PersonRows:
    """Rows of `message`, `command` and `unknown_event`, of one tenant at a time."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def messages(self, trail: personal.Trail, after: str) -> Window:
        """`(event_id, size in bytes)` of what the person said and is not erased."""
        person = trail.person
        # Of somebody whose name is lost already only words are looked for: their rows bear the pseudonym.
        named = "" if person.sender == person.pseudonym else person.sender
        values = (person.names, trail.until, named)
        return await self._account_window(trail, after, _MESSAGES, values)

    async def conversations(self, trail: personal.Trail, after: str) -> Window:
        """`(conversation,)` of those that the person spoke in, under the names that their platform gave them."""
        return await self._account_window(trail, after, _SPOKE_IN, (trail.person.names, trail.until, personal.ERASED))

    async def shared(self, trail: personal.Trail, after: str, conversations: Collection[str]) -> Window:
        """`(conversation,)` of those of these in which somebody else spoke too."""
        return await self._account_window(trail, after, _SHARED, (list(conversations), trail.person.names))

    async def named(self, trail: personal.Trail, after: str) -> Window:
        """`(event_id, conversation)` of messages in the trail's conversations that bear their name still."""
        return await self._account_window(trail, after, _NAMED_MESSAGES, (list(trail.conversations), trail.until))

    async def _account_window(
        self, trail: personal.Trail, after: str, sql: tuple[str, str], values: tuple[Any, ...]
    ) -> Window:
        place = (trail.person.tenant, trail.person.account, after)
        return await self._window(trail, sql, place, values)

    async def commands(self, trail: personal.Trail, after: str) -> Window:
        """`(command_id, size in bytes)` of what was said to the person and is not erased."""
        person = trail.person
        values = (person.account, list(trail.conversations), trail.until, person.names, trail.until)
        return await self._window(trail, _COMMANDS, (person.tenant, after), values)

    async def named_commands(self, trail: personal.Trail, after: str) -> Window:
        """`(command_id, conversation)` as `named`."""
        values = (trail.person.account, list(trail.conversations), trail.until)
        return await self._window(trail, _NAMED_COMMANDS, (trail.person.tenant, after), values)

    async def unknown(self, trail: personal.Trail, after: str) -> Window:
        """`(event_id, size in bytes)` of events of unknown kinds in which the sender's id stands."""
        values = (trail.until, trail.person.sender.encode())
        return await self._account_window(trail, after, _UNKNOWN, values)

    async def senders(self, tenant: ids.TenantId, account: str, after: str) -> Window:
        """`(sender,)` of everybody who spoke on an account and is not erased."""
        async with self._database.transaction(ROOM, [tenant]) as bound:
            return await _look(bound, _SENDERS, (tenant, account, after), (personal.ERASED,))

    async def look_for(self, tenant: ids.TenantId, account: str, after: str, text: str) -> Window:
        """`(sender, received_at, body)` of messages whose sender's id holds `text`, or that hold it anywhere."""
        async with self._database.transaction(ROOM, [tenant]) as bound:
            values = (personal.ERASED, text.lower(), text.encode())
            return await _look(bound, _LOOK_FOR, (tenant, account, after), values)

    async def _window(
        self, trail: personal.Trail, sql: tuple[str, str], place: tuple[Any, ...], values: tuple[Any, ...]
    ) -> Window:
        async with self._database.transaction(ROOM, [trail.person.tenant]) as bound:
            return await _look(bound, sql, place, values)

    async def read_messages(self, trail: personal.Trail, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """`(event_id, conversation, body, received_at)` by event id."""
        return await self._all(trail, _READ_MESSAGES, (trail.person.tenant, trail.person.account, list(keys)))

    async def read_unknown(self, trail: personal.Trail, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """`(event_id, kind, received_at, body)` by event id."""
        return await self._all(trail, _READ_UNKNOWN, (trail.person.tenant, trail.person.account, list(keys)))

    async def read_commands(self, trail: personal.Trail, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """`(command_id, conversation, app, body, state, message_id, code, detail, created_at)` by command id."""
        return await self._all(trail, _READ_COMMANDS, (trail.person.tenant, list(keys)))

    async def theirs(self, trail: personal.Trail, event_ids: Collection[str]) -> frozenset[str]:
        """Those of these events that the person said, erased ones included."""
        person = trail.person
        values = (person.tenant, person.account, list(event_ids), person.names, trail.until)
        return frozenset([row[0] for row in await self._all(trail, _THEIRS, values)])

    async def _all(self, trail: personal.Trail, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._database.transaction(ROOM, [trail.person.tenant]) as bound:
            return await bound.fetch_all(sql, values)

    async def erase_messages(self, trail: personal.Trail, keys: Sequence[str]) -> int:
        """Forget words and sender; the event's id stays, so that the same event again is no new one."""
        person = trail.person
        return await self._change(trail, _ERASE_MESSAGES, (person.pseudonym, person.tenant, person.account, list(keys)))

    async def erase_commands(self, trail: personal.Trail, keys: Sequence[str]) -> int:
        """Forget what was said; the command's id and end stay, so that it is never sent again."""
        return await self._change(trail, _ERASE_COMMANDS, (trail.person.tenant, list(keys)))

    async def erase_unknown(self, trail: personal.Trail, keys: Sequence[str]) -> int:
        """Empty events of unknown kinds."""
        return await self._change(trail, _ERASE_UNKNOWN, (trail.person.tenant, trail.person.account, list(keys)))

    async def rename_messages(self, trail: personal.Trail, names: Sequence[tuple[str, str]]) -> int:
        """Give messages' conversations other names: `(event_id, name)`."""
        keys, fresh = [key for key, _ in names], [name for _, name in names]
        return await self._change(trail, _RENAME_MESSAGES, (keys, fresh, trail.person.tenant, trail.person.account))

    async def rename_commands(self, trail: personal.Trail, names: Sequence[tuple[str, str]]) -> int:
        """As `rename_messages`, by command id."""
        keys, fresh = [key for key, _ in names], [name for _, name in names]
        return await self._change(trail, _RENAME_COMMANDS, (keys, fresh, trail.person.tenant))

    async def _change(self, trail: personal.Trail, sql: str, values: Sequence[Any]) -> int:
        async with self._database.transaction(ROOM, [trail.person.tenant]) as bound:
            return await bound.execute(sql, values)


async def _look(
    bound: transaction.Transaction, sql: tuple[str, str], place: tuple[Any, ...], values: tuple[Any, ...]
) -> Window:
    """The bounds of the window first, then what is in it."""
    bounds, within = sql
    ((looked, last),) = await bound.fetch_all(bounds, (*place, personal.WINDOW))
    return Window(looked, last or "", await bound.fetch_all(within, (*place, last, *values)) if looked else [])


def _window_of(table: str, key: str, of: str, within: str) -> tuple[str, str]:
    """Two statements: how far a window reaches that begins behind a key, and what to find in it."""
    bounds = (
        f"select count(*), max({key}) from (select {key} from channels.{table} "  # noqa: S608 - our own words
        f"where {of} and {key} > %s order by {key} limit %s::integer) as looked"
    )
    return bounds, within.format(place=f"{of} and {key} > %s and {key} <= %s")


_OF_ACCOUNT: Final = "tenant = %s and account = %s"
_MESSAGES: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    "select event_id, coalesce(octet_length(body), 0) from channels.message where {place} "
    "and sender = any(%s::text[]) and received_at <= %s and (body is not null or sender = %s) order by event_id",
)
_SPOKE_IN: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    "select distinct conversation from channels.message where {place} "
    "and sender = any(%s::text[]) and received_at <= %s and not starts_with(conversation, %s)",
)
_SHARED: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    "select distinct conversation from channels.message where {place} "
    "and conversation = any(%s::text[]) and sender <> all(%s::text[]) and sender <> ''",
)
_NAMED_MESSAGES: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    "select event_id, conversation from channels.message where {place} "
    "and conversation = any(%s::text[]) and received_at <= %s order by event_id",
)
_SENDERS: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    "select distinct sender from channels.message where {place} and not starts_with(sender, %s) and sender <> ''",
)
_LOOK_FOR: Final = _window_of(
    "message",
    "event_id",
    _OF_ACCOUNT,
    f"select sender, received_at, case when octet_length(body) <= {LOOKED_INTO_BYTES} then body end "  # noqa: S608
    "from channels.message where {place} and not starts_with(sender, %s) and (strpos(lower(sender), %s) > 0 "
    f"or (octet_length(body) <= {LOOKED_INTO_BYTES} and position(%s::bytea in body) > 0))",
)
# One row by its key, and not `exists`: of that Postgres would make a walk through all messages for each window.
_COMMANDS: Final = _window_of(
    "command",
    "command_id",
    "tenant = %s",
    "select command_id, coalesce(octet_length(body), 0) from channels.command as c where {place} "
    "and account = %s and (body is not null or body_hash <> '' or detail <> '') "
    "and ((conversation = any(%s::text[]) and created_at <= %s) "
    "or (select m.sender = any(%s::text[]) and m.received_at <= %s from channels.message as m "
    "where m.tenant = c.tenant and m.account = c.account and m.event_id = c.cause_event_id)) order by command_id",
)
_NAMED_COMMANDS: Final = _window_of(
    "command",
    "command_id",
    "tenant = %s",
    "select command_id, conversation from channels.command where {place} "
    "and account = %s and conversation = any(%s::text[]) and created_at <= %s order by command_id",
)
_UNKNOWN: Final = _window_of(
    "unknown_event",
    "event_id",
    _OF_ACCOUNT,
    "select event_id, octet_length(body) from channels.unknown_event where {place} "
    "and received_at <= %s and position(%s::bytea in body) > 0 order by event_id",
)
_READ_MESSAGES: Final = (
    "select event_id, conversation, body, received_at from channels.message "
    "where tenant = %s and account = %s and event_id = any(%s::text[]) order by event_id"
)
_READ_UNKNOWN: Final = (
    "select event_id, kind, received_at, body from channels.unknown_event "
    "where tenant = %s and account = %s and event_id = any(%s::text[]) order by event_id"
)
_READ_COMMANDS: Final = (
    "select command_id, conversation, app, body, state, message_id, code, detail, created_at from channels.command "
    "where tenant = %s and command_id = any(%s::text[]) order by command_id"
)
_THEIRS: Final = (
    "select event_id from channels.message where tenant = %s and account = %s and event_id = any(%s::text[]) "
    "and sender = any(%s::text[]) and received_at <= %s"
)
_ERASE_MESSAGES: Final = (
    "update channels.message set sender = %s, body = null, body_hash = '' "
    "where tenant = %s and account = %s and event_id = any(%s::text[])"
)
_ERASE_COMMANDS: Final = (
    "update channels.command set body = null, body_hash = '', detail = '' "
    "where tenant = %s and command_id = any(%s::text[])"
)
_ERASE_UNKNOWN: Final = (
    "update channels.unknown_event set body = '' where tenant = %s and account = %s and event_id = any(%s::text[])"
)
_RENAME_MESSAGES: Final = (
    "update channels.message as row set conversation = fresh.name "
    "from unnest(%s::text[], %s::text[]) as fresh(key, name) "
    "where row.tenant = %s and row.account = %s and row.event_id = fresh.key"
)
_RENAME_COMMANDS: Final = (
    "update channels.command as row set conversation = fresh.name "
    "from unnest(%s::text[], %s::text[]) as fresh(key, name) where row.tenant = %s and row.command_id = fresh.key"
)
