"""Forgetting old rows, a few at a time: what another transaction holds is left for the next time."""

from typing import Final

from penstock.base import ids
from penstock.database import pool
from penstock.state import personal


class OldRows:
    """Rows of `message`, `command` and `unknown_event` that are older than so many days."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def remove_messages(self, tenant: ids.TenantId, days: int, most: int) -> int:
        """Remove what people said; returns how many rows."""
        return await self._execute(tenant, _REMOVE_MESSAGES, (tenant, days, most))

    async def remove_unknown(self, tenant: ids.TenantId, days: int, most: int) -> int:
        """Remove events of unknown kinds; returns how many rows."""
        return await self._execute(tenant, _REMOVE_UNKNOWN, (tenant, days, most))

    async def empty_commands(self, tenant: ids.TenantId, days: int, after: str) -> tuple[int, int, str]:
        """Empty what apps said in a window of rows behind a command id.

        Returns how many were emptied, how many looked at, and the last id of them. The rows stay: a command is sent
        once, for ever.
        """
        async with self._database.transaction("channels", [tenant]) as bound:
            ((looked, last),) = await bound.fetch_all(_WINDOW, (tenant, after, personal.WINDOW))
            count = await bound.execute(_EMPTY_COMMANDS, (tenant, after, last, days)) if looked else 0
        return count, looked, last or ""

    async def _execute(self, tenant: ids.TenantId, sql: str, values: tuple[object, ...]) -> int:
        async with self._database.transaction("channels", [tenant]) as bound:
            return await bound.execute(sql, values)


_REMOVE_MESSAGES: Final = (
    "delete from channels.message where ctid = any(array(select ctid from channels.message where tenant = %s "
    "and received_at < now() - make_interval(days => %s::integer) limit %s::integer for update skip locked))"
)
_REMOVE_UNKNOWN: Final = (
    "delete from channels.unknown_event where ctid = any(array(select ctid from channels.unknown_event "
    "where tenant = %s and received_at < now() - make_interval(days => %s::integer) limit %s::integer "
    "for update skip locked))"
)
_WINDOW: Final = (
    "select count(*), max(command_id) from (select command_id from channels.command where tenant = %s "
    "and command_id > %s order by command_id limit %s::integer) as looked"
)
_EMPTY_COMMANDS: Final = (
    "update channels.command set body = null, body_hash = '', detail = '' where tenant = %s and command_id > %s "
    "and command_id <= %s and created_at < now() - make_interval(days => %s::integer) "
    "and state not in ('sending', 'waiting') and (body is not null or body_hash <> '' or detail <> '')"
)
