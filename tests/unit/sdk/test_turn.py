"""What a handler does has a number, leaves in order, and is safe to do again."""

import asyncio
import gc

import pytest

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sdk import turn
from penstock.sdk.model import Act, Attachment, Effect, OnAmbiguous, Sent
from penstock.spine import ports

CONTEXT = contexts.start(ids.TenantId("acme"))
EVENT = message_pb2.Message(
    event_id="e1",
    tenant="acme",
    channel="webhook",
    account="acc-1",
    conversation="room 1",
    thread="side",
    message_id="m1",
    text="hello",
)


class Bus:
    """Stores commands; `wait` holds the next one back, `refuse` are errors to raise first."""

    def __init__(self) -> None:
        self.stored: list[ports.Outgoing] = []
        self.refuse: list[Exception] = []
        self.wait: asyncio.Event | None = None

    async def publish(self, message: ports.Outgoing) -> ports.Published:
        if self.wait is not None:
            await self.wait.wait()
        await asyncio.sleep(0)
        if self.refuse:
            raise self.refuse.pop(0)
        known = [m.headers["Nats-Msg-Id"] for m in self.stored]
        self.stored.append(message)
        return ports.Published(message.stream, len(self.stored), message.headers["Nats-Msg-Id"] in known)

    @property
    def commands(self) -> list[outbound_pb2.SendCommand]:
        return [outbound_pb2.SendCommand.FromString(message.body) for message in self.stored]

    @property
    def texts(self) -> list[str]:
        return [command.text for command in self.commands]


def begin(bus: Bus, *, app: str = "echo", event: message_pb2.Message = EVENT) -> turn.Turn:
    return turn.Turn(app, CONTEXT, event, bus.publish)


def say(text: str) -> Effect:
    return Effect(Act.SAY, text)


async def test_a_reply_is_stored_when_its_call_returns() -> None:
    bus = Bus()
    sent = await begin(bus).send(Effect(Act.REPLY, "hi", "m1"))
    (command,), (outgoing,) = bus.commands, bus.stored
    assert sent == Sent(command.command_id, repeated=False)
    assert (command.tenant, command.channel, command.account) == ("acme", "webhook", "acc-1")
    assert (command.conversation, command.thread, command.text) == ("room 1", "side", "hi")
    assert (command.app, command.cause_event_id) == ("echo", "e1")
    assert command.relation.reply.message_id == "m1"
    assert outgoing.stream == "MESSAGES_OUTBOUND"


async def test_the_trace_and_correlation_of_the_event_go_on() -> None:
    bus = Bus()
    await begin(bus).send(say("hi"))
    headers = bus.stored[0].headers
    assert headers["x-correlation-id"] == CONTEXT.correlation_id
    assert headers["traceparent"].split("-")[1] == CONTEXT.trace_id


async def test_a_run_that_is_repeated_asks_for_the_same_commands() -> None:
    bus = Bus()
    first, again = begin(bus), begin(bus)
    before = [await first.send(say("a")), await first.send(say("b"))]
    after = [await again.send(say("another text")), await again.send(say("b"))]
    assert [sent.id for sent in before] == [sent.id for sent in after]
    assert len({sent.id for sent in before}) == 2
    assert [sent.repeated for sent in after] == [True, True]


async def test_ids_differ_by_event_account_tenant_and_app() -> None:
    def event(**changed: str) -> message_pb2.Message:
        made = message_pb2.Message.FromString(EVENT.SerializeToString())
        for name, value in changed.items():
            setattr(made, name, value)
        return made

    made = {
        turn.command_id(EVENT, "echo", 0),
        turn.command_id(EVENT, "echo", 1),
        turn.command_id(EVENT, "other", 0),
        turn.command_id(event(event_id="e2"), "echo", 0),
        turn.command_id(event(account="acc-2"), "echo", 0),
        turn.command_id(event(tenant="globex"), "echo", 0),
    }
    assert len(made) == 6


def test_ids_are_frozen() -> None:
    assert turn.command_id(EVENT, "echo", 0) == "88c5efd0522416de48fcec116c8f7a2e"


async def test_effects_leave_in_the_order_of_the_calls() -> None:
    bus = Bus()
    run = begin(bus)
    calls = [run.send(say(str(number))) for number in range(5)]
    await asyncio.gather(*reversed(calls))
    assert bus.texts == ["0", "1", "2", "3", "4"]


async def test_what_was_never_awaited_is_published_before_the_handler_ends() -> None:
    bus = Bus()
    run = begin(bus)
    forgotten = run.send(say("forgotten"))
    await run.send(say("awaited"))
    await run.finish()
    assert bus.texts == ["forgotten", "awaited"]
    forgotten.close()


async def test_a_refusal_nobody_awaited_fails_the_run() -> None:
    bus = Bus()
    bus.refuse = [errors.Rejected("too_large", "over the limit")]
    run = begin(bus)
    forgotten = run.send(say("forgotten"))
    with pytest.raises(errors.Rejected, match="too_large"):
        await run.finish()
    forgotten.close()


async def test_a_refusal_may_be_got_over() -> None:
    bus = Bus()
    bus.refuse = [errors.Rejected("too_large", "over the limit")]
    run = begin(bus)
    with pytest.raises(errors.Rejected, match="too_large"):
        await run.send(say("long"))
    await run.send(say("short"))
    await run.finish()
    assert bus.texts == ["short"]


async def test_nothing_overtakes_what_could_not_be_published() -> None:
    bus = Bus()
    bus.refuse = [errors.Unavailable("away", "no server")]
    run = begin(bus)
    for text in ("first", "second"):
        with pytest.raises(errors.Unavailable, match="away"):
            await run.send(say(text))
    assert bus.texts == []


async def test_a_handler_that_swallows_unavailable_is_run_again_all_the_same() -> None:
    bus = Bus()
    bus.refuse = [errors.Unavailable("away", "no server")]
    run = begin(bus)
    with pytest.raises(errors.Unavailable):
        await run.send(say("lost?"))
    with pytest.raises(errors.Unavailable, match="away"):
        await run.finish()


async def test_a_call_that_was_cancelled_is_published_by_the_end() -> None:
    bus = Bus()
    bus.wait = asyncio.Event()
    run = begin(bus)
    call = asyncio.create_task(run.send(say("slow")))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert bus.texts == []
    bus.wait.set()
    await run.send(say("next"))
    await run.finish()
    assert bus.texts == ["slow", "next"]


async def test_a_task_left_behind_sends_nothing_after_the_run() -> None:
    bus = Bus()
    run = begin(bus)
    left = run.send(say("left behind"))
    run.abandon()
    with pytest.raises(errors.Rejected, match="handler_ended"):
        await left
    with pytest.raises(errors.Rejected, match="handler_ended"):
        run.send(say("later"))
    assert bus.texts == []
    gc.collect()


@pytest.mark.parametrize(
    ("effect", "field"),
    [
        (say(""), "text"),
        (say("a\0b"), "text"),
        (say("\ud83d"), "text"),
        (Effect(Act.EDIT, "", "id"), "text"),
        (Effect(Act.EDIT, "new", ""), "sent"),
        (Effect(Act.DELETION), "sent"),
        (Effect(Act.REACTION, target="m1"), "reaction"),
        (Effect(Act.REACTION, reaction="👍"), "reaction"),
        (Effect(Act.SAY, "x", expires_in_s=0), "expires_in_s"),
        (Effect(Act.SAY, "x", expires_in_s=float("nan")), "expires_in_s"),
        (Effect(Act.SAY, "x", attachments=(Attachment("a\0"),)), "attachments[0].name"),
    ],
)
async def test_what_no_channel_could_be_asked_is_refused_with_its_field(effect: Effect, field: str) -> None:
    bus = Bus()
    with pytest.raises(errors.Rejected) as refused:
        begin(bus).send(effect)
    assert refused.value.field == field
    assert bus.stored == []


async def test_a_refused_call_keeps_its_number() -> None:
    bus = Bus()
    run = begin(bus)
    with pytest.raises(errors.Rejected):
        run.send(say(""))
    sent = await run.send(say("x"))
    assert sent.id == turn.command_id(EVENT, "echo", 1)


async def test_every_act_says_what_it_does_to_which_message() -> None:
    bus = Bus()
    run = begin(bus)
    sent = await run.send(Effect(Act.SAY, "hi", attachments=(Attachment("a.txt", "https://x/a", "text/plain", 3),)))
    await run.send(Effect(Act.REACTION, target="m1", reaction="👍"))
    await run.send(Effect(Act.EDIT, "ho", sent.id))
    await run.send(Effect(Act.DELETION, target=sent.id))
    said, reaction, edit, deletion = bus.commands
    assert said.relation.WhichOneof("kind") is None
    assert (said.attachments[0].name, said.attachments[0].url, said.attachments[0].size_bytes) == (
        "a.txt",
        "https://x/a",
        3,
    )
    assert (reaction.relation.reaction.message_id, reaction.relation.reaction.name) == ("m1", "👍")
    assert (edit.relation.WhichOneof("kind"), edit.target_command_id, edit.text) == ("edit", sent.id, "ho")
    assert (deletion.relation.WhichOneof("kind"), deletion.target_command_id) == ("deletion", sent.id)


async def test_how_it_is_sent_travels() -> None:
    bus = Bus()
    await begin(bus).send(Effect(Act.SAY, "x", expires_in_s=60, on_ambiguous=OnAmbiguous.REPORT))
    (command,) = bus.commands
    assert command.on_ambiguous == outbound_pb2.ON_AMBIGUOUS_REPORT
    assert command.expires_at.ToNanoseconds() - command.created_at.ToNanoseconds() == 60_000_000_000
