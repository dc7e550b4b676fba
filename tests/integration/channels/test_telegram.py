"""Telegram and the room over HTTP: a conversation both ways, and everything that must not get in."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.base import settings
from penstock.channels import ports, wiring
from penstock.channels.service import inbound
from penstock.channels.testing import telegram_sender, telegram_simulator
from penstock.messages.v1 import outbound_pb2
from tests.integration.channels import refusals
from tests.integration.channels.test_room import handle, receipts
from tests.unit.channels import fakes

HEADER = "x-telegram-bot-api-secret-token"
Behaviour, Forgery = telegram_simulator.Behaviour, telegram_simulator.Forgery


@dataclasses.dataclass
class Talk:
    """The simulated Telegram, and the account that is its bot's."""

    simulator: telegram_simulator.TelegramSimulator
    account: ports.Account
    address: str

    def command(self, command_id: str = "c-1", text: str = "hi", **fields: Any) -> outbound_pb2.SendCommand:
        """What an app asks to say in the garden."""
        command = fakes.command(command_id, text, channel="telegram", account=self.account.id)
        command.conversation = str(self.simulator.platform.chat("garden").id)
        command.MergeFrom(outbound_pb2.SendCommand(**fields))
        return command

    def post(self, body: bytes, **headers: str) -> "asyncio.Future[int]":
        """Post any request to the account's URL; its status."""
        path = f"/webhooks/telegram/{self.account.id}"
        given = {"content-type": "application/json", HEADER: self.simulator.words[0]}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.ensure_future(asyncio.to_thread(posted, self.address, path, given, body))


@contextlib.asynccontextmanager
async def talking(room: wiring.ChannelsRoom, address: str, name: str = "bot") -> AsyncGenerator[Talk]:
    async with telegram_simulator.TelegramSimulator() as simulator:
        made = await room.accounts.create(
            "acme", "telegram", name, config=simulator.config, secrets=dict(simulator.secrets)
        )
        simulator.connect(f"http://{address}/webhooks/telegram/{made.account.id}")
        yield Talk(simulator, made.account, address)
        assert simulator.faults == []


@pytest.fixture
async def talk(shipped: wiring.ChannelsRoom, address: str) -> AsyncGenerator[Talk]:
    async with talking(shipped, address) as found:
        yield found


def posted(address: str, path: str, headers: dict[str, str], body: bytes) -> int:
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    problem = response.read()
    connection.close()
    if response.status >= 400:
        told = json.loads(problem)
        assert (told["status"], bool(told["code"])) == (response.status, True)
    return response.status


async def test_a_conversation_comes_in_each_event_once(house: Any, talk: Talk):
    simulator = talk.simulator
    said = await simulator.say("garden", "helo 👋🏽")
    there = [
        said,
        await simulator.edit("garden", said.message_id, "hello"),
        await simulator.react("garden", said.message_id, "👍"),
        await simulator.attach("garden", "plan.pdf", b"%PDF"),
        await simulator.pin("garden", said.message_id),
        await simulator.say("garden", "yes", reply_to=said.message_id),
    ]
    again = [await simulator.repeat(one) for one in there]
    assert {one.status for one in there + again} == {200}
    found = await refusals.inbox(house)
    kinds = [one.relation.WhichOneof("kind") for one in found]
    assert kinds == [None, "edit", "reaction", None, "pin", "reply"]
    assert [one.event_id for one in found] == [one.event_id for one in there]
    assert {one.conversation for one in found} == {str(simulator.platform.chat("garden").id)}
    assert {(one.tenant, one.channel, one.account) for one in found} == {("acme", "telegram", talk.account.id)}


async def test_reactions_that_change_together_are_stored_one_by_one(house: Any, talk: Talk):
    said = await talk.simulator.say("garden", "hello")
    changed = await talk.simulator.react("garden", said.message_id, "👍", before=("🔥", "👎"), removed=True)
    both = await talk.simulator.post_update(
        message_reaction={
            **json.loads(changed.body)["message_reaction"],
            "old_reaction": [{"type": "emoji", "emoji": "🔥"}],
            "new_reaction": [{"type": "emoji", "emoji": "🎉"}],
        }
    )
    assert [one.event_id for one in (await refusals.inbox(house))[2:]] == [f"{both.event_id}.0", f"{both.event_id}.1"]


async def test_what_nobody_has_heard_of_is_taken_kept_and_counted_once(house: Any, talk: Talk):
    before = inbound.unknown_kinds.labels("telegram")._value.get()
    news = await talk.simulator.post_update(hologram_call={"id": "call-1", "words": "héllo"})
    assert (news.status, (await talk.simulator.repeat(news)).status) == (200, 200)
    rows = await house.rows("select event_id, kind, body from channels.unknown_event")
    assert [(event_id, kind, bytes(body)) for event_id, kind, body in rows] == [
        (news.event_id, "hologram_call", news.body)
    ]
    assert inbound.unknown_kinds.labels("telegram")._value.get() == before + 1
    assert await refusals.inbox(house) == []


async def test_an_app_speaks_changes_its_mind_and_reacts(house: Any, shipped: wiring.ChannelsRoom, talk: Talk):
    asked = await talk.simulator.say("garden", "hello")
    await handle(shipped, talk.command("c-1", "hi"))
    edit, gone = talk.command("c-2", "hi again", target_command_id="c-1"), talk.command("c-4", target_command_id="c-1")
    edit.relation.edit.SetInParent()
    gone.relation.deletion.SetInParent()
    await handle(shipped, edit)
    reaction = talk.command("c-3")
    reaction.relation.reaction.message_id, reaction.relation.reaction.name = asked.message_id, "👍"
    await handle(shipped, reaction)
    await handle(shipped, gone)
    heard = [(one.kind, one.text) for one in talk.simulator.heard("garden")]
    assert heard == [("send", "hi"), ("edit", "hi again"), ("react", "👍"), ("delete", "")]
    assert {one.status for one in await receipts(house)} == {outbound_pb2.RECEIPT_STATUS_SENT}


async def test_a_refusal_is_a_receipt_with_telegrams_words(house: Any, shipped: wiring.ChannelsRoom, talk: Talk):
    talk.simulator.behave(Behaviour(status=403, words="Forbidden: bot was blocked by the user"))
    await handle(shipped, talk.command())
    (told,) = await receipts(house)
    assert (told.status, told.code) == (outbound_pb2.RECEIPT_STATUS_REJECTED, "blocked")
    assert "bot was blocked by the user" in told.detail


async def test_who_does_not_know_the_word_is_401_and_leaves_nothing(house: Any, talk: Talk):
    for word, code in ((telegram_sender.WRONG_SECRET, "wrong_signature"), ("", "missing_signature")):
        with refusals.counted("telegram", code):
            assert (await talk.simulator.say("garden", "x", forgery=Forgery(secret=word))).status == 401
    assert await refusals.inbox(house) == []


async def test_what_cannot_be_read_is_refused_and_counted_by_reason(house: Any, talk: Talk):
    for body, content_type, status, code in UNREADABLE:
        with refusals.counted("telegram", code):
            assert (await talk.post(body, content_type=content_type), body) == (status, body)
    assert await refusals.inbox(house) == []


UNREADABLE = [
    *refusals.unreadable(b'{"update_id": 1'),
    (b"\x1f\x8b\x08\x00", "application/json", 400, "bad_json"),
    (b'{"update_id": 1, "message": {"text": "\\ud800"}}', "application/json", 400, "bad_text"),
    (b'{"update_id": "1", "message": {}}', "application/json", 400, "bad_event"),
    (b'{"update_id": 1}', "application/json", 400, "bad_event"),
    (b"[]", "application/json", 400, "bad_event"),
    (b'{"update_id": 1, "x": {}}', "application/x-www-form-urlencoded", 415, "wrong_content_type"),
]
"""Bodies, what they say they are, and how they are refused."""


async def test_what_is_too_large_is_413_before_it_is_read(house: Any, talk: Talk):
    with refusals.counted("telegram", "body_too_large"):
        assert await talk.post(b'{"update_id": 1, "message": {"text": "' + b"x" * 10_001) == 413
    assert await refusals.inbox(house) == []


async def test_an_account_hears_its_own_word_only_and_none_of_another_channel(
    house: Any, shipped: wiring.ChannelsRoom, address: str, talk: Talk
):
    async with talking(shipped, address, "other") as other:
        stolen = Forgery(secret=other.simulator.words[0])
        assert (await talk.simulator.say("garden", "x", forgery=stolen)).status == 401
    made = await shipped.accounts.create("acme", "webhook", "shop", config={"url": "https://example.org/hook"})
    for path in (f"/webhooks/telegram/{made.account.id}", f"/webhooks/webhook/{talk.account.id}"):
        assert await asyncio.to_thread(posted, address, path, {HEADER: talk.simulator.words[0]}, b"{}") == 404
    assert await refusals.inbox(house) == []


async def test_a_disabled_account_hears_and_says_nothing(house: Any, shipped: wiring.ChannelsRoom, talk: Talk):
    await shipped.accounts.disable("acme", talk.account.id)
    assert (await talk.simulator.say("garden", "x")).status == 403
    assert (await talk.simulator.say("garden", "x", forgery=Forgery(secret="x" * 20))).status == 401
    await handle(shipped, talk.command())
    assert (await receipts(house))[0].code == "account_disabled"
    assert (await refusals.inbox(house), list(talk.simulator.heard("garden"))) == ([], [])


async def test_word_and_token_are_rotated_while_people_talk(house: Any, shipped: wiring.ChannelsRoom, talk: Talk):
    simulator, account = talk.simulator, talk.account.id
    first = {one.kind: one.id for one in (await shipped.accounts.show("acme", account)).secrets}
    await simulator.say("garden", "with the first word")
    word = settings.Secret(telegram_simulator.fresh_word())
    token = settings.Secret(telegram_simulator.fresh_token())
    await shipped.accounts.add_secret("acme", account, word)
    await shipped.accounts.add_secret("acme", account, token, kind=ports.SecretKind.TOKEN)
    await handle(shipped, talk.command("c-1"))  # Telegram does not know the new token yet
    assert (await simulator.say("garden", "still the first")).status == 200
    simulator.words.insert(0, word.reveal())
    simulator.revoked.add(simulator.tokens[0])
    simulator.tokens.append(token.reveal())
    await handle(shipped, talk.command("c-2"))
    for kind in ports.SecretKind:
        await shipped.accounts.retire_secret("acme", account, first[kind])
    assert (await simulator.say("garden", "the second")).status == 200
    assert (await simulator.say("garden", "x", forgery=Forgery(secret=simulator.words[1]))).status == 401
    await handle(shipped, talk.command("c-3"))
    assert len(simulator.heard("garden")) == 3
    assert len(await refusals.inbox(house)) == 3


async def test_an_account_needs_a_token_and_is_given_a_word(shipped: wiring.ChannelsRoom):
    with pytest.raises(Exception, match="missing_secret"):
        await shipped.accounts.create("acme", "telegram", "bot")
    token = {ports.SecretKind.TOKEN: settings.Secret(telegram_simulator.fresh_token())}
    made = await shipped.accounts.create("acme", "telegram", "bot", secrets=token)
    assert made.secrets[ports.SecretKind.SIGNING].made
    assert not made.secrets[ports.SecretKind.TOKEN].made
