"""The whole product's schema: every table of every room is behind the tenant wall."""

from penstock.app import schema
from penstock.database import migrations, testing


async def test_every_table_of_every_room_is_behind_the_wall(fresh_postgres):
    applied = await migrations.migrate(fresh_postgres.url(), schema.rooms())
    assert applied
    await testing.check_tables(fresh_postgres.url())
