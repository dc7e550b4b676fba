"""A process with a publisher that dies at a named point: run by `test_crash`, killed from inside with SIGKILL.

Arguments: crash point, Postgres URL, NATS URL. Points: `before_publish` (committed, not published), `after_publish`
(published, not recorded), `before_record` (as the last, with the acknowledgement in hand), `never`.
"""

import asyncio
import os
import signal
import sys

from penstock.database import pool, session
from penstock.spine.adapters import spine_nats
from penstock.state import publisher, relay

SURVIVED = 5
"""How many messages get through before the crash."""


class Dying:
    """A transport that kills its process at the point, once a few messages are through."""

    def __init__(self, spine, point):
        self.spine, self.point, self.through = spine, point, 0

    async def publish(self, message):
        self.through += 1
        if self.through > SURVIVED and self.point == "before_publish":
            die(self.point)
        answer = await self.spine.publish(message)
        if self.through > SURVIVED and self.point == "after_publish":
            die(self.point)
        return answer


def die(point):
    sys.stdout.write(f"hit {point}")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


async def main(point, database_url, nats_url):
    session.IDLE_S = 2.0  # a paused process is noticed within a test's patience
    if point == "before_record":
        exchange = relay.Relay.exchange

        async def dying(self, settled, held, stuck, limit):
            if settled:
                die(point)
            return await exchange(self, settled, held, stuck, limit)

        relay.Relay.exchange = dying
    spine = await spine_nats.NatsSpine.connect(nats_url, wait_s=10)
    dying_publisher = publisher.Publisher(pool.Database(database_url, application="dying"), Dying(spine, point), "shop")
    await dying_publisher.start()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
