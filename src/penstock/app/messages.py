"""Listening to a tenant's conversations as they happen, and saying something in one of them, for an operator.

Listening costs the streams nothing: what is published into them is heard on core NATS by whoever subscribes, and what
came before, or while nobody listened, is not. Saying goes the way of every app's words, so it is sent once however
often it is asked for under one id, and its end is a row that can be read.
"""

import asyncio
import contextlib
import dataclasses
import datetime
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

from google.protobuf import timestamp_pb2

from penstock.app import house
from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.channels import errors as channel_errors
from penstock.channels.model import command as model
from penstock.channels.store import commands
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports, route, stream, subject
from penstock.state import quarantine

APP: Final = "cli"
"""As which app an operator speaks."""

DIRECTIONS: Final = ("in", "out", "receipts")
LOOKS_EVERY_S: Final = 0.5
"""How often the row of a command is looked at, besides whenever a receipt of its account is heard."""


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """What of a tenant to listen to; an empty text means any. `text` is looked for in any case."""

    tenant: str
    channel: str = ""
    account: str = ""
    conversation: str = ""
    direction: str = ""
    text: str = ""

    def patterns(self) -> list[str]:
        """The subjects to subscribe to. Raises Rejected for what cannot be a part of one."""
        found: list[str] = []
        for direction in [self.direction] if self.direction else DIRECTIONS:
            if direction == "receipts":
                found.append(subject.all_receipts(self.tenant, account=self.account))
            elif direction in DIRECTIONS:
                parts = {"channel": self.channel, "account": self.account, "conversation": self.conversation}
                found.append(subject.conversations(self.tenant, direction, **parts))
            else:
                raise errors.Rejected(
                    "bad_direction", f"direction is one of {', '.join(DIRECTIONS)}", field="direction"
                )
        return found

    def wants(self, heard: "Heard") -> bool:
        """Whether it is to be shown; the subscription has seen to most of it."""
        return (
            (not self.channel or heard.channel == self.channel)
            and (not self.conversation or heard.conversation == self.conversation)
            and (not self.text or self.text.casefold() in f"{heard.text}\n{heard.detail}".casefold())
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """One message, command or receipt. `id` is the event's or the command's, `detail` why a command was not sent."""

    direction: str
    at: datetime.datetime
    channel: str
    account: str
    conversation: str
    who: str
    kind: str
    text: str
    id: str
    message_id: str
    correlation_id: str
    trace_id: str
    code: str = ""
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """What to say where; `id` makes it the same however often it is asked for."""

    account: str
    conversation: str
    text: str
    reply_to: str = ""
    id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """What became of it.

    `state` is accepted until its end was waited for, running if that did not come in time, quarantined if the consumer
    gave it up: then nothing more happens to it until somebody sends it again.
    """

    command_id: str
    duplicate: bool
    state: str
    message_id: str = ""
    code: str = ""
    detail: str = ""
    attempts: int = 0


@contextlib.asynccontextmanager
async def listening(spine: ports.Spine, chosen: Chosen, hear: Callable[[Heard], None]) -> AsyncGenerator[None]:
    """Call `hear` for everything that is wanted, from the beginning of the block to its end; it must not block.

    Raises Rejected for a choice that cannot be made, Unavailable.
    """

    async def receive(signal: ports.Signal) -> None:
        heard = read(signal)
        if heard is not None and chosen.wants(heard):
            hear(heard)

    async with contextlib.AsyncExitStack() as stack:
        for pattern in chosen.patterns():
            subscription = await spine.listen(pattern, receive)
            stack.push_async_callback(subscription.close)
        yield


def read(signal: ports.Signal) -> Heard | None:
    """What a signal tells; None for what is none of the three, or does not parse."""
    try:
        context = contexts.of_message(subject.tenant_of(signal.subject), signal.headers)
        declared = signal.headers.get(contexts.MESSAGE_TYPE, "")
        for known, told in _TOLD.items():
            if known.type_name == declared:
                return told(known.decode(signal.headers, signal.body), context)
    except errors.PenstockError:
        return None
    return None


def _message(said: message_pb2.Message, context: contexts.Context) -> Heard:
    return Heard(
        direction="in",
        at=_moment(said.received_at),
        who=said.sender.display_name or said.sender.id,
        kind=said.relation.WhichOneof("kind") or "message",
        text=said.text or said.relation.reaction.name,
        id=said.event_id,
        message_id=said.message_id,
        **_place(said, context),
    )


def _command(said: outbound_pb2.SendCommand, context: contexts.Context) -> Heard:
    return Heard(
        direction="out",
        at=_moment(said.created_at),
        who=said.app,
        kind=said.relation.WhichOneof("kind") or "message",
        text=said.text or said.relation.reaction.name,
        id=said.command_id,
        message_id=said.relation.reply.message_id,
        **_place(said, context),
    )


def _receipt(said: outbound_pb2.Receipt, context: contexts.Context) -> Heard:
    status = outbound_pb2.ReceiptStatus.Name(said.status).removeprefix("RECEIPT_STATUS_").lower()
    return Heard(
        direction="receipts",
        at=_moment(said.at),
        who="",
        kind=status,
        text="",
        id=said.command_id,
        message_id=said.message_id,
        code=said.code,
        detail=said.detail,
        **_place(said, context),
    )


_TOLD: Final[Mapping[Any, Callable[[Any, contexts.Context], Heard]]] = {
    route.INBOUND: _message,
    route.OUTBOUND: _command,
    route.RECEIPT: _receipt,
}


def _place(
    said: message_pb2.Message | outbound_pb2.SendCommand | outbound_pb2.Receipt, context: contexts.Context
) -> dict[str, Any]:
    return {
        "channel": said.channel,
        "account": said.account,
        "conversation": said.conversation,
        "correlation_id": context.correlation_id,
        "trace_id": context.trace_id,
    }


def _moment(stamp: timestamp_pb2.Timestamp) -> datetime.datetime:
    """A time that somebody else wrote; one that is none is the beginning of all."""
    try:
        return stamp.ToDatetime(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        return datetime.datetime.fromtimestamp(0, datetime.UTC)


class Speaker:
    """Says things in a tenant's conversations."""

    def __init__(self, joined: house.House, spine: ports.Spine) -> None:
        self._joined, self._spine = joined, spine
        self._commands = commands.CommandStore(joined.database)

    async def send(self, tenant: str, words: Words, *, wait_s: float = 0.0) -> Said:
        """Ask for it, and with `wait_s` follow it to its end, for so long.

        Raises Rejected: no such tenant or account (404), suspended (403), `bad_id`, `command_conflict` (409) when other
        words were said under the same id; Unavailable.
        """
        owner = ids.tenant_id(tenant)
        await self._joined.tenancy.require_active(owner)
        found = await self._joined.channels.accounts.show(owner, words.account)
        command = _worded(owner, found.account.channel, words)
        known = await self._commands.end(owner, command.command_id)
        if known is not None and known.body_hash not in {b"", model.fingerprint(command)}:
            raise channel_errors.command_conflict()
        heard = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            if wait_s:
                chosen = Chosen(tenant, account=words.account, direction="receipts")
                await stack.enter_async_context(listening(self._spine, chosen, lambda _: heard.set()))
            published = await self._spine.publish(_outgoing(owner, command))
            said = Said(command.command_id, published.duplicate or known is not None, "accepted")
            return await self._followed(owner, said, published.sequence, heard, wait_s) if wait_s else said

    async def _followed(
        self, tenant: ids.TenantId, said: Said, sequence: int, heard: asyncio.Event, wait_s: float
    ) -> Said:
        """What its row, or one in quarantine, says in the end, or after `wait_s`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while True:
            heard.clear()
            found = await self._commands.end(tenant, said.command_id)
            if found is not None and found.outcome.state.final:
                break
            if (given_up := await self._given_up(tenant, sequence)) is not None:
                hint = f"{given_up.detail}; 'penstock quarantine show {given_up.id}' has it"
                return dataclasses.replace(said, state="quarantined", code=given_up.code, detail=hint)
            left_s = until_s - loop.time()
            if left_s <= 0:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, LOOKS_EVERY_S)):
                    await heard.wait()
        if found is None:
            return dataclasses.replace(said, state="running")
        outcome = found.outcome
        return dataclasses.replace(
            said,
            state=outcome.state.value if outcome.state.final else "running",
            message_id=outcome.message_id,
            code=outcome.code,
            detail=outcome.detail,
            attempts=outcome.attempts,
        )

    async def _given_up(self, tenant: ids.TenantId, sequence: int) -> quarantine.Quarantined | None:
        """The command in quarantine, unless it is under way again."""
        chosen = quarantine.Filter(stream=stream.MESSAGES_OUTBOUND.name, redriven=False)
        rows = await self._joined.quarantine.list(tenant, chosen)
        return next((row for row in rows if row.sequence == sequence), None)


def _outgoing(tenant: ids.TenantId, command: outbound_pb2.SendCommand) -> ports.Outgoing:
    """A command whose id somebody chose, under a message id that nobody guesses.

    The stream drops a second message of one id, whoever sent the first: another tenant's app might have. Commands of
    one id are one by their row, not by this.
    """
    outgoing = route.OUTBOUND.encode(contexts.start(tenant), command)
    message_id = f"{tenant}:{ids.derive_id('said', tenant, command.account, command.command_id)}"
    return dataclasses.replace(outgoing, headers={**outgoing.headers, contexts.MESSAGE_ID: message_id})


def _worded(tenant: ids.TenantId, channel: str, words: Words) -> outbound_pb2.SendCommand:
    command = outbound_pb2.SendCommand(
        command_id=words.id or ids.new_id(),
        tenant=tenant,
        channel=channel,
        account=words.account,
        conversation=words.conversation,
        text=words.text,
        app=APP,
        on_ambiguous=outbound_pb2.ON_AMBIGUOUS_RESEND,
    )
    if words.reply_to:
        command.relation.reply.message_id = words.reply_to
    command.created_at.GetCurrentTime()
    try:
        model.check_storable(command)
    except errors.Poisoned as error:
        raise errors.Rejected("bad_id", error.detail, field="id") from None
    return command
