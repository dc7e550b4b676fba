"""Carries committed outbox rows to their streams: one publisher per room's outbox, in row order, at least once.

Whoever holds the lease publishes; others stand by. A crash anywhere means that a row is published again under the same
message id, and the stream drops the second. Webhooks go on committing while the spine is away, and rows wait. What a
stream had acknowledged and lost is noticed and sent again (`watch`).

A row that its stream refuses must not hold up its key for ever: it is tried `attempts` times over about two minutes
(once when no later try can end otherwise, as when it is too large), then marked failed, counted and logged; it stays in
the table, keeps its partition from being dropped, and `revive` sends it after all. A stream that is not there is no
fault of the row: such a row waits for it.
"""

import asyncio
from typing import Final

from penstock.base import errors, tasks, telemetry
from penstock.database import pool
from penstock.state import limits, relay, watch
from penstock.state.reign import Reign

STANDBY_S: Final = 0.5
LONGEST_PAUSE_S: Final = 1.0

_log = telemetry.logger("state.publisher")

leading = telemetry.gauge(
    "penstock_outbox_leading",
    labels=("room",),
    meaning="1 in the process that publishes this room's outbox.",
    remedy="0 everywhere: no process runs the role, or none gets a database session.",
)


class Publisher:
    """Publishes one room's outbox for as long as it runs."""

    def __init__(
        self,
        database: pool.Database,
        spine: watch.Transport,
        room: str,
        *,
        limit: limits.PublisherLimits | None = None,
    ) -> None:
        self._database, self._spine, self._room = database, spine, room
        self._limits = limit or limits.PublisherLimits()
        self._tasks = tasks.Tasks()
        self._reign: Reign | None = None

    @property
    def leads(self) -> bool:
        """This process holds the lease."""
        return self._reign is not None

    @property
    def backend_pid(self) -> int:
        """The database process behind the lease; 0 while another one leads."""
        return self._reign.backend_pid if self._reign else 0

    @property
    def shut(self) -> frozenset[str]:
        """The streams for which nothing leaves now: missing, not verified, or being refilled."""
        return self._reign.shut if self._reign else frozenset()

    async def start(self) -> None:
        """Begin; returns at once, whatever is away."""
        self._tasks.forever(f"outbox {self._room}", self._lead)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Start nothing more, wait for what is on its way, record it and give up the lease."""
        if self._reign is not None:
            await self._reign.finish(timeout_s)
        await self._tasks.stop()

    async def _lead(self) -> None:
        """Lead once; what is away is tried again within a second, however long it has been away."""
        try:
            await self._reign_once()
        except errors.Unavailable as error:
            _log.info("outbox waits for the database", room=self._room, code=error.code)
            await asyncio.sleep(min(error.after_s, LONGEST_PAUSE_S))

    async def _reign_once(self) -> None:
        """Connect, stand by, reign until the session is lost."""
        table = await relay.connect(self._database, self._room)
        try:
            while not await table.lead():  # noqa: ASYNC110 - another process holds it: nothing here can be told
                await asyncio.sleep(STANDBY_S)
            await table.prepare()
            self._reign = Reign(table, self._spine, limit=self._limits)
            leading.labels(self._room).set(1)
            _log.info("leads an outbox", room=self._room)
            await self._reign.run()
        finally:
            if self._reign is not None:
                self._reign.abandon()
                self._reign = None
                leading.labels(self._room).set(0)
            table.close()
