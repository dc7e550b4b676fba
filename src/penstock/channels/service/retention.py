"""How long this room keeps what was said: as long as its settings say, and for ever by default."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from penstock.base import ids
from penstock.channels import settings
from penstock.channels.store import retention as rows
from penstock.database import pool
from penstock.state import personal, retention

Remove = Callable[[ids.TenantId, int, int], Awaitable[int]]


class OldRows:
    """`retention.Retains` by removing rows."""

    def __init__(self, kind: str, keep_days: int, remove: Remove) -> None:
        self.kind, self.keep_days, self._remove = kind, keep_days, remove

    async def forget(self, tenant: ids.TenantId) -> AsyncGenerator[int]:
        """As `retention.Retains.forget`."""
        count = retention.BATCH
        while count == retention.BATCH:
            count = await self._remove(tenant, self.keep_days, retention.BATCH)
            yield count


class OldCommands:
    """`retention.Retains` for what apps said: rows that are emptied and stay, or a command might be sent again."""

    kind = "command"

    def __init__(self, table: rows.OldRows, keep_days: int) -> None:
        self._table, self.keep_days = table, keep_days

    async def forget(self, tenant: ids.TenantId) -> AsyncGenerator[int]:
        """As `retention.Retains.forget`; by windows of the primary key, for an index would cost every message."""
        after, looked = "", personal.WINDOW
        while looked == personal.WINDOW:
            count, looked, after = await self._table.empty_commands(tenant, self.keep_days, after)
            yield count


def kinds(limits: settings.ChannelsSettings, database: pool.Database) -> Sequence[retention.Retains]:
    """What the settings say about each kind. Commands first: what they answer tells whose they are."""
    table = rows.OldRows(database)
    return (
        OldCommands(table, limits.keep_commands_days),
        OldRows("message", limits.keep_messages_days, table.remove_messages),
        OldRows("unknown_event", limits.keep_unknown_events_days, table.remove_unknown),
    )
