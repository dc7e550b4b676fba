"""A process that replaces keys and dies at a named point: run by `test_rekey`, killed from inside with SIGKILL.

Arguments: the point, how often it is passed before, the database's URL.
"""

import asyncio
import os
import signal
import sys

from penstock.channels.service import lookup
from penstock.channels.store import sealed
from penstock.database import pool
from penstock.sealing import model, rekey, rekey_store
from tests.integration.sealing import safe


async def main(point, passes, url):
    left = [int(passes)]

    def reached(name):
        if name == point:
            left[0] -= 1
            if left[0] < 0:
                sys.stdout.write(f"hit {point}")
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    rekey.BATCH = 2
    database = pool.Database(url, application="dying", size=2)
    store = await rekey_store.connected(database)
    ring, values = model.KeyRing(safe.NEW, (safe.OLD,)), [sealed.SealedSecrets(database, lookup.PURPOSE)]
    await rekey.Rekey(store, ring, values, reached=reached, grace_s=0.0).run(data_keys=True)


asyncio.run(main(*sys.argv[1:]))
