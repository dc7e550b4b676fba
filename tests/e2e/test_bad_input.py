"""What a running installation answers to wrong, hostile, huge and slow requests: a problem each, counted, never 500."""

import asyncio
import dataclasses
import json
from collections.abc import Generator
from urllib.parse import urlsplit

import pytest

from penstock.base import clock as clocks
from penstock.channels.testing import webhook_platform, webhook_sender
from penstock.servers import testing as servers
from tests.e2e import installation, processes, raw_http

FORGERY = webhook_sender.Forgery
SOUND = FORGERY()
UNKNOWN = "acc-aaaaaaaaaaaaaaaaaaaaaaaaaa"
BODY_DEADLINE_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Door:
    """One account's webhook on a running installation, and who can sign for it."""

    running: installation.Installation
    target: str
    sender: webhook_sender.WebhookSender

    async def post(
        self, body: bytes, forgery: webhook_sender.Forgery = SOUND, *, target: str = "", method: str = "POST"
    ) -> raw_http.Answer:
        """Send one signed request."""
        headers = self.sender.sign(self.sender.platform.next_id("hook"), body, forgery)
        return await raw_http.exchange(self.running.http_url, method, target or self.target, headers, body)

    async def refusals(self, status: int, code: str) -> float:
        """How many requests were refused so."""
        return await self.running.metric("penstock_http_refused_total", status=str(status), code=code)


@pytest.fixture(scope="module")
def door() -> Generator[Door]:
    """An installation for all tests of this file, with one account."""
    with servers.temporary_folder() as folder, asyncio.Runner() as runner:
        environ = installation.environment(folder, PENSTOCK_CHANNELS__BODY_DEADLINE_S=str(BODY_DEADLINE_S))
        held = installation.up(environ)
        try:
            running = runner.run(held.__aenter__())
            runner.run(running.cli("tenant", "create", "acme"))
            made = runner.run(
                running.cli("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/")
            )
            sender = webhook_sender.WebhookSender(
                [made["secret"]],
                platform=webhook_platform.WebhookPlatform("bad"),
                clock=clocks.SystemClock(),
                patience_s=0,
            )
            yield Door(running, urlsplit(made["webhook_url"]).path, sender)
            runner.run(held.__aexit__(None, None, None))
        finally:
            processes.kill(folder)


def event(**data: object) -> bytes:
    """A sound event, but for what is said here."""
    said = {"conversation": "room", "message_id": "m-1", "sender": {"id": "ann"}, "text": "Hello", **data}
    kept = {name: value for name, value in said.items() if value is not None}
    return json.dumps({"type": "message.created", "id": "evt-bad", "data": kept}).encode()


def problem_of(answer: raw_http.Answer) -> dict[str, object]:
    """The problem that an answer holds, after RFC 9457; fails when it is none."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    assert problem["type"] == f"urn:penstock:problem:{problem['code']}"
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.body.decode()
    return problem


SIGNATURES = {
    "another secret": (FORGERY(wrong_secret=True), "wrong_signature", "webhook-signature"),
    "another body": (FORGERY(body=b'{"type":"message.created"}'), "wrong_signature", "webhook-signature"),
    "too old": (FORGERY(age_s=400), "stale_signature", "webhook-timestamp"),
    "from the future": (FORGERY(age_s=-400), "stale_signature", "webhook-timestamp"),
    "no signature": (FORGERY(without=frozenset({"webhook-signature"})), "missing_signature", "webhook-signature"),
    "no timestamp": (FORGERY(without=frozenset({"webhook-timestamp"})), "missing_signature", "webhook-timestamp"),
    "no id": (FORGERY(without=frozenset({"webhook-id"})), "missing_signature", "webhook-id"),
    "an id that shifts text": (FORGERY(webhook_id="hook.1"), "bad_signature", "webhook-id"),
}


@pytest.mark.parametrize("name", SIGNATURES)
async def test_who_did_not_sign_is_refused(door: Door, name: str) -> None:
    forgery, code, field = SIGNATURES[name]
    before = await door.refusals(401, code)
    headers = door.sender.sign(forgery.webhook_id or "hook-1", event(), forgery)
    body = event() if forgery.body is None else forgery.body
    answer = await raw_http.exchange(door.running.http_url, "POST", door.target, headers, body)
    problem = problem_of(answer)
    assert (answer.status, problem["code"], problem["field"]) == (401, code, field)
    assert await door.refusals(401, code) == before + 1
    assert await door.running.metric("penstock_inbound_refused_total", channel="webhook", code=code) >= 1


@pytest.mark.parametrize(
    "target",
    [
        f"/webhooks/webhook/{UNKNOWN}",
        "/webhooks/webhook/acc-1",
        "/webhooks/webhook/%00",
        "/webhooks/webhook/tenant.*.>",
        "/webhooks/webhook/%2e%2e%2f%2e%2e%2fmetrics",
        "/webhooks/webhook/acc-%F0%9F%92%A9",
        "/webhooks/webhook/" + "a" * 5000,
        "/webhooks/webhook/",
        "/webhooks/webhook",
        "/webhooks/nosuch/{account}",
        "/webhooks/terminal/{account}",
        "/webhooks/WEBHOOK/{account}",
        "/webhooks/webhook/{account}/more",
        "/webhooks//{account}",
    ],
)
async def test_an_address_of_nobody_is_told_like_any_other(door: Door, target: str) -> None:
    before = await door.refusals(404, "no_account")
    answer = await door.post(event(), target=target.replace("{account}", door.target.rpartition("/")[2]))
    problem = problem_of(answer)
    assert (answer.status, problem["code"]) == (404, "no_account")
    assert await door.refusals(404, "no_account") == before + 1


async def test_there_is_nothing_under_other_paths(door: Door) -> None:
    for target in ("/", "/webhooks", "/admin", "/../../etc/passwd", "/metrics/", "/%2e%2e"):
        answer = await raw_http.exchange(door.running.http_url, "GET", target, {})
        assert (answer.status, problem_of(answer)["code"]) == (404, "no_such_path"), target


BODIES = {
    "invalid UTF-8": (event(text="?").replace(b"?", b"\xff\xfe"), "bad_text", "data.text"),
    "NUL": (event(text="a\0b"), "bad_text", "data.text"),
    "a lone surrogate": (event(text="?").replace(b"?", b"\\ud800"), "bad_text", "data.text"),
    "NUL in a name": (event(attributes={"a\0b": "c"}), "bad_text", "data.attributes.a\\x00b"),
    "deep": (event(attributes=None, x=1).replace(b'"x": 1', b'"x": ' + b"[" * 5000 + b"]" * 5000), "too_deep", "body"),
    "very deep": (b"[" * 200_000, "bad_event", "body"),
    "not JSON": (b"{", "bad_json", "body"),
    "nothing": (b"", "bad_json", "body"),
    "a number that is none": (b'{"type": NaN}', "bad_json", "body"),
    "another type": (b"[]", "bad_event", "body"),
    "no conversation": (event(conversation=None), "bad_event", "data.conversation"),
    "an empty conversation": (event(conversation=""), "bad_event", "data.conversation"),
    "a long conversation": (event(conversation="r" * 257), "bad_event", "data.conversation"),
    "a long text": (event(text="x" * 40_001), "bad_event", "data.text"),
    "no sender": (event(sender=None), "bad_event", "data.sender"),
    "a sender without id": (event(sender={}), "bad_event", "data.sender.id"),
    "a number for a text": (event(text=1), "bad_event", "data.text"),
    "a file by another scheme": (
        event(attachments=[{"url": "file:///etc/passwd"}]),
        "bad_event",
        "data.attachments[0].url",
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_breaks_a_rule_hears_field_and_rule(door: Door, name: str) -> None:
    body, code, field = BODIES[name]
    before = await door.refusals(400, code)
    answer = await door.post(body)
    problem = problem_of(answer)
    assert (answer.status, problem["code"], problem["field"]) == (400, code, field)
    assert await door.refusals(400, code) == before + 1


async def test_a_content_type_that_is_not_json_is_refused(door: Door) -> None:
    answer = await door.post(event(), FORGERY(content_type="text/plain"))
    assert (answer.status, problem_of(answer)["field"]) == (415, "content-type")


async def test_a_refusal_leaves_the_connection_usable(door: Door) -> None:
    async with raw_http.connected(door.running.http_url) as connection:
        for forgery, status in (
            (FORGERY(wrong_secret=True), 401),
            (SOUND, 200),
            (FORGERY(age_s=400), 401),
            (SOUND, 200),
        ):
            headers = {**door.sender.sign("hook-1", event(), forgery), "content-length": str(len(event()))}
            await connection.send(raw_http.head("POST", door.target, headers) + event())
            assert (await connection.answer()).status == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_hears_which_one_is_allowed(door: Door, method: str) -> None:
    before = await door.refusals(405, "method_not_allowed")
    answer = await door.post(b"", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert problem_of(answer)["code"] == "method_not_allowed"
    answer = await raw_http.exchange(door.running.http_url, "POST", "/metrics", {})
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert await door.refusals(405, "method_not_allowed") == before + 2


async def test_a_body_that_says_it_is_too_large_is_not_read(door: Door) -> None:
    before = await door.refusals(413, "body_too_large")
    for length in (str(1 << 30), str(1 << 60)):
        async with raw_http.connected(door.running.http_url) as connection:
            headers = {**door.sender.sign("hook-1", b""), "content-length": length, "expect": "100-continue"}
            await connection.send(raw_http.head("POST", door.target, headers))
            answer = await connection.answer()
        assert (answer.status, problem_of(answer)["field"]) == (413, "body")
    assert await door.refusals(413, "body_too_large") == before + 2


async def test_a_body_without_end_is_refused_before_it_ends(door: Door) -> None:
    before = await door.refusals(413, "body_too_large")
    async with raw_http.connected(door.running.http_url) as connection:
        headers = {**door.sender.sign("hook-1", b""), "transfer-encoding": "chunked"}
        await connection.send(raw_http.head("POST", door.target, headers))
        answering = asyncio.create_task(connection.answer())
        sent = 0
        while not answering.done():
            assert sent < 16 << 20, "still reading"
            await connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await asyncio.sleep(0)
        answer = await answering
    assert (answer.status, problem_of(answer)["field"]) == (413, "body")
    assert await door.refusals(413, "body_too_large") == before + 1


async def test_a_body_just_within_the_limit_is_read(door: Door) -> None:
    padded = event(text="x" * 40_000)
    padded = padded[:-1] + b" " * (512 * 1024 - len(padded)) + b"}"
    assert (await door.post(padded)).status == 200
    answer = await door.post(padded[:-1] + b" }")
    assert (answer.status, problem_of(answer)["field"]) == (413, "body")


async def test_a_body_that_dribbles_in_hears_that_it_is_slow(door: Door) -> None:
    before = await door.refusals(408, "slow_body")
    async with raw_http.connected(door.running.http_url) as connection:
        body = event()
        headers = {**door.sender.sign("hook-1", body), "content-length": str(len(body))}
        await connection.send(raw_http.head("POST", door.target, headers) + body[:10])
        answer = await connection.answer(timeout_s=BODY_DEADLINE_S + 10)
        assert await connection.ended() == b"", "the rest is not waited for"
    assert (answer.status, problem_of(answer)["field"]) == (408, "body")
    assert await door.refusals(408, "slow_body") == before + 1


async def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(door: Door) -> None:
    before = await door.refusals(400, "cut_short")
    async with raw_http.connected(door.running.http_url) as connection:
        headers = {**door.sender.sign("hook-1", b""), "content-length": "100"}
        await connection.send(raw_http.head("POST", door.target, headers) + b"{")
    async with asyncio.timeout(10):
        while await door.refusals(400, "cut_short") == before:
            await asyncio.sleep(0.02)
    assert (await door.post(event())).status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02 garbage\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /webhooks/webhook/a HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_problem_too(door: Door, garbage: bytes) -> None:
    before = await door.running.metric("penstock_http_refused_total", status="400")
    async with raw_http.connected(door.running.http_url) as connection:
        await connection.send(garbage)
        answer = await connection.answer()
    assert answer.status == 400
    assert problem_of(answer)["code"]
    assert await door.running.metric("penstock_http_refused_total", status="400") == before + 1


async def test_a_head_without_end_is_refused(door: Door) -> None:
    async with raw_http.connected(door.running.http_url) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * (1 << 17))
        answer = await connection.answer()
    assert answer.status == 431
    assert problem_of(answer)["code"]


async def test_nothing_of_all_this_was_our_fault_or_was_published(door: Door) -> None:
    rude = [(b"\xff" * 100, FORGERY()), (event(text="\0"), FORGERY()), (b"", FORGERY(wrong_secret=True))]
    answers = [await door.post(body, forgery) for body, forgery in rude]
    assert {answer.status for answer in answers} == {400, 401}
    page = (await raw_http.exchange(door.running.http_url, "GET", "/metrics", {})).body.decode()
    ours = [
        line for line in page.splitlines() if line.startswith("penstock_http_refused_total") and 'status="5' in line
    ]
    assert ours == []
    assert "Traceback" not in door.running.err
    # One sound event all along: stored once, and nothing else.
    assert (await door.post(event())).status == 200
    assert await door.running.metric("penstock_inbound_messages_total") == 1
