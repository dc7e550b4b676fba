"""Hears what other processes changed (`database.changes`), so that nobody acts on what was true a moment ago.

One connection of its own listens for as long as the process lives. While it is lost nobody hears anything, so whoever
remembers something also forgets it with age; and once it is back everything is forgotten, because some change may have
been told in between. `LISTEN` needs a session: behind a pooler that shares connections between transactions nothing is
heard, and the age is what counts. Protocol: PostgreSQL 18, LISTEN and NOTIFY.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import psycopg

from penstock.base import tasks, telemetry
from penstock.database import changes, connect, failure

PROBE_S: Final = 10.0
"""How often a silent connection is asked whether it is still there; a peer that vanished tells nobody."""

_log = telemetry.logger("database.listener")

heard = telemetry.counter(
    "penstock_changes_heard_total",
    labels=("kind",),
    meaning="Changes that other processes, or this one, told: of an account or a tenant.",
    remedy="Growing fast: something changes accounts or tenants all the time, and each change makes every process look "
    "again; find it in the operators' scripts.",
)
listening = telemetry.gauge(
    "penstock_changes_listening",
    meaning="1 while this process hears at once what others change, 0 while it forgets by age only.",
    remedy="0 for minutes: Postgres is away, or a pooler stands before it that shares connections between "
    "transactions; give Penstock an address that leads to Postgres itself.",
)


class Listener:
    """One process's ear. `on` before `start`; what is called must not block, and is called on the event loop."""

    def __init__(self, url: str, *, application: str, limits: connect.Limits | None = None) -> None:
        self._url, self._application, self._limits = url, application, limits or connect.Limits()
        self._forget: dict[str, list[Callable[[str], None]]] = {topic: [] for topic in changes.TOPICS}
        self._forget_all: list[Callable[[], None]] = []
        self._running = tasks.Tasks()
        self._hears = asyncio.Event()

    def on(self, topic: str, forget: Callable[[str], None], forget_all: Callable[[], None]) -> None:
        """Call `forget` with the id of each change of a topic, and `forget_all` when some may have been missed."""
        self._forget[topic].append(forget)
        self._forget_all.append(forget_all)

    async def start(self) -> None:
        """Listen in the background from now on; a database that is away is waited for."""
        self._running.forever("listener", self._listen)

    async def stop(self) -> None:
        """Hang up."""
        await self._running.stop()

    async def hears(self) -> None:
        """Wait until the connection is there: whatever is committed from then on is heard."""
        await self._hears.wait()

    async def _listen(self) -> None:
        """One connection from its beginning to its end. Raises Unavailable when it is lost."""
        name = f"{self._application} listener"
        connection = await connect.connection(self._url, application=name, limits=self._limits)
        try:
            await self._turns(connection)
        except psycopg.OperationalError:
            _log.warning("hears no changes", detail="the connection to the database was lost")
            raise failure.away("the connection to the database was lost") from None
        finally:
            self._hears.clear()
            listening.set(0)
            # Not awaited: whoever stops must not wait for a server that does not answer.
            connection.pgconn.finish()

    async def _turns(self, connection: psycopg.AsyncConnection[Any]) -> None:
        async with asyncio.timeout(self._limits.answer_s):
            await connection.execute(changes.LISTEN)
        # Only now: what was remembered before this moment may have changed without a word.
        for forget_all in self._forget_all:
            forget_all()
        self._hears.set()
        listening.set(1)
        while True:
            async for notification in connection.notifies(timeout=PROBE_S):
                self._hear(notification.payload)
            try:
                async with asyncio.timeout(self._limits.answer_s):
                    await connection.execute("select 1")
            except TimeoutError:
                raise failure.away("the database did not answer the listener") from None

    def _hear(self, payload: str) -> None:
        change = changes.heard(payload)
        if change is None:
            return
        topic, id = change
        heard.labels(topic).inc()
        for forget in self._forget[topic]:
            forget(id)
