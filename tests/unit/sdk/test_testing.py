"""The chat of `sdk.testing` runs the whole worker contract, and says clearly what an app did wrong."""

import asyncio

import pytest

from penstock import sdk
from penstock.messages.v1 import message_pb2
from penstock.sdk import testing


def echo() -> sdk.App:
    app = sdk.App("echo")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await message.reply(f"You said: {message.text}")

    return app


async def test_three_lines_hold_a_conversation() -> None:
    async with testing.conversation(echo()) as chat:
        await chat.say("hello")
        assert await chat.reply() == "You said: hello"


async def test_replies_are_taken_one_by_one() -> None:
    async with testing.conversation(echo()) as chat:
        with pytest.raises(AssertionError, match="said nothing at all"):
            await chat.reply()
        await chat.say("a")
        await chat.say("b", conversation="elsewhere", sender="bob")
        assert [await chat.reply(), await chat.reply()] == ["You said: a", "You said: b"]
        with pytest.raises(AssertionError, match="said nothing more"):
            await chat.reply()


async def test_a_redelivery_is_handled_and_says_nothing_twice() -> None:
    app, runs = sdk.App("count"), []

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        runs.append(message.event_id)
        await message.reply("once")

    async with testing.conversation(app) as chat:
        await chat.say("hello")
        await chat.redeliver()
        await chat.redeliver()
        assert runs == ["event-1"] * 3
        assert chat.replies == ["once"]


async def test_nothing_can_be_redelivered_before_anything_was_said() -> None:
    async with testing.conversation(echo()) as chat:
        with pytest.raises(AssertionError, match="nothing was said"):
            await chat.redeliver()


async def test_what_a_handler_raised_fails_the_test_with_its_own_traceback() -> None:
    app = sdk.App("bad")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        raise ZeroDivisionError(message.text)

    async with testing.conversation(app) as chat:
        with pytest.raises(ZeroDivisionError, match="hello") as raised:
            await chat.say("hello")
        assert "quarantine" in raised.value.__notes__[0]
        assert raised.traceback[-1].name == "answer"
        assert len(chat.failures) == 5


@pytest.mark.parametrize("error", [sdk.Poisoned("bad", "never"), sdk.Rejected("no", "not like this")])
async def test_poisoned_and_rejected_are_tried_once(error: sdk.PenstockError) -> None:
    app = sdk.App("bad")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        raise error

    async with testing.conversation(app) as chat:
        with pytest.raises(type(error), match=error.code):
            await chat.say("hello")
        assert len(chat.failures) == 1


async def test_what_a_later_try_got_over_does_not_fail_the_test() -> None:
    app, tries = sdk.App("flaky"), iter((sdk.Unavailable("away", "later", after_s=3600), OSError("flaky"), None))

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await message.reply("one")
        if (error := next(tries)) is not None:
            raise error
        await message.reply("two")

    async with testing.conversation(app) as chat:
        await chat.say("hello")
        assert [type(error) for error in chat.failures] == [sdk.Unavailable, OSError]
        assert chat.replies == ["one", "two"]


async def test_an_app_that_hangs_is_said_to_hang() -> None:
    app = sdk.App("slow")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await asyncio.Event().wait()

    async with testing.conversation(app, deadline_s=0.05) as chat:
        with pytest.raises(AssertionError, match=r"has not dealt with the event after 0.05 s"):
            await chat.say("hello")


async def test_one_that_waits_for_the_world_shows_why() -> None:
    app = sdk.App("waits")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        raise sdk.Unavailable("away", "the model is away")

    async with testing.conversation(app, deadline_s=0.05) as chat:
        with pytest.raises(AssertionError) as raised:
            await chat.say("hello")
        assert isinstance(raised.value.__cause__, sdk.Unavailable)


async def test_a_handler_past_its_deadline_has_failed() -> None:
    app = sdk.App("slow", deadline_s=0.01)

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await asyncio.Event().wait()

    async with testing.conversation(app) as chat:
        with pytest.raises(AssertionError, match="the handler raised TimeoutError"):
            await chat.say("hello")


async def test_conversations_are_handled_at_once_and_each_in_order() -> None:
    app, order, gate = sdk.App("lanes"), [], asyncio.Event()

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        if message.text == "a1":
            await gate.wait()
        order.append(message.text)
        if message.text == "b1":
            gate.set()

    async with testing.conversation(app) as chat, asyncio.TaskGroup() as group:
        group.create_task(chat.say("a1", conversation="a"))
        group.create_task(chat.say("a2", conversation="a"))
        group.create_task(chat.say("b1", conversation="b"))
    assert order == ["b1", "a1", "a2"]


async def test_an_event_of_a_kind_of_the_future_is_done_with() -> None:
    async with testing.conversation(echo()) as chat:
        event = message_pb2.Message(
            event_id="f1", tenant="test", channel="test", account="account", conversation="room", text="?"
        )
        event.relation.MergeFromString(b"\xfa\x01\x00")  # field 31, which no build knows
        await chat.deliver(event)
        assert chat.replies == []
