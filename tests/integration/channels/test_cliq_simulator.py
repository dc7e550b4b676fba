"""The simulated Zoho Cliq is as strict as Zoho's documentation, as rude as it is told to be, and repeats itself."""

import asyncio
import json

import httpx
import pytest

from penstock.channels.testing import cliq_simulator, webhook_server

Behaviour, Forgery = cliq_simulator.Behaviour, cliq_simulator.Forgery

TO_ONE = {"text": "x", "userids": "1"}


@pytest.fixture
async def simulator():
    async with cliq_simulator.CliqSimulator() as running:
        yield running


async def call(simulator, method, path, arguments=None, *, token=None, **options):
    body = arguments if isinstance(arguments, bytes | None) else json.dumps(arguments).encode()
    authorization = f"Zoho-oauthtoken {token or simulator.tokens[0]}"
    headers = {"content-type": "application/json", "authorization": authorization, **options}
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"{simulator.config['api_url']}{path}", content=body, headers=headers)


@pytest.mark.parametrize(
    ("method", "path", "arguments", "options", "fault"),
    [
        ("POST", "/bots/gardenbot/message", {"text": "x"}, {}, "userids is missing"),
        (
            "POST",
            "/bots/gardenbot/message",
            {"text": "x", "userids": "1", "reply_to": "1_2"},
            {},
            "no argument reply_to",
        ),
        (
            "POST",
            "/bots/gardenbot/message",
            {"text": "x", "userids": "1"},
            {"content-type": "text/plain"},
            "not of JSON",
        ),
        ("POST", "/bots/gardenbot/message", b"[1]", {}, "not a JSON object"),
        ("POST", "/channelsbyname/garden/message", {"text": "x"}, {}, "the query has []"),
        ("POST", "/chats/CT_1/message?bot_unique_name=gardenbot", {"text": "x"}, {}, "the query has"),
        ("POST", "/chats/CT_1/message", {"text": 5}, {}, "text is int"),
        ("POST", "/chats/CT_1/message", {"text": "x" * 5001}, {}, "longer than 5000"),
        ("POST", "/chats/CT_1/message", {"text": ""}, {}, "text is empty"),
        ("POST", "/chats/CT_1/message", {"text": "x", "sync_message": "yes"}, {}, "sync_message is str"),
        ("POST", "/chats/CT_1/messages/1_2", {"text": "x"}, {}, "there is no call"),
        ("PUT", "/chats/CT_1/messages/one", {"text": "x"}, {}, "there is no call"),
        ("DELETE", "/chats/CT_1/messages/1_2", {"text": "x"}, {}, "no argument text"),
        ("POST", "/chats/CT_1/messages/1_2/reactions", {"emoji": "x"}, {}, "emoji_code is missing"),
        ("POST", "/../v3/bots", {"text": "x"}, {}, "is not below"),
    ],
)
async def test_what_breaks_the_documentation_is_a_fault(simulator, method, path, arguments, options, fault):
    answer = await call(simulator, method, path, arguments, **options)
    assert answer.status_code == 400
    assert fault in simulator.faults[0]
    assert [one.done for one in simulator.calls] in ([], [None])


async def test_strangers_are_told_so_and_nothing_is_done(simulator):
    simulator.platform.chat("@ann")
    arguments = {"text": "x", "userids": simulator.platform.person("ann")}
    for options in (
        {"token": "1000.nobody"},
        {"authorization": f"Bearer {simulator.tokens[0]}"},
        {"authorization": ""},
    ):
        assert (await call(simulator, "POST", "/bots/gardenbot/message", arguments, **options)).status_code == 401
    simulator.revoked = {simulator.tokens[0]}
    assert (await call(simulator, "POST", "/bots/gardenbot/message", arguments)).status_code == 401
    assert (simulator.calls, simulator.faults) == ([], [])


async def test_answers_have_the_documented_shapes(simulator):
    chat = simulator.platform.chat("@ann")
    told = await call(simulator, "POST", "/bots/gardenbot/message", {"text": "x", "userids": chat.person})
    details = told.json()["message_details"][chat.person]
    assert (told.json()["user_ids"], details["chat_id"]) == ([chat.person], chat.id)
    assert "%20" in details["message_id"]
    path = f"/chats/{chat.id}/messages/{details['message_id']}"
    assert (await call(simulator, "PUT", path, {"text": "y"})).status_code == 204
    assert (await call(simulator, "DELETE", path)).status_code == 204
    gone = await call(simulator, "DELETE", path)
    assert (gone.status_code, gone.json()["code"]) == (404, "message_not_found")
    assert [(one.kind, one.text) for one in simulator.heard("@ann")] == [("send", "x"), ("edit", "y"), ("delete", "")]
    assert simulator.faults == []


async def test_it_behaves_as_told_as_often_as_told(simulator):
    chat = simulator.platform.chat("garden")
    path = f"/chats/{chat.id}/message"
    simulator.behave(Behaviour(429, {"message": "Too many"}, "7", times=1))
    limited = await call(simulator, "POST", path, {"text": "x"})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert (await call(simulator, "POST", path, {"text": "y"})).status_code == 200
    assert [one.text for one in simulator.heard("garden")] == ["y"]
    simulator.behave(Behaviour(cut=True))
    with pytest.raises(httpx.RemoteProtocolError):
        await call(simulator, "POST", path, {"text": "z"})
    assert [one.text for one in simulator.heard("garden")] == ["y", "z"]


async def test_events_are_posted_again_while_there_is_patience():
    statuses = iter((503, 500, 200))
    server = webhook_server.WebhookServer(lambda request: webhook_server.Reply(next(statuses)))
    await server.start()
    async with cliq_simulator.CliqSimulator(patience_s=5.0) as simulator:
        simulator.connect(f"http://{server.host}:{server.port}/webhooks/cliq/acc-1")
        assert (await simulator.say("garden", "x")).status == 200
    await server.stop()


async def test_one_waits_until_something_was_heard(simulator):
    chat = simulator.platform.chat("garden")
    waiting = asyncio.create_task(simulator.until(lambda: len(simulator.heard("garden")) == 1))
    await call(simulator, "POST", f"/chats/{chat.id}/message", {"text": "x"})
    await waiting


@pytest.mark.parametrize("name", ["edit", "delete"])
async def test_a_bot_does_not_hear_what_it_would_not_hear(simulator, name):
    with pytest.raises(NotImplementedError):
        await getattr(simulator, name)("@ann", "1_2", *(["x"] if name == "edit" else []))
    with pytest.raises(NotImplementedError):
        await simulator.react("garden", "1_2", "👍")
