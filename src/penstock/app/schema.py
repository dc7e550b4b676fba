"""Which schemas this build has: one per room with tables, the shared tables of `state` first."""

from typing import Final

from penstock.database import migrations
from penstock.state import outbox, quarantine

OUTBOXES: Final = ("channels", "state")
"""Rooms whose schema holds an outbox."""


def rooms() -> tuple[migrations.RoomSchema, ...]:
    """Every room's migrations, in the order in which they are applied."""
    return (
        migrations.RoomSchema("tenancy", migrations.from_folder("penstock.tenancy")),
        migrations.RoomSchema("sealing", migrations.from_folder("penstock.sealing")),
        quarantine.SCHEMA,
        migrations.RoomSchema("channels", outbox.MIGRATIONS + migrations.from_folder("penstock.channels")),
    )
