"""The door for webhooks: what is refused before anybody looks at a signature, and what is passed on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.entrypoints import webhooks
from penstock.channels.service import inbound
from tests.unit.channels import fakes

LIMIT = 100
PATH = f"/webhooks/webhook/{fakes.account_id()}"


class Service:
    def __init__(self, answer: ports.Answer | None = None) -> None:
        self.answer = answer or ports.Answer()
        self.requests: list[tuple[str, str, ports.WebhookRequest]] = []
        self.known = True

    async def caller(self, channel: str, account: str) -> inbound.Caller:
        if not self.known:
            raise errors.Rejected("no_account", f"no {account} on {channel}", status=404)
        found = fakes.account(letter=account[-1], channel=channel)
        return inbound.Caller(channel, fakes.Platform(channel), found, ports.Credentials(()))

    async def receive(self, caller: inbound.Caller, request: ports.WebhookRequest) -> ports.Answer:
        self.requests.append((caller.channel.name, caller.account.id, request))
        return self.answer


class Client:
    """One request as the server hands it to an application; remembers how many chunks were asked for."""

    def __init__(self, *chunks: bytes, cut: bool = False, stall: bool = False) -> None:
        self.chunks, self.cut, self.stall = list(chunks) or [b""], cut, stall
        self.read = 0
        self.refused: errors.Unavailable | None = None
        self.events: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.stall and self.read == len(self.chunks):
            await asyncio.Event().wait()
        if self.cut and self.read == len(self.chunks):
            return {"type": "http.disconnect"}
        chunk = self.chunks[self.read]
        self.read += 1
        more = self.read < len(self.chunks) or self.cut or self.stall
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def send(self, event: Any) -> None:
        self.events.append(event)

    async def post(
        self,
        service: Service,
        *,
        path: str = PATH,
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        door = webhooks.Webhooks(service, clock=fakes.clock(), bounds=webhooks.Bounds(LIMIT, 0.05, 8))  # type: ignore[arg-type]
        scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "query_string": b"a=1"}
        await door(scope, self.receive, self.send)


async def test_a_request_is_passed_on_whole_and_its_answer_written():
    service, client = Service(ports.Answer(201, "application/json", b"{}")), Client(b"one ", b"two")
    await client.post(service, headers=[(b"X-Mixed", b"a"), (b"x-mixed", b"b"), (b"content-length", b"7")])
    ((channel, account, request),) = service.requests
    assert (channel, account) == ("webhook", fakes.account_id())
    assert (request.body, request.query, request.received_at) == (b"one two", "a=1", fakes.NOW)
    assert request.headers == {"x-mixed": "a, b", "content-length": "7"}
    start, body = client.events
    assert (start["status"], body["body"]) == (201, b"{}")
    assert (b"content-length", b"2") in start["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/",
        "/webhooks/webhook",
        "/webhooks/webhook/",
        f"{PATH}/",
        f"{PATH}/more",
        f"/webhooks//{fakes.account_id()}",
        f"/webhooks/Web.Hook/{fakes.account_id()}",
        "/webhooks/webhook/a.b",
        "/webhooks/webhook/a>*",
        "/webhooks/webhook/../secret",
        "/webhooks/webhook/%2e",
        "/webhooks/webhook/ü",
        "/webhooks/webhook/a\x00",
        f"/webhooks/webhook/{'a' * 129}",
        f"//webhooks/webhook/{fakes.account_id()}",
    ],
)
async def test_other_paths_are_not_there(path: str):
    service = Service()
    with pytest.raises(errors.Rejected) as caught:
        await Client().post(service, path=path)
    assert (caught.value.status, service.requests) == (404, [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"])
async def test_other_methods_are_405(method: str):
    with pytest.raises(errors.Rejected) as caught:
        await Client().post(Service(), method=method)
    assert caught.value.status == 405


async def test_a_body_that_says_it_is_too_large_is_not_read():
    client = Client(b"x" * 200)
    with pytest.raises(errors.Rejected) as caught:
        await client.post(Service(), headers=[(b"content-length", b"101")])
    assert (caught.value.status, client.read) == (413, 0)


async def test_a_body_that_does_not_say_is_counted_while_it_comes():
    client = Client(*[b"x" * 60] * 10)
    with pytest.raises(errors.Rejected) as caught:
        await client.post(Service())
    assert (caught.value.status, client.read) == (413, 2)


async def test_a_body_at_the_limit_is_taken():
    service = Service()
    await Client(b"x" * LIMIT).post(service, headers=[(b"content-length", b"100")])
    assert len(service.requests[0][2].body) == LIMIT


@pytest.mark.parametrize("length", [b"-1", b"ten", b"1e3", b"+5", b" ", b"\xb2", b"5, 5"])
async def test_lengths_that_are_no_numbers_are_400(length: bytes):
    with pytest.raises(errors.Rejected) as caught:
        await Client(b"12345").post(Service(), headers=[(b"content-length", length)])
    assert (caught.value.status, caught.value.field) == (400, "content-length")


async def test_a_length_of_many_digits_is_413_without_a_number_of_many_digits():
    with pytest.raises(errors.Rejected) as caught:
        await Client().post(Service(), headers=[(b"content-length", b"9" * 10_000)])
    assert caught.value.status == 413


async def test_a_strangers_body_is_not_read():
    service, client = Service(), Client(b"x" * 50)
    service.known = False
    with pytest.raises(errors.Rejected) as caught:
        await client.post(service)
    assert (caught.value.status, client.read, service.requests) == (404, 0, [])


async def test_bodies_of_many_requests_share_one_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhooks, "HELD_BYTES", 0)  # then it is the limit of one body
    service, slow = Service(), Client(b"x" * 60, stall=True)
    door = webhooks.Webhooks(service, clock=fakes.clock(), bounds=webhooks.Bounds(LIMIT, 30, 8))  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b""}
    held = asyncio.create_task(door(dict(scope), slow.receive, slow.send))
    while slow.read == 0:
        await asyncio.sleep(0)
    other = Client(b"x" * 60)
    with pytest.raises(errors.Unavailable) as caught:
        await door(dict(scope), other.receive, other.send)
    assert (caught.value.code, service.requests) == ("bodies_busy", [])
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    again = Client(b"x" * 60)
    await door(dict(scope), again.receive, again.send)
    assert len(service.requests) == 1


async def test_one_account_has_so_many_requests_at_once_and_others_do_not_feel_it():
    class Slow(Service):
        def __init__(self) -> None:
            super().__init__()
            self.release = asyncio.Event()

        async def receive(self, caller: inbound.Caller, request: ports.WebhookRequest) -> ports.Answer:
            await self.release.wait()
            return await super().receive(caller, request)

    service = Slow()
    door = webhooks.Webhooks(service, clock=fakes.clock(), bounds=webhooks.Bounds(LIMIT, 30, 3))  # type: ignore[arg-type]

    async def post(letter: str) -> Client:
        client, path = Client(b"x"), f"/webhooks/webhook/{fakes.account_id(letter)}"
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        try:
            await door(scope, client.receive, client.send)
        except errors.Unavailable as error:
            client.refused = error
        return client

    flood = [asyncio.create_task(post("a")) for _ in range(50)]
    other = asyncio.create_task(post("b"))
    await asyncio.wait(flood, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    refused = [(await one) for one in flood if one.done()]
    assert {(one.refused.code, one.refused.after_s, one.read) for one in refused} == {("account_busy", 1.0, 0)}
    assert (len(refused), other.done()) == (47, False), "three of one account, and one of another, are under way"
    service.release.set()
    assert len([one for one in await asyncio.gather(other, *flood) if one.events]) == 4
    assert (await post("a")).events[0]["status"] == 200, "there is room again"


async def test_a_slow_body_is_408():
    with pytest.raises(errors.Rejected) as caught:
        await Client(b"a", stall=True).post(Service())
    assert caught.value.status == 408


async def test_a_body_cut_short_is_400_and_never_taken_for_whole():
    service = Service()
    with pytest.raises(errors.Rejected) as caught:
        await Client(b"a", cut=True).post(service)
    assert (caught.value.status, service.requests) == (400, [])


@pytest.mark.parametrize("value", [b"a\x00b", b"a\r\nx: y", b"\x1b[31m", b"\x7f"])
async def test_control_characters_in_headers_are_400(value: bytes):
    with pytest.raises(errors.Rejected) as caught:
        await Client().post(Service(), headers=[(b"x-odd", value)])
    assert (caught.value.status, caught.value.field) == (400, "x-odd")


async def test_bytes_beyond_ascii_in_headers_of_others_do_no_harm():
    service = Service()
    await Client().post(service, headers=[(b"x-forwarded-user", "José".encode())])
    assert len(service.requests) == 1
