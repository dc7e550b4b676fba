"""The simulated Slack is as strict as Slack's documentation, as rude as it is told to be, and repeats itself."""

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest

from penstock.channels import ports
from penstock.channels.adapters import slack_signature
from penstock.channels.testing import slack_simulator, webhook_server

Behaviour, Forgery = slack_simulator.Behaviour, slack_simulator.Forgery
JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.fixture
async def simulator():
    async with slack_simulator.SlackSimulator() as running:
        yield running


async def call(simulator, method, arguments, *, token=None, **options):
    body = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
    headers = {**JSON, "authorization": f"Bearer {token or simulator.tokens[0]}", **options}
    async with httpx.AsyncClient() as client:
        return await client.post(f"{simulator.config['api_url']}/{method}", content=body, headers=headers)


@pytest.mark.parametrize(
    ("method", "arguments", "options", "fault"),
    [
        ("chat.postMessage", {"channel": "C1", "text": "x"}, {"content-type": "application/json"}, "content type"),
        ("chat.postMessage", {"channel": "C1", "text": "x"}, {"content-type": "text/plain"}, "content type"),
        ("chat.postMessage", b"[1]", {}, "not a JSON object"),
        ("chat.postMessage", b"\xff", {}, "not a JSON object"),
        ("chat.meMessage", {"channel": "C1", "text": "x"}, {}, "no method"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "client_msg_id": "1"}, {}, "no argument client_msg_id"),
        ("chat.postMessage", {"channel": "C1", "text": 5}, {}, "text is int"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "thread_ts": "msg-1"}, {}, "not a timestamp"),
        ("chat.update", {"channel": "C1", "ts": "", "text": "x"}, {}, "not a timestamp"),
        ("chat.postMessage", {"channel": "C1", "text": "a & b"}, {}, "nor escaped"),
        ("chat.postMessage", {"channel": "C1", "text": "a < b"}, {}, "nor escaped"),
        ("chat.postMessage", {"channel": "C1", "text": "x" * 40_001}, {}, "cut off"),
    ],
)
async def test_what_breaks_the_documentation_is_a_fault(simulator, method, arguments, options, fault):
    answer = await call(simulator, method, arguments, **options)
    assert answer.json()["ok"] is False
    assert fault in simulator.faults[0]
    assert simulator.calls == []


async def test_strangers_are_told_so_and_nothing_is_done(simulator):
    arguments = {"channel": "C1", "text": "x"}
    assert (await call(simulator, "chat.postMessage", arguments, authorization="")).json()["error"] == "not_authed"
    assert (await call(simulator, "chat.postMessage", arguments, token="xoxb-no")).json()["error"] == "invalid_auth"
    simulator.revoked = {simulator.tokens[0]}
    assert (await call(simulator, "chat.postMessage", arguments)).json()["error"] == "token_revoked"
    assert simulator.heard("C1") == []
    assert simulator.faults == []


async def test_what_is_heard_in_one_channel_costs_nothing_for_the_others(simulator):
    for channel in ("C1", "C2"):
        await call(simulator, "chat.postMessage", {"channel": channel, "text": f"in {channel}"})
    simulator.calls = None  # nobody looks through all of them
    assert [one.text for one in simulator.heard("C1")] == ["in C1"]
    assert simulator.heard("C3") == []


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C1", "text": ""}, "no_text"),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "x", "thread_ts": "1772366399.250019"},
            "cannot_reply_to_message",
        ),
        ("chat.update", {"channel": "C1", "ts": "1772366399.250019", "text": "x"}, "message_not_found"),
        ("chat.delete", {"channel": "C1", "ts": "1772366399.250019"}, "message_not_found"),
        ("reactions.add", {"channel": "C1", "timestamp": "1772366399.250019", "name": ""}, "invalid_name"),
    ],
)
async def test_it_answers_as_slack_does(simulator, method, arguments, error):
    answer = await call(simulator, method, arguments)
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "error": error})
    assert simulator.faults == []


async def test_it_misbehaves_as_often_as_told_where_told(simulator):
    simulator.behave(
        Behaviour(429, "ratelimited", "30", times=1, conversation="C1"), Behaviour(error="internal_error", taken=True)
    )
    limited = await call(simulator, "chat.postMessage", {"channel": "C1", "text": "x"})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "30")
    assert limited.json() == {"ok": False, "error": "ratelimited"}
    half = await call(simulator, "chat.postMessage", {"channel": "C1", "text": "x"})
    assert half.json() == {"ok": False, "error": "internal_error"}
    assert len(simulator.heard("C1")) == 1
    simulator.behave(Behaviour(cut=True))
    with pytest.raises(httpx.TransportError):
        await call(simulator, "chat.postMessage", {"channel": "C1", "text": "x"})
    assert len(simulator.heard("C1")) == 2


async def test_files_are_for_the_app(simulator):
    async with listening(200) as (url, seen):
        simulator.connect(url)
        await simulator.attach("C1", "plan.pdf", b"%PDF")
    address = json.loads(seen[0].body)["event"]["files"][0]["url_private"]
    async with httpx.AsyncClient() as client:
        token = {"authorization": f"Bearer {simulator.tokens[0]}"}
        assert (await client.get(address, headers=token)).content == b"%PDF"
        assert (await client.get(address)).status_code == 302


def listening(*statuses):
    """A server that answers with these statuses in turn, and what it saw."""
    waiting, seen = list(statuses), []

    def respond(request):
        seen.append(request)
        return webhook_server.Reply(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return _Listening(webhook_server.WebhookServer(respond), seen)


class _Listening:
    def __init__(self, server, seen):
        self.server, self.seen = server, seen

    async def __aenter__(self):
        await self.server.start()
        return f"http://127.0.0.1:{self.server.port}/webhooks/slack/acc", self.seen

    async def __aexit__(self, *_):
        await self.server.stop()


def check(request, secret):
    """That the adapter believes it."""
    at = int(request.headers["x-slack-request-timestamp"])
    whole = ports.WebhookRequest("POST", "/", "", request.headers, request.body, datetime.fromtimestamp(at, UTC))
    slack_signature.verify(whole, secret)


async def test_what_is_not_answered_is_delivered_again_with_its_reason():
    async with slack_simulator.SlackSimulator(patience_s=5.0) as simulator, listening(500, 503, 200) as (url, seen):
        simulator.connect(url)
        assert (await simulator.say("C1", "hello")).status == 200
        secrets = ports.Credentials(tuple(simulator.secrets.values())[:1])
    assert len({request.body for request in seen}) == 1
    assert [request.headers.get("x-slack-retry-num") for request in seen] == [None, "1", "2"]
    assert "x-slack-retry-reason" in seen[1].headers
    for request in seen:
        check(request, secrets)


async def test_without_patience_it_is_delivered_once(simulator):
    async with listening(500) as (url, seen):
        simulator.connect(url)
        assert (await simulator.say("C1", "hello")).status == 500
    assert len(seen) == 1
    assert (await simulator.say("C1", "is anybody there?")).status == 0


async def test_it_tells_the_app_what_its_own_bot_did(simulator):
    async with listening(200) as (url, seen):
        simulator.connect(url)
        sent = (await call(simulator, "chat.postMessage", {"channel": "C1", "text": "x"})).json()["ts"]
        await call(simulator, "chat.update", {"channel": "C1", "ts": sent, "text": "y", "parse": "none"})
        await call(simulator, "reactions.add", {"channel": "C1", "timestamp": sent, "name": "eyes"})
        await call(simulator, "chat.delete", {"channel": "C1", "ts": sent})
        await simulator.told()
    events = [json.loads(request.body)["event"] for request in seen]
    kinds = {(event["type"], event.get("subtype")) for event in events}
    assert kinds == {
        ("message", None),
        ("message", "message_changed"),
        ("reaction_added", None),
        ("message", "message_deleted"),
    }


async def test_waiting_ends_when_it_holds_or_in_time(simulator):
    waiting = asyncio.ensure_future(simulator.until(lambda: len(simulator.heard("C1")) == 1))
    await call(simulator, "chat.postMessage", {"channel": "C1", "text": "x"})
    await waiting
    with pytest.raises(TimeoutError):
        await simulator.until(lambda: False, timeout_s=0.01)
