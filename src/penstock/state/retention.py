"""Forgets what is too old, in small steps and with pauses, beside everything else that a process does.

Several processes may do so at once: each row is taken by one of them, and nobody waits for it. A step locks the rows
that it removes and nothing else. What cannot be done now is done the next time.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Final, Protocol

from penstock.base import errors, ids, tasks, telemetry
from penstock.database import pool

EVERY_S: Final = 6 * 3600.0
FIRST_S: Final = 60.0
PAUSE_S: Final = 0.05
BATCH: Final = 500
"""Rows that one statement removes."""

_log = telemetry.logger("state.retention")

forgotten = telemetry.counter(
    "penstock_retention_forgotten_total",
    labels=("kind",),
    meaning="Rows that were emptied or removed because they were older than the settings say: message, command, "
    "unknown_event, quarantine.",
    remedy="0 although something is old: no process of the kind's role runs (inbound; quarantine: state), or it fails; "
    "see penstock_retention_failures_total.",
)
failures = telemetry.counter(
    "penstock_retention_failures_total",
    labels=("kind", "code"),
    meaning="Times that forgetting stopped before its end, of one tenant or of all, by code; it begins again after six "
    "hours.",
    remedy="database codes: Postgres was away or slow. Any other: see the log of source state.retention.",
)


class Retains(Protocol):
    """One kind of data that is not kept for ever."""

    @property
    def kind(self) -> str:
        """What it is, in one word."""
        ...

    @property
    def keep_days(self) -> int:
        """How long it is kept; 0 for ever."""
        ...

    def forget(self, tenant: ids.TenantId) -> AsyncGenerator[int]:
        """Forget what is too old of one tenant; yields after each step how many that were. Raises Unavailable."""
        ...


class Retention:
    """For as long as it runs. `tenants` says whose data there is."""

    def __init__(
        self,
        kinds: Sequence[Retains],
        tenants: Callable[[], Awaitable[Sequence[ids.TenantId]]],
        *,
        first_s: float = FIRST_S,
    ) -> None:
        self._kinds = [kind for kind in kinds if kind.keep_days]
        self._tenants, self._next_s = tenants, first_s
        self._tasks = tasks.Tasks()
        self.rounds = 0

    async def start(self) -> None:
        """Begin in a while, if there is anything that is not kept for ever."""
        if self._kinds:
            self._tasks.forever("retention", self._sweep)

    async def stop(self) -> None:
        """End; what was begun is undone or done."""
        await self._tasks.stop()

    async def _sweep(self) -> None:
        await asyncio.sleep(self._next_s)
        self._next_s = EVERY_S
        for kind in self._kinds:
            with _counted(kind):
                for tenant in await self._tenants():
                    with _counted(kind):
                        await self._forget(kind, tenant)
        self.rounds += 1

    async def _forget(self, kind: Retains, tenant: ids.TenantId) -> None:
        async for count in kind.forget(tenant):
            forgotten.labels(kind.kind).inc(count)
            await asyncio.sleep(PAUSE_S)


@contextlib.contextmanager
def _counted(kind: Retains) -> Generator[None]:
    """What stops one tenant's forgetting, or the list of tenants, stops nothing else."""
    try:
        yield
    except errors.PenstockError as error:
        failures.labels(kind.kind, error.code).inc()
        _log.warning("retention stopped", kind=kind.kind, code=error.code)


class OldQuarantine:
    """Quarantined messages: rows that are removed."""

    kind = "quarantine"

    def __init__(self, database: pool.Database, keep_days: int) -> None:
        self._database, self.keep_days = database, keep_days

    async def tenants(self) -> list[ids.TenantId]:
        """Whose quarantine holds something too old."""
        async with self._database.transaction("relay") as bound:
            rows = await bound.fetch_all(_OLD_TENANTS, (self.keep_days,))
        return [row[0] for row in rows]

    async def forget(self, tenant: ids.TenantId) -> AsyncGenerator[int]:
        """As `Retains.forget`."""
        count = BATCH
        while count == BATCH:
            async with self._database.transaction("state", [tenant]) as bound:
                count = await bound.execute(_FORGET, (tenant, self.keep_days, BATCH))
            yield count


_OLD_TENANTS: Final = (
    "select distinct tenant from state.quarantine where at < now() - make_interval(days => %s::integer) order by tenant"
)
_FORGET: Final = (
    "delete from state.quarantine where ctid = any(array(select ctid from state.quarantine where tenant = %s "
    "and at < now() - make_interval(days => %s::integer) limit %s::integer for update skip locked))"
)
