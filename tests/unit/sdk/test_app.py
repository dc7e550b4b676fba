"""Handlers are found by kind and filters, in the order written; apps refuse what cannot work when they are written."""

import re
from typing import Any

import pytest

from penstock import sdk
from penstock.sdk import testing


async def test_each_kind_goes_to_its_own_handler() -> None:
    app, seen = sdk.App("all"), []

    @app.on_message
    async def message(message: sdk.Message) -> None:
        seen.append((message.kind, message.id, message.target, message.text))

    @app.on_edit
    async def edit(message: sdk.Message) -> None:
        seen.append((message.kind, message.id, message.target, message.text))

    @app.on_deletion
    async def deletion(message: sdk.Message) -> None:
        seen.append((message.kind, message.id, message.target, message.text))

    @app.on_reaction
    async def reaction(message: sdk.Message) -> None:
        seen.append((message.kind, message.id, message.target, message.reaction))

    @app.on_reaction_removed
    async def removed(message: sdk.Message) -> None:
        seen.append((message.kind, message.id, message.target, message.reaction))

    async with testing.conversation(app) as chat:
        await chat.say("one")
        await chat.say("two", answers="message-1")
        await chat.edit("message-1", "uno")
        await chat.react("message-1", "👍")
        await chat.unreact("message-1", "👍")
        await chat.delete("message-1")
    assert seen == [
        (sdk.Kind.MESSAGE, "message-1", "", "one"),
        (sdk.Kind.MESSAGE, "message-2", "message-1", "two"),
        (sdk.Kind.EDIT, "", "message-1", "uno"),
        (sdk.Kind.REACTION, "", "message-1", "👍"),
        (sdk.Kind.REACTION_REMOVED, "", "message-1", "👍"),
        (sdk.Kind.DELETION, "", "message-1", ""),
    ]


async def test_the_first_handler_that_matches_takes_it() -> None:
    app = sdk.App("filters")

    @app.on_message(pattern=r"^/help\b")
    async def help_(message: sdk.Message) -> None:
        await message.reply("help")

    @app.on_message(channel="telegram")
    async def telegram(message: sdk.Message) -> None:
        await message.reply("telegram")

    @app.on_message(pattern=re.compile("HELLO", re.IGNORECASE))
    async def hello(message: sdk.Message) -> None:
        await message.reply("hello")

    @app.on_message
    async def rest(message: sdk.Message) -> None:
        await message.reply("rest")

    async with testing.conversation(app) as chat:
        for text in ("/help me", "well, hello", "/helpless"):
            await chat.say(text)
        assert chat.replies == ["help", "hello", "rest"]
    async with testing.conversation(app, channel="telegram") as chat:
        await chat.say("hello")
        assert chat.replies == ["telegram"]


async def test_what_nobody_wants_is_done_with() -> None:
    app = sdk.App("deaf")

    @app.on_edit
    async def edit(message: sdk.Message) -> None:
        await message.reply("edited")

    async with testing.conversation(app) as chat:
        await chat.say("anybody?")
        assert chat.replies == []
        assert chat.failures == []


async def test_a_bot_is_heard_only_where_asked_for() -> None:
    bot = sdk.Sender("b1", "Other bot", sdk.SenderKind.BOT)
    deaf, open_ = sdk.App("deaf"), sdk.App("open")

    @deaf.on_message
    @open_.on_message(bots=True)
    async def answer(message: sdk.Message) -> None:
        await message.reply(f"hello, {message.sender.name}")

    async with testing.conversation(deaf) as chat:
        await chat.say("beep", sender=bot)
        assert chat.replies == []
    async with testing.conversation(open_) as chat:
        await chat.say("beep", sender=bot)
        assert chat.replies == ["hello, Other bot"]


async def test_a_system_is_no_bot() -> None:
    app = sdk.App("system")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await message.reply(str(message.sender.kind))

    async with testing.conversation(app) as chat:
        await chat.say("Ann joined", sender=sdk.Sender("s", "", sdk.SenderKind.SYSTEM))
        await chat.say("hi", sender=sdk.Sender("x", "", sdk.SenderKind.UNKNOWN))
        assert chat.replies == ["system", "unknown"]


async def test_a_message_carries_everything_the_author_may_need() -> None:
    app, seen = sdk.App("all"), []

    @app.on_message
    async def keep(message: sdk.Message) -> None:
        seen.append(message)

    async with testing.conversation(app, tenant="acme", channel="webhook") as chat:
        file = sdk.Attachment("a.txt", "https://x/a", "text/plain", 3, "f1")
        await chat.say("hello", conversation="c 1", thread="t", attachments=[file], sender=sdk.Sender("u1", "Ann"))
    (message,) = seen
    assert (message.tenant, message.channel, message.account) == ("acme", "webhook", "account")
    assert (message.conversation, message.thread, message.id) == ("c 1", "t", "message-1")
    assert message.sender == sdk.Sender("u1", "Ann", sdk.SenderKind.PERSON)
    assert message.attachments == (file,)
    assert message.sent_at.tzinfo is not None
    assert message.received_at == message.sent_at
    assert message.raw.event_id == message.event_id == "event-1"
    assert message.correlation_id
    assert "raw" not in repr(message)


async def test_replies_to_what_has_no_message_of_its_own_go_to_its_target() -> None:
    app = sdk.App("targets")

    @app.on_edit
    @app.on_reaction
    @app.on_deletion
    async def answer(message: sdk.Message) -> None:
        await message.reply("seen")

    async with testing.conversation(app) as chat:
        await chat.edit("m1", "new")
        await chat.react("m2", "👍")
        await chat.delete("m3")
        relations = [command.relation for command in chat.commands]
    assert [relation.WhichOneof("kind") for relation in relations] == ["reply", "reply", None]
    assert [relation.reply.message_id for relation in relations] == ["m1", "m2", ""]


async def test_an_app_reacts_edits_and_takes_back() -> None:
    app = sdk.App("busy")

    @app.on_message(pattern="work")
    async def work(message: sdk.Message) -> None:
        await message.react("👀")
        sent = await message.reply("one moment")
        await message.edit(sent, "done")

    @app.on_message(pattern="oops")
    async def oops(message: sdk.Message) -> None:
        sent = await message.say("wrong room")
        await message.delete(sent.id)

    async with testing.conversation(app) as chat:
        message = await chat.say("work")
        await chat.say("oops")
        assert chat.reactions == [(message, "👀")]
        assert chat.replies == ["done"]


def test_a_plain_function_is_refused_when_it_is_registered() -> None:
    app: Any = sdk.App("plain")

    def handler(message: sdk.Message) -> None: ...

    with pytest.raises(sdk.Rejected, match=r"handler is not an 'async def'"):
        app.on_message(handler)


@pytest.mark.parametrize("name", ["", "Echo", "my_app", "a b", "-a", "a" * 41, "écho"])
def test_a_name_is_a_slug(name: str) -> None:
    with pytest.raises(sdk.Rejected, match="app must be"):
        sdk.App(name)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": 257}, {"deadline_s": 0}, {"deadline_s": -1}])
def test_an_app_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(sdk.Rejected, match=next(iter(options))):
        sdk.App("echo", **options)
