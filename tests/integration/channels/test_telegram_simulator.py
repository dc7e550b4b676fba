"""The simulated Telegram is trusted by everything else, so it is tested too: strict, and true to the documentation."""

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.channels.testing import telegram_platform, telegram_simulator, webhook_server

RECORDED = Path(__file__).parents[2] / "unit/channels/recorded/telegram"
Behaviour, Forgery = telegram_simulator.Behaviour, telegram_simulator.Forgery


@pytest.fixture
async def receiver():
    """Whom the simulator posts to: remembers the requests and answers as `replies` say, then 200."""
    requests: list[webhook_server.Request] = []
    replies: list[webhook_server.Reply] = []

    def respond(request: webhook_server.Request) -> webhook_server.Reply:
        requests.append(request)
        return replies.pop(0) if replies else webhook_server.Reply()

    server = webhook_server.WebhookServer(respond)
    await server.start()
    yield server, requests, replies
    await server.stop()


@pytest.fixture
async def simulator(receiver: Any):
    async with telegram_simulator.TelegramSimulator(patience_s=5.0) as running:
        running.connect(f"http://127.0.0.1:{receiver[0].port}/webhooks/telegram/acc-1")
        running.platform.chat("garden")
        yield running


def ask(simulator: Any, method: str, parameters: Any, *, token: str = "", content_type: str = "application/json"):
    """Call a method as anybody could: status and answer."""

    def work() -> tuple[int, dict[str, Any]]:
        port = int(simulator.config["api_url"].split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = parameters if isinstance(parameters, bytes) else json.dumps(parameters)
        path = f"/telegram/bot{token or simulator.tokens[0]}/{method}"
        connection.request("POST", path, body, {"content-type": content_type})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    return asyncio.to_thread(work)


def chat(simulator: Any) -> int:
    return simulator.platform.chat("garden").id


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("sendMessage", {"text": "no chat"}),
        ("sendMessage", {"chat_id": "garden", "text": "neither a number nor @name"}),
        ("sendMessage", {"chat_id": 1, "text": 5}),
        ("sendMessage", {"chat_id": 1, "text": "x", "reply_to": 3}),
        ("sendMessage", {"chat_id": 1, "text": "x", "message_thread_id": "40"}),
        ("sendMessage", {"chat_id": 1, "caption": "x"}),
        ("sendDocument", {"chat_id": 1, "photo": "https://example.org/x"}),
        ("sendDocument", {"chat_id": 1}),
        ("editMessageText", {"chat_id": 1, "text": "no message"}),
        ("deleteMessage", {"chat_id": 1, "message_id": "7"}),
        ("setMessageReaction", {"chat_id": 1, "message_id": 7, "reaction": ["👍"]}),
        ("sendMessage", b"not JSON"),
        ("sendSmoke", {"chat_id": 1}),
    ],
)
async def test_what_the_documentation_does_not_say_is_a_fault(simulator: Any, method: str, parameters: Any):
    status, answer = await ask(simulator, method, parameters)
    assert status >= 400
    assert answer["ok"] is False
    assert len(simulator.faults) == 1
    assert simulator.calls == []


async def test_a_form_or_a_malformed_token_is_a_fault(simulator: Any):
    assert (await ask(simulator, "sendMessage", {}, content_type="text/plain"))[0] == 400
    assert (await ask(simulator, "sendMessage", {}, token="nonsense"))[0] == 404
    assert len(simulator.faults) == 2


async def test_a_token_that_is_not_the_bots_is_no_fault_and_does_nothing(simulator: Any):
    stranger = telegram_simulator.fresh_token()
    said = {"chat_id": chat(simulator), "text": "hello"}
    assert (await ask(simulator, "sendMessage", said, token=stranger))[0] == 401
    simulator.revoked.add(simulator.tokens[0])
    assert (await ask(simulator, "sendMessage", said))[0] == 401
    assert (simulator.faults, simulator.conversation("garden")) == ([], [])


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("sendMessage", {"chat_id": 5, "text": "x"}, "chat not found"),
        ("sendMessage", {"chat_id": "@nobody", "text": "x"}, "chat not found"),
        ("sendMessage", {"text": " "}, "message text is empty"),
        ("sendMessage", {"text": "x" * 4097}, "message is too long"),
        ("sendPhoto", {"photo": "https://x.y", "caption": "x" * 1025}, "message caption is too long"),
        ("sendMessage", {"text": "x", "message_thread_id": 9}, "message thread not found"),
        ("sendMessage", {"text": "x", "reply_parameters": {"message_id": 9}}, "message to be replied not found"),
        ("editMessageText", {"message_id": 9, "text": "x"}, "message to edit not found"),
        ("editMessageText", {"message_id": 1, "text": "x"}, "message can't be edited"),
        ("editMessageText", {"message_id": 2, "text": "mine"}, "message is not modified"),
        ("deleteMessage", {"message_id": 9}, "message to delete not found"),
        ("setMessageReaction", {"message_id": 9, "reaction": []}, "message to react not found"),
        (
            "setMessageReaction",
            {"message_id": 1, "reaction": [{"type": "emoji", "emoji": "✅"}]},
            "REACTION_INVALID",
        ),
        (
            "setMessageReaction",
            {"message_id": 1, "reaction": [{"type": "emoji", "emoji": "👍"}, {"type": "emoji", "emoji": "👎"}]},
            "REACTIONS_TOO_MANY",
        ),
    ],
)
async def test_telegrams_refusals(simulator: Any, method: str, parameters: Any, words: str):
    await simulator.say("garden", "hello")
    assert (await ask(simulator, "sendMessage", {"chat_id": chat(simulator), "text": "mine"}))[0] == 200
    status, answer = await ask(simulator, method, {"chat_id": chat(simulator), **parameters})
    assert (status, answer["error_code"]) == (400, 400)
    assert words in answer["description"]
    assert simulator.faults == []


async def test_what_is_heard_in_one_chat_costs_nothing_for_the_others(simulator: Any):
    for name in ("garden", "kitchen"):
        number = simulator.platform.chat(name).id
        await ask(simulator, "sendMessage", {"chat_id": number, "text": f"in the {name}"})
    simulator.calls = None  # nobody looks through all of them
    assert [one.text for one in simulator.heard("garden")] == ["in the garden"]
    assert simulator.heard("cellar") == []


async def test_a_call_that_is_done_is_answered_as_documented_and_heard(simulator: Any):
    status, answer = await ask(simulator, "SENDmessage", {"chat_id": chat(simulator), "text": "hello"})
    result = answer["result"]
    assert (status, answer["ok"], result["text"], result["from"]["is_bot"]) == (200, True, "hello", True)
    assert set(result) <= set(json.loads((RECORDED / "answers/sent.json").read_bytes())["result"])
    await ask(simulator, "deleteMessage", {"chat_id": chat(simulator), "message_id": result["message_id"]})
    assert [(heard.kind, heard.message_id) for heard in simulator.heard("garden")] == [("send", "1"), ("delete", "1")]


async def test_ids_of_messages_are_those_of_their_chat_only(simulator: Any):
    ids = [(await simulator.say(name, "hello")).message_id for name in ("garden", "yard", "garden")]
    assert ids == ["1", "1", "2"]


async def test_updates_have_the_fields_of_those_that_were_recorded(simulator: Any, receiver: Any):
    said = await simulator.say("garden", "hello")
    await simulator.say("garden", "yes", reply_to=said.message_id)
    await simulator.say("forum", "where?", thread="tools")
    await simulator.edit("garden", said.message_id, "hello again")
    await simulator.react("garden", said.message_id, "❤️")
    await simulator.react("garden", said.message_id, "❤️", removed=True)
    await simulator.pin("garden", said.message_id)
    await simulator.attach("garden", "plan.pdf", b"%PDF")
    recorded = ["message", "message_reply", "message_topic", "edited_message"]
    recorded += ["reaction", "reaction_removed", "pinned", "document"]
    updates = [json.loads(request.body) for request in receiver[1]]
    assert [update["update_id"] - updates[0]["update_id"] for update in updates] == list(range(len(updates)))
    for update, name in zip(updates, recorded, strict=True):
        assert fields(update) <= fields(json.loads((RECORDED / f"{name}.json").read_bytes())) | MORE, name
    assert updates[2]["message"]["reply_to_message"]["message_id"] == updates[2]["message"]["message_thread_id"]
    assert updates[4]["message_reaction"]["new_reaction"] == [{"type": "emoji", "emoji": "❤"}]


MORE = {"username", "title", "language_code", "last_name"}
"""Fields of people and chats that some have and some have not."""


def fields(value: Any) -> set[str]:
    """The names of all fields, however deep."""
    if isinstance(value, dict):
        return set(value).union(*(fields(inner) for inner in value.values()))
    return set().union(*(fields(inner) for inner in value)) if isinstance(value, list) else set()


async def test_a_request_carries_the_word_and_is_repeated_until_it_is_answered(simulator: Any, receiver: Any):
    _, requests, replies = receiver
    replies += [webhook_server.Reply(503), webhook_server.Reply(cut=True), webhook_server.Reply(400)]
    posted = await simulator.say("garden", "hello")
    assert (posted.status, len(requests)) == (200, 4)
    assert len({request.body for request in requests}) == 1
    assert {request.headers["x-telegram-bot-api-secret-token"] for request in requests} == {simulator.words[0]}
    assert {request.headers["content-type"] for request in requests} == {"application/json"}
    assert (await simulator.repeat(posted)).event_id == posted.event_id == known_as(json.loads(posted.body))


def known_as(update: Any) -> str:
    """The id of an update with a message."""
    return f"{update['update_id']}/{update['message']['chat']['id']}/{update['message']['message_id']}"


async def test_forgeries_are_what_they_say(simulator: Any, receiver: Any):
    for forgery in (Forgery(secret="x"), Forgery(secret=""), Forgery(body=b"{"), Forgery(content_type="text/plain")):
        await simulator.say("garden", "hello", forgery=forgery)
    first, second, third, fourth = receiver[1]
    assert first.headers["x-telegram-bot-api-secret-token"] == "x"
    assert "x-telegram-bot-api-secret-token" not in second.headers
    assert (third.body, fourth.headers["content-type"]) == (b"{", "text/plain")


async def test_behaviours_last_as_long_as_they_were_told_and_where(simulator: Any):
    simulator.platform.chat("yard")
    simulator.behave(Behaviour(status=503, times=2, chat="garden"), Behaviour(status=429, retry_after_s=9, times=1))
    answers = []
    for name in ("garden", "yard", "garden", "garden"):
        said = {"chat_id": simulator.platform.chat(name).id, "text": "x"}
        answers.append(await ask(simulator, "sendMessage", said))
    assert [status for status, _ in answers] == [503, 429, 503, 200]
    assert answers[1][1]["parameters"] == {"retry_after": 9}
    assert [call.done for call in simulator.calls] == [False, False, False, True]


async def test_waiting_ends_with_what_is_waited_for_or_at_its_deadline(simulator: Any):
    waiting = asyncio.ensure_future(simulator.until(lambda: len(simulator.heard("garden")) == 2))
    for number in range(2):
        assert not waiting.done()
        await ask(simulator, "sendMessage", {"chat_id": chat(simulator), "text": str(number)})
    await waiting
    with pytest.raises(TimeoutError):
        await simulator.until(lambda: False, timeout_s=0.01)


async def test_nobody_can_show_a_bot_that_a_message_is_gone(simulator: Any):
    assert "delete" not in simulator.abilities
    with pytest.raises(NotImplementedError):
        await simulator.delete("garden", "1")


def test_emoji_are_written_as_telegram_writes_them():
    assert len(telegram_platform.EMOJI) == 73
    assert not [emoji for emoji in telegram_platform.EMOJI if "\ufe0f" in emoji]
