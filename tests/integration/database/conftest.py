"""Two rooms in a database of their own, and a pool that may act for both."""

import pytest

from penstock.base import settings
from penstock.database import migrations, pool, roles

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))

KITCHEN = migrations.RoomSchema(
    "kitchen",
    (
        migrations.Migration(
            "0001_dish",
            "create table dish (tenant text not null, name text not null check (name <> 'mud'), size integer,"
            " primary key (tenant, name)); select penstock.protect('dish');",
        ),
    ),
)
CELLAR = migrations.RoomSchema(
    "cellar",
    (
        migrations.Migration(
            "0001_wine", "create table wine (tenant text, name text); select penstock.protect('wine');"
        ),
    ),
)


def login_url(endpoint):
    return endpoint.url(user=LOGIN.name, password=LOGIN.password.reveal())


@pytest.fixture
async def rooms(fresh_postgres):
    """The endpoint of a database with both rooms migrated."""
    await migrations.migrate(fresh_postgres.url(), [KITCHEN, CELLAR], login=LOGIN)
    return fresh_postgres


@pytest.fixture
async def database(rooms):
    opened = pool.Database(login_url(rooms), application="test", size=4, deadline_s=2.0)
    await opened.open()
    yield opened
    await opened.close()
