"""Joins the rooms that hold sealed values with what replaces their keys: `penstock secret`."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from penstock.app import configuration, house, schema
from penstock.base import errors
from penstock.channels.service import lookup
from penstock.channels.store import sealed
from penstock.database import migrations, pool
from penstock.sealing import keys, ports, rekey, rekey_store, wiring
from penstock.servers import folder
from penstock.state import erasures


def values(database: pool.Database) -> list[ports.SealedValues]:
    """Every room's sealed rows: a table with a column `sealed` that is not among them fails a test."""
    return [sealed.SealedSecrets(database, lookup.PURPOSE), erasures.SealedKeys(database)]


@contextlib.asynccontextmanager
async def rekeying(
    found: configuration.Configuration,
    *,
    told: Callable[[rekey.Report], None] = lambda _: None,
    reached: Callable[[str], None] = lambda _: None,
    grace_s: float = rekey.GRACE_S,
) -> AsyncGenerator[rekey.Rekey]:
    """The rekeyer of the running installation, or of the database that the settings name.

    The settings' current key is the one that everything moves to, the others are what it moves from. Raises Unavailable
    `not_running`, Rejected for a key that cannot be read and for a login that is not the operator's.
    """
    url, _ = house.located(found)
    ring = wiring.ring(found.sealing, found.key_file)
    await migrations.check(url, schema.rooms())
    async with contextlib.AsyncExitStack() as stack:
        for key in ring.all:
            stack.push_async_callback(key.close)
        database = pool.Database(url, application="penstock rekey", size=2)
        stack.push_async_callback(database.close)
        store = await rekey_store.connected(database)
        stack.callback(store.close)
        try:
            yield rekey.Rekey(store, ring, values(database), reached=reached, told=told, grace_s=grace_s)
        except errors.Broken as error:
            if error.code != "permission_denied":
                raise
            raise errors.Rejected(
                "not_operator",
                "this login may not replace keys",
                hint="Use the operator's login of 'penstock database prepare'.",
                status=403,
            ) from None


def new_key_file(found: configuration.Configuration, file: Path) -> str:
    """Make a key file; returns a sentence for people. Raises Rejected `sealing_key_exists` (409) when it is there."""
    told = keys.ensure_file(file, data_folder=folder.absolute(found.servers.data_folder))
    if not told:
        raise errors.Rejected(
            "sealing_key_exists", f"there is a file at {file} already", hint="Nothing was changed.", status=409
        )
    return told
