"""The shipped channels over HTTP: a simulated platform and a terminal talk to the room as the outside world does."""

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.base import settings
from penstock.channels import ports, wiring
from penstock.channels.testing import webhook_sender, webhook_signature, webhook_simulator
from penstock.messages.v1 import message_pb2
from tests.integration.channels.test_room import handle, receipts
from tests.unit.channels import fakes

SECRETS = [webhook_sender.fresh_secret(), webhook_sender.fresh_secret()]


@contextlib.asynccontextmanager
async def talking(room: wiring.ChannelsRoom, address: str) -> AsyncGenerator[tuple[Any, ports.Account]]:
    """A simulated platform with an account of its own."""
    async with webhook_simulator.WebhookSimulator(SECRETS[:1]) as simulator:
        secret = {ports.SecretKind.SIGNING: settings.Secret(SECRETS[0])}
        made = await room.accounts.create("acme", "webhook", "shop", config={"url": simulator.url}, secrets=secret)
        simulator.connect(f"http://{address}/webhooks/webhook/{made.account.id}")
        yield simulator, made.account


async def test_a_conversation_comes_in_each_event_once(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, _):
        said = await simulator.say("room", "helo")
        posted = [
            said,
            await simulator.edit("room", said.message_id, "hello"),
            await simulator.react("room", said.message_id, "+1"),
            await simulator.attach("room", "plan.pdf", b"%PDF"),
            await simulator.delete("room", said.message_id),
        ]
        again = [await simulator.repeat(one) for one in posted]
    assert {one.status for one in posted + again} == {200}
    found = [message_pb2.Message.FromString(bytes(row[2])) for row in await house.outbox("MESSAGES_INBOUND")]
    assert [one.relation.WhichOneof("kind") for one in found] == [None, "edit", "reaction", None, "deletion"]
    assert [one.event_id for one in found] == [one.event_id for one in posted]


async def test_what_is_not_signed_as_it_should_be_is_401_and_leaves_nothing(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    forgeries = [
        webhook_sender.Forgery(wrong_secret=True),
        webhook_sender.Forgery(age_s=400),
        webhook_sender.Forgery(age_s=-400),
        webhook_sender.Forgery(body=b'{"type": "message.created"}'),
        *(webhook_sender.Forgery(without=frozenset({f"webhook-{name}"})) for name in ("id", "timestamp", "signature")),
    ]
    async with talking(shipped, address) as (simulator, _):
        statuses = {(await simulator.say("room", "x", forgery=forgery)).status for forgery in forgeries}
    assert statuses == {401}
    assert await house.outbox("MESSAGES_INBOUND") == []


async def test_a_secret_is_rotated_while_people_talk(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, account):
        details = await shipped.accounts.show("acme", account.id)
        await shipped.accounts.add_secret("acme", account.id, settings.Secret(SECRETS[1]))
        simulator.use_secrets([SECRETS[1], SECRETS[0]])
        assert (await simulator.say("room", "new")).status == 200
        assert (await simulator.say("room", "old", forgery=webhook_sender.Forgery(second_secret=True))).status == 200
        await shipped.accounts.retire_secret("acme", account.id, details.secrets[0].id)
        assert (await simulator.say("room", "old", forgery=webhook_sender.Forgery(second_secret=True))).status == 401
        await shipped.accounts.disable("acme", account.id)
        assert (await simulator.say("room", "new")).status == 403
    assert len(await house.outbox("MESSAGES_INBOUND")) == 2


@pytest.mark.parametrize(
    ("path", "method", "headers", "body", "status"),
    [
        ("/webhooks/webhook/acc-unknown", "POST", {}, b"{}", 404),
        ("/webhooks/nowhere/acc-aaaaaaaaaaaaaaaaaaaaaaaaaa", "POST", {}, b"{}", 404),
        ("/webhooks/webhook/acc-aaaaaaaaaaaaaaaaaaaaaaaaaa", "POST", {}, b"{}", 404),
        ("/webhooks/webhook/a.%3E", "POST", {}, b"{}", 404),
        ("/webhooks/webhook/%00", "POST", {}, b"{}", 404),
        ("/webhooks/webhook/{account}", "GET", {}, b"", 405),
        ("/webhooks/webhook/{account}", "POST", {}, b"{}", 401),
        ("/webhooks/webhook/{account}", "POST", {}, b"x" * 10_001, 413),
        ("/webhooks/webhook/{account}", "POST", {"transfer-encoding": "chunked"}, b"x" * 10_001, 413),
    ],
)
async def test_bad_requests_get_a_problem(
    shipped: wiring.ChannelsRoom,
    address: str,
    path: str,
    method: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
):
    async with talking(shipped, address) as (_, account):
        answer = await asyncio.to_thread(ask, address, method, path.replace("{account}", account.id), headers, body)
    assert answer[0] == status
    assert answer[1]["status"] == status
    assert answer[1]["code"]


def ask(address: str, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(address, timeout=5)
    chunks: Any = iter([body]) if "transfer-encoding" in headers else body
    connection.request(method, path, chunks, headers, encode_chunked="transfer-encoding" in headers)
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    return response.status, document


async def test_commands_go_out_once_and_ambiguity_is_told(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, account):
        simulator.behave(webhook_simulator.Behaviour(cut=True, taken=True, times=1))
        command = fakes.command(account=account.id)
        with contextlib.suppress(Exception):
            await handle(shipped, command)
        await handle(shipped, command)
        await handle(shipped, command)
        assert [one.text for one in simulator.conversation("room")] == ["hi"]
        assert simulator.faults == []
    (told,) = await receipts(house)
    assert (told.ambiguous, told.attempts) == (True, 2)


async def test_a_terminal_says_something_and_hears_the_answer_live(shipped: wiring.ChannelsRoom, address: str):
    secret = {ports.SecretKind.SIGNING: settings.Secret(SECRETS[0])}
    account = (await shipped.accounts.create("acme", "terminal", "me", secrets=secret)).account
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        connection = http.client.HTTPConnection(address, timeout=10)
        headers = signed(SECRETS[0], b"")
        connection.request("GET", f"/v1/terminal/{account.id}/replies?after=0", headers=headers)
        response = connection.getresponse()
        while line := response.readline():
            if line.strip():
                loop.call_soon_threadsafe(heard.put_nowait, json.loads(line))
        connection.close()

    listening = asyncio.create_task(asyncio.to_thread(listen))
    async with asyncio.timeout(10):
        for number in range(2):
            said = fakes.command(f"c{number}", f"hello {number}", channel="terminal", account=account.id)
            await handle(shipped, said)
            line = await heard.get()
            assert (line["sequence"], line["command"]["text"]) == (number + 1, f"hello {number}")
        shipped.stop()
        await listening


def signed(secret: str, body: bytes) -> dict[str, str]:
    now = str(int(time.time()))
    key = webhook_signature.key_from(secret)
    return {
        "webhook-id": "listen",
        "webhook-timestamp": now,
        "webhook-signature": webhook_signature.signature(key, "listen", now, body),
    }
