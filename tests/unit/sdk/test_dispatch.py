"""One delivery: decoded, handed to its handler, its effects stored first, counted, and never of another tenant."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from penstock import sdk
from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.messages.v1 import message_pb2
from penstock.sdk import dispatch
from penstock.spine import ports

CONTEXT = contexts.start(ids.TenantId("acme"))


@dataclasses.dataclass
class Delivery:
    """A delivery that a dispatch only reads."""

    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    subject: str = "tenant.acme.messages.in.p01.webhook.acc-1.room"
    stream: str = "MESSAGES_INBOUND"
    consumer: str = "app_acme_echo"
    sequence: int = 1
    deliveries: int = 1
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    async def ack(self) -> None: ...

    async def retry(self, delay_s: float) -> None: ...

    async def terminate(self) -> None: ...

    async def extend(self) -> None: ...


def event(**fields: str) -> Delivery:
    made = {"event_id": "e1", "tenant": "acme", "channel": "webhook", "account": "acc-1", "conversation": "room"}
    made["message_id"] = "m1"
    return Delivery(message_pb2.Message(**{**made, **fields}).SerializeToString())


async def refuse(_: ports.Outgoing) -> ports.Published:
    raise errors.Unavailable("away", "no server", after_s=7)


async def accept(message: ports.Outgoing) -> ports.Published:
    return ports.Published(message.stream, 1, duplicate=False)


def app(name: str = "echo") -> sdk.App:
    made = sdk.App(name)

    @made.on_message
    async def answer(message: sdk.Message) -> None:
        if message.text == "fail":
            raise ValueError
        await message.reply("hi")

    return made


async def test_a_body_that_names_another_tenant_is_poison() -> None:
    with pytest.raises(errors.Poisoned, match="tenant_mismatch"):
        await dispatch.Dispatch(app(), accept).handle(CONTEXT, event(tenant="globex"))


async def test_a_body_that_is_no_event_is_poison() -> None:
    with pytest.raises(errors.Poisoned, match="undecodable"):
        await dispatch.Dispatch(app(), accept).handle(CONTEXT, Delivery(b"\xff"))


async def test_a_bus_that_is_away_makes_the_run_unavailable_for_as_long_as_it_says() -> None:
    with pytest.raises(errors.Unavailable) as raised:
        await dispatch.Dispatch(app(), refuse).handle(CONTEXT, event(text="hello"))
    assert raised.value.after_s == 7


async def test_every_run_is_counted_by_its_outcome() -> None:
    run = dispatch.Dispatch(app("counted"), accept)
    await run.handle(CONTEXT, event(text="hello"))
    with pytest.raises(ValueError):  # noqa: PT011 - the handler's own
        await run.handle(CONTEXT, event(text="fail"))
    edit = message_pb2.Message(event_id="e2", tenant="acme")
    edit.relation.edit.message_id = "m1"
    await run.handle(CONTEXT, Delivery(edit.SerializeToString()))
    page = telemetry.exposition().decode()
    assert 'penstock_app_events_total{app="counted",kind="message",outcome="handled"} 1.0' in page
    assert 'penstock_app_events_total{app="counted",kind="message",outcome="failed"} 1.0' in page
    assert 'penstock_app_events_total{app="counted",kind="edit",outcome="ignored"} 1.0' in page
    assert 'penstock_app_commands_total{act="reply",app="counted"} 1.0' in page
    assert 'penstock_app_seconds_count{app="counted"} 2.0' in page


def test_the_lane_is_the_conversation() -> None:
    assert dispatch.lane_of(event()) == dispatch.lane_of(event(event_id="e2"))
