"""A delivery must be what its subject says, and conversations are lanes."""

import dataclasses
from collections.abc import Mapping

import pytest

from penstock.base import context as contexts
from penstock.base import errors
from penstock.channels import consumers
from penstock.messages.v1 import outbound_pb2
from penstock.spine import route
from tests.unit.channels import fakes

CONTEXT = contexts.start(fakes.ACME)


@dataclasses.dataclass
class Delivery:
    subject: str
    headers: Mapping[str, str]
    body: bytes


class Service:
    def __init__(self) -> None:
        self.performed: list[outbound_pb2.SendCommand] = []

    async def perform(self, _context: contexts.Context, command: outbound_pb2.SendCommand) -> None:
        self.performed.append(command)


def delivery(command: outbound_pb2.SendCommand, **changes: object) -> Delivery:
    out = route.OUTBOUND.encode(contexts.start(fakes.ids.TenantId(command.tenant)), command)
    return dataclasses.replace(Delivery(out.subject, out.headers, out.body), **changes)  # type: ignore[arg-type]


async def handle(one: Delivery) -> Service:
    service = Service()
    await consumers.OutboundConsumer(service).handle(CONTEXT, one)  # type: ignore[arg-type]
    return service


async def test_a_command_is_performed():
    assert (await handle(delivery(fakes.command()))).performed == [fakes.command()]


@pytest.mark.parametrize(
    "changed",
    [
        {"tenant": "beta"},
        {"channel": "slack"},
        {"account": "acc-other"},
        {"conversation": "elsewhere"},
        {"tenant": "a.b"},
        {"channel": "A>"},
        {"account": "a.*"},
        {"tenant": ""},
    ],
)
async def test_a_body_that_is_not_its_subjects_is_poison(changed: dict[str, str]):
    forged = fakes.command(**changed).SerializeToString()
    with pytest.raises(errors.Poisoned):
        await handle(delivery(fakes.command(), body=forged))


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\xff", b"{}"])
async def test_a_body_that_does_not_parse_is_poison(body: bytes):
    with pytest.raises(errors.Poisoned):
        await handle(delivery(fakes.command(), body=body))


def test_conversations_are_lanes():
    def lane(**fields: str) -> str:
        return consumers.lane_of(delivery(fakes.command(**fields)))  # type: ignore[arg-type]

    assert lane() == lane(command_id="c2", text="other")
    others = {lane(), lane(conversation="Room 2/ü"), lane(account="acc-b"), lane(tenant="beta")}
    assert len(others) == 4
