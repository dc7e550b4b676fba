"""nats-server's store under a system that runs: deleted, replaced by an older copy of itself, or regrown by strangers.

Folders are touched only while nobody uses them: while nats-server is away, or paused.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nats
from nats.js.client import JetStreamContext

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports, route
from tests.e2e import installation as installations

if TYPE_CHECKING:
    from tests.soak import stage as stages

STRANGER = ids.tenant_id("stranger")
"""A tenant of nobody's, under which a store grows."""


def _folder(stage: "stages.Stage") -> Path:
    return stage.installation.data / "nats" / "jetstream"


async def copy(stage: "stages.Stage") -> Path:
    """A copy of the store as it is at this moment, as a snapshot of its disk would be."""
    target = stage.installation.folder / "store-of-before"
    async with stage.parts["nats"].paused():
        await _run("rm", "-rf", str(target))
        await _run("cp", "-a", str(_folder(stage)), str(target))
    return target


async def lose(stage: "stages.Stage") -> None:
    """Delete the whole store; nats-server comes back without anything."""
    async with stage.away("nats"):
        await _run("rm", "-rf", str(_folder(stage)))


async def restore(stage: "stages.Stage", older: Path) -> None:
    """Put an older copy in the store's place; nats-server comes back with that."""
    async with stage.away("nats"):
        await _run("rm", "-rf", str(_folder(stage)))
        await _run("cp", "-a", str(older), str(_folder(stage)))


async def regrow(stage: "stages.Stage", older: Path) -> None:
    """Restore an older copy and let every stream grow past where it was, before any core or app looks at it."""
    async with contextlib.AsyncExitStack() as stack:
        for name, part in stage.parts.items():
            if name.startswith(("core", "app")):
                await stack.enter_async_context(part.paused())
        async with jetstream(stage.installation) as client:
            before = await _last(client)
        await restore(stage, older)
        async with jetstream(stage.installation) as client:
            await _grow(client, before)


@contextlib.asynccontextmanager
async def jetstream(installation: installations.Installation) -> AsyncGenerator[JetStreamContext]:
    """The server's own view of streams and consumers, by the vendor's client."""
    where = installation.endpoints
    client = await nats.connect(
        where.nats_url, user=where.nats_user, password=where.nats_password, error_cb=_nobody_minds
    )
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def _nobody_minds(_: Exception) -> None:
    """It is tried again."""


async def handed_out(stage: "stages.Stage", stream: str, consumer: str) -> int:
    """How many deliveries the durables of one consumer have made since they were made; each delivery counts."""
    async with jetstream(stage.installation) as client:
        found = await client.consumers_info(stream)
    ours = [each for each in found if each.name == consumer or each.name.startswith(f"{consumer}_r")]
    return sum(each.delivered.consumer_seq for each in ours if each.delivered)


async def durables(installation: installations.Installation, stream: str) -> list[str]:
    """Where each durable of a stream is, a line each; the stream comes first."""
    async with jetstream(installation) as client:
        state = (await client.stream_info(stream)).state
        found = await client.consumers_info(stream)
    return [f"{stream}: {state.first_seq} to {state.last_seq}"] + [
        f"  {each.name}: floor {each.ack_floor.stream_seq if each.ack_floor else 0}, {each.num_ack_pending} held, "
        f"{each.num_redelivered} again, {each.num_pending} waiting, {each.num_waiting} asked for"
        for each in found
    ]


async def last_sequence(stage: "stages.Stage", stream: str) -> int:
    """How many messages the stream was ever given."""
    async with jetstream(stage.installation) as client:
        return (await client.stream_info(stream)).state.last_seq


async def _last(client: JetStreamContext) -> Mapping[str, int]:
    """The last sequence of each stream of conversations."""
    return {name: (await client.stream_info(name)).state.last_seq for name in _STRANGE}


async def _grow(client: JetStreamContext, past: Mapping[str, int]) -> None:
    """Publish as a stranger until each stream is longer than it was."""
    for name, last in (await _last(client)).items():
        wanted = range(max(0, past[name] - last) + 10)
        for begin in wanted[::50]:
            strangers = [_STRANGE[name](number) for number in wanted[begin : begin + 50]]
            await asyncio.gather(
                *(client.publish(each.subject, each.body, headers=dict(each.headers)) for each in strangers)
            )


def _strange(number: int) -> dict[str, str]:
    return {"tenant": STRANGER, "channel": "webhook", "account": "nobody", "conversation": f"nowhere-{number % 64}"}


def _message(number: int) -> ports.Outgoing:
    message = message_pb2.Message(event_id=f"{_RUN}-{number}", text="of no interest", **_strange(number))
    return route.INBOUND.encode(contexts.start(STRANGER), message)


def _command(number: int) -> ports.Outgoing:
    command = outbound_pb2.SendCommand(command_id=f"{_RUN}-{number}", text="of no interest", **_strange(number))
    return route.OUTBOUND.encode(contexts.start(STRANGER), command)


def _receipt(number: int) -> ports.Outgoing:
    receipt = outbound_pb2.Receipt(
        command_id=f"{_RUN}-{number}", status=outbound_pb2.RECEIPT_STATUS_REJECTED, **_strange(number)
    )
    return route.RECEIPT.encode(contexts.start(STRANGER), receipt)


_RUN = ids.new_id()
_STRANGE: Mapping[str, Callable[[int], ports.Outgoing]] = {
    "MESSAGES_INBOUND": _message,
    "MESSAGES_OUTBOUND": _command,
    "RECEIPTS": _receipt,
}


async def _run(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(*arguments)
    assert await process.wait() == 0, arguments
