"""The echo, as its author tests it: a conversation in memory."""

from examples.echo.app import app
from penstock import sdk
from penstock.sdk import testing


async def test_it_says_back_what_was_said() -> None:
    async with testing.conversation(app) as chat:
        await chat.say("hello")
        assert await chat.reply() == "You said: hello"


async def test_it_answers_in_the_thread() -> None:
    async with testing.conversation(app) as chat:
        await chat.say("and here?", thread="side", answers="message-0")
        (command,) = chat.commands
        assert (command.thread, command.relation.reply.message_id) == ("side", "message-1")


async def test_it_notices_what_happens_to_a_message() -> None:
    async with testing.conversation(app) as chat:
        message = await chat.say("helo")
        await chat.edit(message, "hello")
        await chat.react(message, "👍")
        await chat.delete(message)
        assert chat.replies == ["You said: helo", "Edited: hello", "Saw 👍", "Forgot it"]


async def test_it_names_a_file() -> None:
    async with testing.conversation(app) as chat:
        await chat.say("", attachments=[sdk.Attachment("menu.pdf")])
        assert chat.replies == ["Got menu.pdf"]


async def test_it_says_nothing_twice() -> None:
    async with testing.conversation(app) as chat:
        await chat.say("hello")
        await chat.redeliver()
        assert chat.replies == ["You said: hello"]
