"""A process with a publisher that dies at a named point: run by `test_crash`, killed from inside with SIGKILL.

Arguments: crash point, Postgres URL, NATS URL. Points of publishing: `before_publish` (committed, not published),
`after_publish` (published, not recorded), `before_record` (as the last, with the acknowledgement in hand). Points of a
refill: `before_durables` (noticed), `before_noted` (durables are there), `after_noted`, `after_batch` (some rows wait
again), `before_finish` (all do), `after_finish`. And `never`.
"""

import asyncio
import os
import signal
import sys

from penstock.database import pool, session
from penstock.spine.adapters import spine_nats
from penstock.state import ledger, publisher, relay

SURVIVED = 5
"""How many messages get through before the crash."""


class Dying:
    """A transport that kills its process at the point, once a few messages are through."""

    def __init__(self, spine, point):
        self.spine, self.point, self.through = spine, point, 0

    def __getattr__(self, name):
        return getattr(self.spine, name)

    async def create_consumer(self, policy):
        if self.point == "before_durables":
            die(self.point)
        await self.spine.create_consumer(policy)

    async def publish(self, message, *, on=None):
        self.through += 1
        if self.through > SURVIVED and self.point == "before_publish":
            die(self.point)
        answer = await self.spine.publish(message, on=on)
        if self.through > SURVIVED and self.point == "after_publish":
            die(self.point)
        return answer


def die(point):
    sys.stdout.write(f"hit {point}")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def die_around(owner, method, *, before="", after="", point):
    """Let a method of a class end the process before or after it has done its work."""
    original = getattr(owner, method)

    async def dying(self, *arguments, **options):
        if point == before:
            die(point)
        result = await original(self, *arguments, **options)
        if point == after:
            die(point)
        return result

    setattr(owner, method, dying)


async def main(point, database_url, nats_url):
    session.IDLE_S = 2.0  # a paused process is noticed within a test's patience
    if point == "before_record":
        exchange = relay.Relay.exchange

        async def dying(self, records, readings):
            if records:
                die(point)
            return await exchange(self, records, readings)

        relay.Relay.exchange = dying
    ledger.BATCH = 7
    die_around(ledger.Ledger, "lost", before="before_noted", after="after_noted", point=point)
    die_around(ledger.Ledger, "take_up", after="after_batch", point=point)
    die_around(ledger.Ledger, "finish", before="before_finish", after="after_finish", point=point)
    spine = await spine_nats.NatsSpine.connect(nats_url, wait_s=10)
    dying_publisher = publisher.Publisher(pool.Database(database_url, application="dying"), Dying(spine, point), "shop")
    await dying_publisher.start()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
