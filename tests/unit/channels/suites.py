"""What every table of commands and of messages must do: the ones in memory and the ones in Postgres run the same."""

from penstock.base import context as contexts
from penstock.channels import ports
from penstock.channels.model import command as model
from penstock.channels.model import event
from penstock.channels.model.command import Claimed, Outcome, Settled, State
from penstock.channels.service import stores
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports as spine_ports
from penstock.spine import route
from tests.unit.channels import fakes

CONTEXT = contexts.start(fakes.ACME)


def receipt(command: outbound_pb2.SendCommand, outcome: Outcome) -> spine_ports.Outgoing:
    context = contexts.start(fakes.ids.TenantId(command.tenant))
    return route.RECEIPT.encode(context, model.receipt(command, outcome, fakes.NOW))


async def finish(
    table: stores.KeepsCommands, command: outbound_pb2.SendCommand, outcome: Outcome, holder: str = "p1"
) -> bool:
    told = receipt(command, outcome) if outcome.state.final else None
    return await table.finish(command, outcome, holder=holder, receipt=told, numbered=False)


async def check_command_table(table: stores.KeepsCommands) -> None:
    """Every rule of claiming and finishing."""
    await _check_a_plain_send(table)
    await _check_attempts_of_one_holder(table)
    await _check_take_over(table)
    await _check_refusals(table)
    await _check_other_words(table)
    await _check_tenants(table)
    await _check_targets(table)


async def _check_a_plain_send(table: stores.KeepsCommands) -> None:
    command = fakes.command("plain")
    assert await table.claim(command, holder="p1", sending=True) == Claimed(1, 0)
    assert await finish(table, command, Outcome(State.SENT, 1, 0, message_id="m"))
    assert not await finish(table, command, Outcome(State.REJECTED, 1, 0))
    for holder in ("p1", "p2"):
        assert await table.claim(command, holder=holder, sending=True) == Settled(State.SENT, same=True)


async def _check_attempts_of_one_holder(table: stores.KeepsCommands) -> None:
    """A claim whose commit was not heard of is no attempt; an attempt that was closed is."""
    command = fakes.command("again")
    for _ in range(2):
        assert await table.claim(command, holder="p1", sending=True) == Claimed(1, 0)
    assert await finish(table, command, Outcome(State.WAITING, 1, 0))
    assert await finish(table, command, Outcome(State.WAITING, 1, 0))
    assert await table.claim(command, holder="p1", sending=True) == Claimed(2, 0)
    assert await finish(table, command, Outcome(State.WAITING, 2, 1))
    assert await table.claim(command, holder="p2", sending=True) == Claimed(3, 1)
    assert await finish(table, command, Outcome(State.SENT, 3, 1), "p2")


async def _check_take_over(table: stores.KeepsCommands) -> None:
    """What another left behind while sending is ambiguous, and the other may not finish it any more."""
    command = fakes.command("crashed")
    await table.claim(command, holder="p1", sending=True)
    assert await table.claim(command, holder="p2", sending=True) == Claimed(2, 1)
    assert not await finish(table, command, Outcome(State.SENT, 1, 0), "p1")
    assert await table.claim(command, holder="p3", sending=False) == Claimed(2, 2)
    assert await finish(table, command, Outcome(State.UNKNOWN, 2, 2), "p3")
    assert await table.claim(command, holder="p4", sending=True) == Settled(State.UNKNOWN, same=True)


async def _check_refusals(table: stores.KeepsCommands) -> None:
    """A refusal counts no attempt, and is never taken for a send that was cut short."""
    command = fakes.command("refused")
    assert await table.claim(command, holder="p1", sending=False) == Claimed(0, 0)
    assert await table.claim(command, holder="p2", sending=False) == Claimed(0, 0)
    assert await finish(table, command, Outcome(State.EXPIRED, 0, 0, code="expired"), "p2")


async def _check_other_words(table: stores.KeepsCommands) -> None:
    first, other = fakes.command("words"), fakes.command("words", "others")
    await table.claim(first, holder="p1", sending=True)
    assert await table.claim(other, holder="p2", sending=True) == Settled(State.SENDING, same=False)
    assert await finish(table, first, Outcome(State.SENT, 1, 0))
    assert await table.claim(other, holder="p2", sending=True) == Settled(State.SENT, same=False)


async def _check_tenants(table: stores.KeepsCommands) -> None:
    acme, beta = fakes.command("shared"), fakes.command("shared", tenant="beta")
    for command in (acme, beta):
        assert await table.claim(command, holder="p1", sending=True) == Claimed(1, 0)
    assert await finish(table, acme, Outcome(State.SENT, 1, 0))
    assert await table.claim(beta, holder="p1", sending=True) == Claimed(1, 0)


async def _check_targets(table: stores.KeepsCommands) -> None:
    """What was said is found by its command: by the same app, in the same conversation, once it was sent."""
    said = fakes.command("said", app="echo")
    await table.claim(said, holder="p1", sending=True)
    edit = fakes.command("edit", target_command_id="said", app="echo")
    assert await table.target(edit) == ""
    assert await finish(table, said, Outcome(State.SENT, 1, 0, message_id="m7"))
    assert await table.target(edit) == "m7"
    for other in ({"app": "else"}, {"conversation": "else"}, {"tenant": "beta"}, {"target_command_id": "none"}):
        assert await table.target(fakes.command("edit", **{"target_command_id": "said", "app": "echo", **other})) == ""


def complete(
    account: ports.Account, *messages: message_pb2.Message
) -> tuple[list[event.Event], list[spine_ports.Outgoing]]:
    """Events and what publishes them, as the service makes them."""
    events = [event.complete(message, account, fakes.NOW) for message in messages]
    context = contexts.start(account.tenant)
    return events, [route.INBOUND.encode(context, one.message) for one in events]


async def check_message_table(table: stores.KeepsMessages) -> None:
    """New is new once; known is known for ever; changed is told; accounts and tenants do not meet."""
    here, there, beta = fakes.account(), fakes.account(letter="b"), fakes.account(fakes.BETA)
    first = await table.add(here, *complete(here, fakes.message("z"), fakes.message("a")))
    assert (first.new, first.changed) == ({"z", "a"}, frozenset())
    again = await table.add(here, *complete(here, fakes.message("a"), fakes.message("m"), fakes.message("z", "other")))
    assert (again.new, again.changed) == ({"m"}, {"z"})
    nothing = await table.add(here, *complete(here, fakes.message("a"), fakes.message("m")))
    assert (nothing.new, nothing.changed) == (frozenset(), frozenset())
    for elsewhere in (there, beta):
        assert (await table.add(elsewhere, *complete(elsewhere, fakes.message("z")))).new == {"z"}
