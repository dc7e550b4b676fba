"""Zoho Cliq over HTTP and a real Postgres: a simulated network talks to the room as the outside world does."""

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from penstock.base import settings
from penstock.channels import ports, wiring
from penstock.channels.service import inbound
from penstock.channels.testing import cliq_sender, cliq_simulator
from penstock.messages.v1 import outbound_pb2
from tests.integration.channels import refusals
from tests.integration.channels.test_room import handle, receipts
from tests.unit.channels import fakes

SIGNING = [cliq_simulator.fresh_signing_secret() for _ in range(2)]
TOKENS = [cliq_simulator.fresh_token() for _ in range(2)]
Forgery = cliq_sender.Forgery


@contextlib.asynccontextmanager
async def talking(
    room: wiring.ChannelsRoom, address: str, **options: Any
) -> AsyncGenerator[tuple[cliq_simulator.CliqSimulator, ports.Account]]:
    """A simulated network with an account of its own."""
    async with cliq_simulator.CliqSimulator(SIGNING, TOKENS, **options) as simulator:
        made = await room.accounts.create(
            "acme", "cliq", "garden", config=simulator.config, secrets=dict(simulator.secrets)
        )
        simulator.connect(f"http://{address}/webhooks/cliq/{made.account.id}")
        yield simulator, made.account
        assert simulator.faults == []


def command(account: ports.Account, number: str, text: str = "hi", **fields: Any) -> outbound_pb2.SendCommand:
    return fakes.command(number, text, channel="cliq", account=account.id, app="echo", **fields)


async def test_a_conversation_comes_in_each_event_once(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, _):
        said = await simulator.say("garden", "helo 👋🏽")
        posted = [
            said,
            await simulator.say("garden", "yes", reply_to=said.message_id),
            await simulator.say("garden", "in here", thread="greenhouse"),
            await simulator.edit("garden", said.message_id, "hello"),
            await simulator.attach("garden", "plan.pdf", b"%PDF", text="the plan"),
            await simulator.delete("garden", said.message_id),
        ]
        again = [await simulator.repeat(one) for one in posted]
        garden = simulator.platform.chat("garden")
    assert {one.status for one in posted + again} == {200}
    found = await refusals.inbox(house)
    assert [one.event_id for one in found if one.message_id] == [one.event_id for one in posted if one.message_id]
    kinds = [one.relation.WhichOneof("kind") for one in found]
    assert kinds == [None, "reply", None, "edit", None, "deletion"]
    assert found[3].relation.edit.message_id == found[5].relation.deletion.message_id == said.message_id
    assert [file.name for file in found[4].attachments] == ["plan.pdf"]
    assert {one.conversation for one in found} == {garden.conversation}
    assert [bool(one.thread) for one in found] == [False, False, True, False, False, False]
    assert {(one.tenant, one.channel) for one in found} == {("acme", "cliq")}


async def test_a_mention_where_the_bot_listens_comes_in_once(house: Any, shipped: wiring.ChannelsRoom, address: str):
    changed = inbound.duplicates.labels("cliq", "changed")._value.get()
    async with talking(shipped, address) as (simulator, _):
        posted = await simulator.mention("garden", "are they watered?")
    assert [one.status for one in posted] == [200, 200]
    (found,) = await refusals.inbox(house)
    assert found.text == "@Garden Bot are they watered?"
    assert inbound.duplicates.labels("cliq", "changed")._value.get() == changed


async def test_one_person_is_answered_alone(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, account):
        assert (await simulator.say("@ann", "hello")).status == 200
        assert (await simulator.say("@bob", "hello")).status == 200
        ann, bob = await refusals.inbox(house)
        assert "organization_id" not in ann.attributes
        await handle(shipped, command(account, "c1", "hi Ann", conversation=ann.conversation))
        edit = command(account, "c2", "hello Ann", conversation=ann.conversation, target_command_id="c1")
        edit.relation.edit.SetInParent()
        await handle(shipped, edit)
        gone = command(account, "c3", "", conversation=ann.conversation, target_command_id="c1")
        gone.relation.deletion.SetInParent()
        await handle(shipped, gone)
        assert [(one.kind, one.text) for one in simulator.heard("@ann")] == [
            ("send", "hi Ann"),
            ("edit", "hello Ann"),
            ("delete", ""),
        ]
        assert simulator.heard("@bob") == []
    assert ann.conversation != bob.conversation
    assert {told.status for told in await receipts(house)} == {outbound_pb2.RECEIPT_STATUS_SENT}


FORGERIES = [
    (Forgery(wrong_secret=True), "wrong_signature"),
    (Forgery(second_secret=True), "wrong_signature"),
    (Forgery(body=b'{"handler": {"type": "message_handler"}}'), "wrong_signature"),
    (Forgery(without=frozenset({"x-cliq-signature"})), "missing_signature"),
    (Forgery(signature="0" * 64), "wrong_signature"),
    (Forgery(signature="not a signature"), "bad_signature"),
]


async def test_what_is_not_signed_as_it_should_be_is_401_and_leaves_nothing(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, _):
        for forgery, code in FORGERIES:
            with refusals.counted("cliq", code):
                assert (await simulator.say("garden", "x", forgery=forgery)).status == 401, code
    assert await refusals.inbox(house) == []


@pytest.mark.parametrize("encoding", ["hex", "base64"])
async def test_a_replay_is_taken_and_collapses(house: Any, shipped: wiring.ChannelsRoom, address: str, encoding: str):
    async with talking(shipped, address) as (simulator, _):
        simulator.encoding = encoding
        said = await simulator.say("garden", "x")
        assert [(await simulator.repeat(said)).status for _ in range(3)] == [200, 200, 200]
    assert len(await refusals.inbox(house)) == 1


FAULTS = [
    *refusals.unreadable(b'{"handler": {"type": "welcome_handler"}, "params": {}'),
    (b'{"handler": {"type": "message_handler"}, "params": {"message": 5}}', "application/json", 400, "bad_event"),
    (b'{"handler": {"type": "message_handler"}}', "application/json", 400, "bad_event"),
    (b"handler=x&params=y", "application/x-www-form-urlencoded", 415, "wrong_content_type"),
]


async def test_a_signed_body_that_breaks_a_rule_is_refused_and_counted(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, _):
        for body, content_type, status, code in FAULTS:
            with refusals.counted("cliq", code):
                assert await simulator.deliver(body, forgery=Forgery(content_type=content_type)) == status, code
    assert await refusals.inbox(house) == []


async def test_another_account_a_disabled_one_and_a_retired_secret_get_their_status(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, account):
        details = await shipped.accounts.show("acme", account.id)
        (first,) = [one for one in details.secrets if one.kind is ports.SecretKind.SIGNING]
        await shipped.accounts.add_secret(
            "acme", account.id, settings.Secret(SIGNING[1]), kind=ports.SecretKind.SIGNING
        )
        assert (await simulator.say("garden", "old")).status == 200
        assert (await simulator.say("garden", "new", forgery=Forgery(second_secret=True))).status == 200
        await shipped.accounts.retire_secret("acme", account.id, first.id)
        assert (await simulator.say("garden", "old")).status == 401
        await shipped.accounts.disable("acme", account.id)
        assert (await simulator.say("garden", "new", forgery=Forgery(second_secret=True))).status == 403
        simulator.connect(f"http://{address}/webhooks/cliq/acc-{'a' * 26}")
        assert (await simulator.say("garden", "x")).status == 404
        simulator.connect(f"http://{address}/webhooks/webhook/{account.id}")
        assert (await simulator.say("garden", "x")).status == 404
    assert [one.text for one in await refusals.inbox(house)] == ["old", "new"]


async def test_what_nobody_here_has_heard_of_is_kept_once_and_the_rest_named(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    before = inbound.unknown_kinds.labels("cliq")._value.get()
    async with talking(shipped, address) as (simulator, _):
        strange = await simulator.post_event("dream_handler", {"of": "tulips"})
        again = await simulator.repeat(strange)
        welcome = await simulator.post_event("welcome_handler", {"newuser": True})
    assert (strange.status, again.status, welcome.status) == (200, 200, 200)
    assert await refusals.inbox(house) == []
    ((kind, body),) = await house.rows("select kind, body from channels.unknown_event")
    assert (kind, json.loads(bytes(body))["params"]) == ("dream_handler", {"of": "tulips"})
    assert inbound.unknown_kinds.labels("cliq")._value.get() == before + 1


async def test_a_lost_answer_is_told_and_a_token_rotated_without_losing_a_message(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, account):
        conversation = simulator.platform.chat("garden").conversation
        simulator.behave(cliq_simulator.Behaviour(cut=True, times=1))
        for _ in range(2):
            with contextlib.suppress(Exception):
                await handle(shipped, command(account, "c0", conversation=conversation))
        # Cliq knows no repeated call: what nobody heard of is said again, and the receipt says so.
        assert [one.text for one in simulator.heard("garden")] == ["hi", "hi"]
        await shipped.accounts.add_secret("acme", account.id, settings.Secret(TOKENS[1]), kind=ports.SecretKind.TOKEN)
        for number, revoked in enumerate((set(), {TOKENS[0]}, {TOKENS[1]}, set(TOKENS)), 1):
            simulator.revoked = revoked
            await handle(shipped, command(account, f"c{number}", conversation=conversation))
    first, *rest = await receipts(house)
    assert (first.status, first.ambiguous) == (outbound_pb2.RECEIPT_STATUS_SENT, True)
    assert [told.code for told in rest] == ["", "", "", "token_refused"]
