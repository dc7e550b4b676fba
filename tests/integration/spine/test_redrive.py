"""A redrive reaches the one consumer that gave up: two apps, one message, many, and one that was edited."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

import pytest

from penstock.base import context as contexts
from penstock.base import errors, ids, settings
from penstock.database import migrations, pool, roles
from penstock.messages.v1 import message_pb2
from penstock.servers.endpoints import NatsEndpoint, PostgresEndpoint
from penstock.spine import consumer, ports, provision, route, stream, worker
from penstock.spine.adapters import spine_nats
from penstock.state import publisher, quarantine

LOGIN = roles.Login("penstock_test", settings.Secret("a word"))


def inbound(number: int) -> ports.Outgoing:
    event = message_pb2.Message(
        event_id=f"e{number}", tenant="acme", channel="test", account="acc", conversation=f"c{number}", text="poison"
    )
    return route.INBOUND.encode(contexts.start(ids.tenant_id("acme")), event)


@dataclasses.dataclass
class Apps:
    """Two apps of one tenant: `one` cannot take what says poison, `two` takes everything."""

    spine: spine_nats.NatsSpine
    kept: quarantine.Quarantine
    seen: dict[str, list[tuple[str, str]]]

    async def handle(self, name: str, delivery: ports.Delivery) -> None:
        event = route.INBOUND.decode(delivery.headers, delivery.body)
        self.seen[name].append((event.event_id, event.text))
        if name == "one" and event.text == "poison":
            raise errors.Poisoned("not_today", "this one cannot be taken")

    async def rows(self, count: int) -> list[quarantine.Quarantined]:
        async with asyncio.timeout(20):
            while len(found := await self.kept.list("acme")) < count:
                await asyncio.sleep(0.05)
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.05)


@pytest.fixture
async def apps(fresh_nats: NatsEndpoint, fresh_postgres: PostgresEndpoint) -> AsyncIterator[Apps]:
    await migrations.migrate(fresh_postgres.url(), [quarantine.SCHEMA], login=LOGIN)
    database = pool.Database(
        fresh_postgres.url(user=LOGIN.name, password=LOGIN.password.reveal()), application="test", size=4
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        spine = await spine_nats.NatsSpine.connect(fresh_nats.url_with_credentials())
        stack.push_async_callback(spine.close)
        await provision.streams(spine, stream.STREAMS)
        made = Apps(spine, quarantine.Quarantine(database), {"one": [], "two": []})
        handlers: dict[consumer.ConsumerPolicy, worker.Handler] = {consumer.QUARANTINE: made.kept.handle}
        for name in made.seen:
            handlers[consumer.of_app("acme", name)] = lambda _, delivery, name=name: made.handle(name, delivery)
        for policy, handle in handlers.items():
            await provision.durable(spine, policy)
            running = worker.Worker(spine, policy, handle, lane_of=lambda delivery: delivery.subject)
            await running.start()
            stack.push_async_callback(running.drain, 5)
        sending = publisher.Publisher(database, spine, "state")
        await sending.start()
        stack.push_async_callback(sending.stop)
        yield made


async def test_a_redrive_of_one_of_many_and_of_an_edited_message_reaches_the_one_that_gave_up(apps: Apps) -> None:
    for number in range(3):
        await apps.spine.publish(inbound(number))
    rows = await apps.rows(3)
    assert {(row.consumer, row.code) for row in rows} == {("app_acme_one", "not_today")}
    await apps.until(lambda: len(apps.seen["two"]) == 3)

    await apps.kept.redrive("acme", rows[0].id)
    await apps.until(lambda: len(apps.seen["one"]) == 4)
    assert await apps.kept.redrive_many("acme", quarantine.Filter(redriven=False, code="not_today")) >= 2
    await apps.until(lambda: len(apps.seen["one"]) >= 6)
    again = await apps.rows(6)
    edited = route.INBOUND.decode({}, again[0].body)
    edited.text = "harmless"
    await apps.kept.redrive("acme", again[0].id, quarantine.Edit(body=edited.SerializeToString()))
    await apps.until(lambda: (edited.event_id, "harmless") in apps.seen["one"])
    assert len(apps.seen["two"]) == 3, "the other one skipped them all"
    assert not [text for _, text in apps.seen["two"] if text != "poison"]
    async with asyncio.timeout(20):
        while any(state.waiting or state.held for state in await apps.spine.consumer_states("MESSAGES_INBOUND")):
            await asyncio.sleep(0.1)
