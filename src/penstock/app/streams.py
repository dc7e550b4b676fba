"""Streams and durables for an operator: what they are, how they differ from the tables, and making them what they say.

Needs NATS only: the server that the settings name, else the one of the installation that runs in the data folder. Where
Postgres is known too, it is asked for what was lost.
"""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from penstock.app import configuration, endpoints, schema, stream_views
from penstock.base import errors, settings
from penstock.database import pool
from penstock.servers import folder
from penstock.spine import alteration, consumer, plan, ports, stream
from penstock.spine import settings as spine_settings
from penstock.spine.adapters import spine_nats
from penstock.state import losses

CONNECTS_WITHIN_S: Final = 5.0
LOSSES: Final = 100
BUCKETS: Final = ("KV_penstock_", "OBJ_jobs_")
"""What the streams behind our own buckets begin with; those of others are left alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Differences:
    """What is not as the tables and the settings ask, and durables that nothing asks for."""

    steps: tuple[plan.Step, ...]
    strangers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What applying did, or would do (`dry_run`), and what it leaves as it is."""

    dry_run: bool
    done: tuple[plan.Step, ...]
    left: tuple[plan.Step, ...]


class Streams:
    """The streams of one NATS server, or cluster, and what the settings want of them."""

    def __init__(
        self, spine: ports.Administration, wanted: plan.Wanted, *, replicas: int, postgres_url: str = ""
    ) -> None:
        self._spine, self._wanted, self._replicas, self._postgres_url = spine, wanted, replicas, postgres_url

    async def list(self, *, every_stream: bool = False, every_durable: bool = False) -> list[stream_views.StreamView]:
        """The streams of the table that are there, or every one, each with its consumers or every durable."""
        names = [policy.name for policy in self._wanted.streams]
        if every_stream:
            names += [name for name in await self._spine.stream_names() if name not in names]
        looked = [await alteration.look(self._spine, name) for name in names]
        lost = await self._losses()
        return [stream_views.view(found, every_durable=every_durable, lost=lost) for found in looked if found]

    async def _losses(self) -> Sequence[losses.Loss] | None:
        """What publishers noticed; None without a database, or while it does not answer."""
        if not self._postgres_url:
            return None
        database = pool.Database(self._postgres_url, application="penstock cli", size=1)
        try:
            return await losses.Losses(database, schema.OUTBOXES).list(limit=LOSSES)
        except errors.PenstockError:
            return None
        finally:
            await database.close()

    async def differences(self) -> Differences:
        """Every difference, and what can be done about it."""
        wanted = await self._asked()
        found = await alteration.look_at_all(self._spine, wanted)
        return Differences(tuple(plan.steps(wanted, found)), tuple(plan.strangers(wanted, found)))

    async def _asked(self) -> plan.Wanted:
        """What is asked, and of each of our buckets as many copies as of streams; all else of a bucket stays."""
        buckets = [
            dataclasses.replace(policy, replicas=self._replicas)
            for name in await self._spine.stream_names()
            if name.startswith(BUCKETS) and (policy := await self._spine.describe_stream(name)) is not None
        ]
        return dataclasses.replace(self._wanted, streams=(*self._wanted.streams, *buckets))

    async def apply(
        self, *, dry_run: bool, allow_loss: bool = False, tell: Callable[[str], None] = lambda _: None
    ) -> Outcome:
        """Do what can be done about every difference; `tell` hears of each and of waiting. Raises as `carry_out`."""
        wanted = await self._asked()
        found = await alteration.look_at_all(self._spine, wanted)
        may, left = plan.divided(plan.steps(wanted, found), allow_loss=allow_loss)
        if not dry_run:
            await alteration.carry_out(self._spine, wanted, may, tell=tell)
        return Outcome(dry_run, tuple(may), tuple(left))


def wanted(found: configuration.Configuration) -> plan.Wanted:
    """What the settings make of the tables of streams and consumers."""
    streams = (dataclasses.replace(policy, replicas=found.spine.replicas) for policy in stream.STREAMS)
    consumers = (found.spine.tuned(policy) for policy in consumer.CONSUMERS)
    return plan.Wanted(tuple(streams), tuple(consumers))


@contextlib.asynccontextmanager
async def opened(found: configuration.Configuration) -> AsyncGenerator[Streams]:
    """Connected to NATS. Raises as `connected`."""
    postgres_url = found.servers.postgres_url.reveal() if found.servers.postgres_url is not None else ""
    if found.servers.nats_url is None:
        postgres_url = endpoints.read(folder.absolute(found.servers.data_folder)).postgres_url
    async with connected(found) as spine:
        yield Streams(spine, wanted(found), replicas=found.spine.replicas, postgres_url=postgres_url)


@contextlib.asynccontextmanager
async def connected(found: configuration.Configuration) -> AsyncGenerator[spine_nats.NatsSpine]:
    """The NATS that the settings name, or else that of the installation that runs.

    Raises Unavailable `not_running`, `nats_unreachable`, Rejected `nats_auth`, `nats_url`.
    """
    nats, user, password = found.nats, "", ""
    if found.servers.nats_url is not None:
        url = found.servers.nats_url.reveal()
    else:
        where = endpoints.read(folder.absolute(found.servers.data_folder))
        url, user, password = where.nats_url, where.nats_user, where.nats_password
        if where.nats:
            nats = settings.load(spine_settings.NatsSettings, "nats", {"nats": dict(where.nats)}, {})
    there = spine_nats.NatsSpine.address(url, nats, user=user, password=password, name="penstock cli")
    spine = await spine_nats.NatsSpine.connect(there, wait_s=CONNECTS_WITHIN_S)
    try:
        yield spine
    finally:
        await spine.close()
