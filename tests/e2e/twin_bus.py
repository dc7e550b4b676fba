"""What an app of acme can say on the bus about globex: on every subject that globex's apps use, and by every question.

The login is the one that the installation leaves for acme's apps.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from google.protobuf import message as protobuf

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import desk_pb2, outbound_pb2, quarantine_pb2
from penstock.sdk import connection
from penstock.spine import access, consumer, route, stream
from penstock.spine.plane import address, headers
from penstock.spine.plane import link as links
from tests.e2e import twins

ANSWERED_S: Final = 10.0


@contextlib.asynccontextmanager
async def app(environ: Mapping[str, str], tenant: str) -> AsyncGenerator[links.Link]:
    """A bare client with the login of a tenant's apps, to do with it what one likes."""
    found = connection.find(environ, ids.tenant_id(tenant))
    link = links.Link(address.address(found.url.reveal(), user=found.user, password=found.password.reveal()))
    await link.open(wait_s=ANSWERED_S)
    try:
        answer = await link.call(f"{address.API_PREFIX}.INFO", b"", ANSWERED_S)
        assert b'"err_code":10039' in answer.body, "the login has no walls"
        yield link
    finally:
        await link.close()


async def answers(link: links.Link, tenant: str) -> list[tuple[str, str, bytes]]:
    """What is answered on every subject that the account of a tenant imports, by how the subject begins."""
    told: list[tuple[str, str, bytes]] = []
    for each in access.of_tenant(tenant, [twins.APP]).imports:
        concrete = ".".join("1" if word in {"*", ">"} else word for word in each.subject.split("."))
        for body in (b"", desk_pb2.DeskRequest(knock=desk_pb2.Knock()).SerializeToString()):
            answer = await link.call(concrete, body, ANSWERED_S)
            told.append((each.subject.replace(tenant, "<tenant>"), str(answer.status), answer.body))
    return told


def questions(tenant: str, sequence: int) -> Mapping[str, Sequence[Any]]:
    """Every question of the desk, about what a tenant has: its app, its durables, its message of that sequence."""
    durable = consumer.of_app(tenant, twins.APP).durables()[0]
    record = quarantine_pb2.Quarantined(
        tenant=tenant,
        consumer=consumer.of_app(tenant, twins.APP).name,
        stream=durable.stream,
        subject=f"tenant.{tenant}.messages.in.p00.webhook.acc-1.room",
        sequence=sequence,
    )
    of_ours = consumer.of_app(twins.ACME, twins.APP)
    forged = [record, quarantine_pb2.Quarantined(), quarantine_pb2.Quarantined()]
    for one, fields in zip(forged[1:], ({"consumer": of_ours.name}, {"tenant": twins.ACME}), strict=True):
        one.CopyFrom(record)
        for name, text in fields.items():
            setattr(one, name, text)
    key = f"{durable.name}.{durable.stream}.{sequence}.1"
    return {
        "joining": [desk_pb2.Joining(app=twins.APP, durable=durable.name)],
        "place": [desk_pb2.Place(stream=stream.MESSAGES_INBOUND.name, sequence=sequence)],
        "suspect": [
            desk_pb2.SuspectEntry(key=key, act=act, value=b"1")
            for act in desk_pb2.SuspectAct.values()  # type: ignore[attr-defined]
        ],
        "quarantined": forged,
        "knock": [],  # about nothing
        "release": [desk_pb2.Release(durable=durable.name)],
        "standing": [desk_pb2.Standing(durable=durable.name)],
    }


async def refusals(link: links.Link, tenant: str, sequence: int) -> list[tuple[str, protobuf.Message]]:
    """What the desk answers to all of them."""
    told: list[tuple[str, protobuf.Message]] = []
    for which, bodies in questions(tenant, sequence).items():
        where = f"penstock.join.{twins.ACME}" if which == "joining" else f"penstock.desk.{twins.ACME}.{twins.APP}.ask"
        for body in bodies:
            question = desk_pb2.DeskRequest(**{which: body}).SerializeToString()
            answer = await link.call(where, question, ANSWERED_S)
            told.append((which, desk_pb2.DeskReply.FromString(answer.body)))
    return told


async def speak(link: links.Link, account: str, command_id: str) -> None:
    """Say something as acme in that account."""
    command = outbound_pb2.SendCommand(
        command_id=command_id,
        tenant=twins.ACME,
        channel="webhook",
        account=account,
        conversation=twins.ROOM,
        text="Hello from acme",
    )
    told = route.OUTBOUND.encode(contexts.start(ids.tenant_id(twins.ACME)), command)
    block = headers.block(told.headers)
    answer = await link.call(told.subject, told.body, ANSWERED_S, headers_block=block)
    assert json.loads(answer.body)["stream"] == told.stream
