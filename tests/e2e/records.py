"""What an installation keeps about commands: receipts on the spine, and the rows that they were told from."""

import asyncio
import contextlib

import nats

from penstock.base import ids
from penstock.database import pool
from penstock.messages.v1 import outbound_pb2
from penstock.spine import route, stream
from penstock.spine.adapters import spine_nats
from tests.e2e import installation as installations


async def receipts(
    installation: installations.Installation, tenant: str, *, count: int, timeout_s: float = 20.0
) -> list[outbound_pb2.Receipt]:
    """The tenant's receipts from the first one on, as soon as there are `count`. Raises TimeoutError."""
    where = installation.endpoints
    transport = await spine_nats.NatsSpine.connect(
        where.nats_url, user=where.nats_user, password=where.nats_password, wait_s=5
    )
    found: list[outbound_pb2.Receipt] = []
    try:
        async with asyncio.timeout(timeout_s):
            reading = transport.browse(stream.RECEIPTS.name, f"tenant.{tenant}.receipts.>", after=0)
            async with contextlib.aclosing(reading):
                async for delivery in reading:
                    found.append(route.RECEIPT.decode(delivery.headers, delivery.body))
                    if len(found) == count:
                        return found
    finally:
        await transport.close()
    raise AssertionError("browsing ended")


async def receipts_of(
    installation: installations.Installation, tenant: str, commands: set[str], *, timeout_s: float = 20.0
) -> dict[str, outbound_pb2.Receipt]:
    """The tenant's first receipt of each of these commands, as soon as all are there. Raises TimeoutError."""
    where = installation.endpoints
    transport = await spine_nats.NatsSpine.connect(
        where.nats_url, user=where.nats_user, password=where.nats_password, wait_s=5
    )
    found: dict[str, outbound_pb2.Receipt] = {}
    try:
        async with asyncio.timeout(timeout_s):
            reading = transport.browse(stream.RECEIPTS.name, f"tenant.{tenant}.receipts.>", after=0)
            async with contextlib.aclosing(reading):
                async for delivery in reading:
                    told = route.RECEIPT.decode(delivery.headers, delivery.body)
                    if told.command_id in commands:
                        found.setdefault(told.command_id, told)
                    if found.keys() == commands:
                        return found
    finally:
        await transport.close()
    raise AssertionError("browsing ended")


async def delete_streams(installation: installations.Installation, *names: str) -> None:
    """Destroy streams under a running installation, as a lost store does. Nothing of the product can."""
    where = installation.endpoints
    client = await nats.connect(where.nats_url, user=where.nats_user, password=where.nats_password)
    try:
        for name in names:
            await client.jetstream().purge_stream(name)  # deleted with messages in it, one may come back with them
            assert await client.jetstream().delete_stream(name)
    finally:
        await client.close()


async def ambiguous_rows(installation: installations.Installation, tenant: str) -> set[str]:
    """Ids of the tenant's commands of which an attempt ended without anybody knowing how."""
    return await _ids(installation, tenant, "select command_id from channels.command where ambiguities > 0")


async def stored_events(installation: installations.Installation, tenant: str) -> set[str]:
    """The platforms' ids of all events that the tenant's accounts have stored."""
    return await _ids(installation, tenant, "select event_id from channels.message")


async def _ids(installation: installations.Installation, tenant: str, query: str) -> set[str]:
    database = pool.Database(installation.endpoints.postgres_url, application="test", size=1)
    try:
        async with database.transaction("channels", [ids.tenant_id(tenant)]) as transaction:
            rows = await transaction.fetch_all(query, ())
    finally:
        await database.close()
    return {str(row[0]) for row in rows}
