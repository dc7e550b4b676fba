"""Slack over HTTP and a real Postgres: a simulated workspace talks to the room as the outside world does."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from penstock.base import settings
from penstock.channels import ports, wiring
from penstock.channels.service import inbound
from penstock.channels.testing import slack_delivery, slack_simulator
from penstock.messages.v1 import message_pb2, outbound_pb2
from tests.integration.channels import refusals
from tests.integration.channels.test_room import handle, receipts
from tests.unit.channels import fakes

ROOM = "C0GARDEN"
SIGNING = [slack_simulator.fresh_signing_secret() for _ in range(2)]
TOKENS = [slack_simulator.fresh_token() for _ in range(2)]
Forgery = slack_delivery.Forgery


@contextlib.asynccontextmanager
async def talking(
    room: wiring.ChannelsRoom, address: str, **options: Any
) -> AsyncGenerator[tuple[slack_simulator.SlackSimulator, ports.Account]]:
    """A simulated workspace with an account of its own."""
    async with slack_simulator.SlackSimulator(SIGNING, TOKENS, **options) as simulator:
        made = await room.accounts.create(
            "acme", "slack", "garden", config=simulator.config, secrets=dict(simulator.secrets)
        )
        simulator.connect(f"http://{address}/webhooks/slack/{made.account.id}")
        yield simulator, made.account
        await simulator.told()
        assert simulator.faults == []


async def test_the_request_url_is_verified(shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, _):
        assert await simulator.verify_url("a-challenge") == (200, b"a-challenge")
        assert (await simulator.verify_url("x", forgery=Forgery(wrong_secret=True)))[0] == 401


async def test_a_conversation_comes_in_each_event_once(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, _):
        said = await simulator.say(ROOM, "1 < 2 & helo")
        posted = [
            said,
            await simulator.say(ROOM, "yes", reply_to=said.message_id),
            await simulator.edit(ROOM, said.message_id, "hello"),
            await simulator.react(ROOM, said.message_id, "👍"),
            await simulator.react(ROOM, said.message_id, "👍", removed=True),
            await simulator.pin(ROOM, said.message_id),
            await simulator.attach(ROOM, "plan.pdf", b"%PDF"),
            await simulator.delete(ROOM, said.message_id),
        ]
        again = [await simulator.repeat(one) for one in posted]
    assert {one.status for one in posted + again} == {200}
    found = await refusals.inbox(house)
    assert [one.event_id for one in found] == [one.event_id for one in posted]
    kinds = [one.relation.WhichOneof("kind") for one in found]
    assert kinds == [None, "reply", "edit", "reaction", "reaction_removed", "pin", None, "deletion"]
    assert found[0].text == "1 < 2 & helo"
    assert found[3].relation.reaction.name == "👍"
    assert {one.channel for one in found} == {"slack"}


async def test_a_mention_in_a_channel_that_is_listened_to_comes_in_once(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    changed = inbound.duplicates.labels("slack", "changed")._value.get()
    async with talking(shipped, address) as (simulator, _):
        posted = await simulator.mention(ROOM, "are they watered?")
        await simulator.unfurl(ROOM, posted[0].message_id)
    assert [one.status for one in posted] == [200, 200]
    (found,) = await refusals.inbox(house)
    assert found.text == f"<@{found.attributes['bot_user_id']}> are they watered?"
    assert inbound.duplicates.labels("slack", "changed")._value.get() == changed


async def test_what_penstock_does_itself_comes_back_as_a_bots_doing(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, account):
        said = await simulator.say(ROOM, "hello")
        own = fakes.command(
            "c1", "hi", channel="slack", account=account.id, conversation=ROOM, app="echo", thread=said.message_id
        )
        await handle(shipped, own)
        edit = fakes.command("c2", "hi!", channel="slack", account=account.id, conversation=ROOM, app="echo")
        edit.relation.edit.SetInParent()
        edit.target_command_id = "c1"
        await handle(shipped, edit)
        reaction = fakes.command("c3", "", channel="slack", account=account.id, conversation=ROOM, app="echo")
        reaction.relation.reaction.message_id, reaction.relation.reaction.name = said.message_id, "💧"
        await handle(shipped, reaction)
        deletion = fakes.command("c4", "", channel="slack", account=account.id, conversation=ROOM, app="echo")
        deletion.relation.deletion.SetInParent()
        deletion.target_command_id = "c1"
        await handle(shipped, deletion)
        await simulator.told()
        heard = [(one.kind, one.text) for one in simulator.heard(ROOM)]
    assert heard == [("send", "hi"), ("edit", "hi!"), ("react", "💧"), ("delete", "")]
    person, *bots = await refusals.inbox(house)
    assert person.sender.kind == message_pb2.SENDER_KIND_PERSON
    assert len(bots) == 4
    assert {one.sender.kind for one in bots} == {message_pb2.SENDER_KIND_BOT}
    assert {told.status for told in await receipts(house)} == {outbound_pb2.RECEIPT_STATUS_SENT}


FORGERIES = [
    (Forgery(wrong_secret=True), "wrong_signature"),
    (Forgery(age_s=400), "stale_signature"),
    (Forgery(age_s=-400), "stale_signature"),
    (Forgery(body=b'{"type": "event_callback"}'), "wrong_signature"),
    (Forgery(without=frozenset({"x-slack-signature"})), "missing_signature"),
    (Forgery(without=frozenset({"x-slack-request-timestamp"})), "missing_signature"),
]


async def test_what_is_not_signed_as_it_should_be_is_401_and_leaves_nothing(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, _):
        for forgery, code in FORGERIES:
            with refusals.counted("slack", code):
                assert (await simulator.say(ROOM, "x", forgery=forgery)).status == 401, code
    assert await refusals.inbox(house) == []


async def test_a_signed_request_is_no_longer_believed_ten_minutes_later(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, _):
        said = await simulator.say(ROOM, "x")
        status, _ = await simulator.deliver(said.body, forgery=Forgery(age_s=600))
        assert (said.status, status) == (200, 401)
    assert len(await refusals.inbox(house)) == 1


FAULTS = [
    *refusals.unreadable(b'{"type": "event_callback", "event_id": "Ev1"'),
    (b'{"type": "event_callback", "event_id": "Ev1", "event": 5}', "application/json", 400, "bad_event"),
    (b'{"type": "event_callback"}', "application/x-www-form-urlencoded", 400, "bad_form"),
]


async def test_a_signed_body_that_breaks_a_rule_is_refused_and_counted(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, _):
        for body, content_type, status, code in FAULTS:
            with refusals.counted("slack", code):
                told, answer = await simulator.deliver(body, forgery=Forgery(content_type=content_type))
                assert (told, json.loads(answer)["code"]) == (status, code)
    assert await refusals.inbox(house) == []


async def test_another_account_a_disabled_one_and_a_retired_secret_get_their_status(
    house: Any, shipped: wiring.ChannelsRoom, address: str
):
    async with talking(shipped, address) as (simulator, account):
        details = await shipped.accounts.show("acme", account.id)
        (first,) = [one for one in details.secrets if one.kind is ports.SecretKind.SIGNING]
        second = settings.Secret(SIGNING[1])
        await shipped.accounts.add_secret("acme", account.id, second, kind=ports.SecretKind.SIGNING)
        assert (await simulator.say(ROOM, "old")).status == 200
        assert (await simulator.say(ROOM, "new", forgery=Forgery(second_secret=True))).status == 200
        await shipped.accounts.retire_secret("acme", account.id, first.id)
        assert (await simulator.say(ROOM, "old")).status == 401
        await shipped.accounts.disable("acme", account.id)
        assert (await simulator.say(ROOM, "new", forgery=Forgery(second_secret=True))).status == 403
        simulator.connect(f"http://{address}/webhooks/slack/acc-{'a' * 26}")
        assert (await simulator.say(ROOM, "x")).status == 404
        simulator.connect(f"http://{address}/webhooks/webhook/{account.id}")
        assert (await simulator.say(ROOM, "x")).status == 404
    assert [one.text for one in await refusals.inbox(house)] == ["old", "new"]


async def test_what_nobody_here_has_heard_of_is_kept_once(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address) as (simulator, _):
        strange = await simulator.post_event({"type": "canvas_dreamt", "of": "tulips"})
        again = await simulator.repeat(strange)
        form = await asyncio.to_thread(slash_command, simulator, address)
    assert (strange.status, again.status, form) == (200, 200, 200)
    assert await refusals.inbox(house) == []
    rows = await house.rows("select kind, body from channels.unknown_event order by kind")
    assert [kind for kind, _ in rows] == ["canvas_dreamt", "slash_command"]
    assert json.loads(bytes(rows[0][1])) == {"type": "canvas_dreamt", "of": "tulips"}


def slash_command(simulator: slack_simulator.SlackSimulator, address: str) -> int:
    """Somebody types `/water the tulips`."""
    body = b"token=x&command=%2Fwater&text=the+tulips&trigger_id=1.2.3"
    headers: Mapping[str, str] = simulator.sign(body, Forgery(content_type="application/x-www-form-urlencoded"))
    client = simulator._client
    assert client is not None
    connection = http.client.HTTPConnection(address, timeout=10)
    path = client._head.split(b" ")[1].decode()
    connection.request("POST", path, body, dict(headers))
    status = connection.getresponse().status
    connection.close()
    return status


async def test_a_limit_is_waited_for_and_a_lost_answer_told(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address, echoes=False) as (simulator, account):
        simulator.behave(slack_simulator.Behaviour(429, "ratelimited", "3", times=1))
        command = fakes.command(channel="slack", account=account.id, conversation=ROOM)
        with contextlib.suppress(Exception):
            await handle(shipped, command)
        assert simulator.heard(ROOM) == []
        simulator.behave(slack_simulator.Behaviour(cut=True, times=1))
        with contextlib.suppress(Exception):
            await handle(shipped, command)
        await handle(shipped, command)
        # Slack knows no repeated call: what nobody heard of is said again, and the receipt says so.
        assert [one.text for one in simulator.heard(ROOM)] == ["hi", "hi"]
    (told,) = await receipts(house)
    assert (told.status, told.ambiguous, told.attempts) == (outbound_pb2.RECEIPT_STATUS_SENT, True, 3)


async def test_a_token_is_rotated_without_losing_a_message(house: Any, shipped: wiring.ChannelsRoom, address: str):
    async with talking(shipped, address, echoes=False) as (simulator, account):
        await shipped.accounts.add_secret("acme", account.id, settings.Secret(TOKENS[1]), kind=ports.SecretKind.TOKEN)
        for number, revoked in enumerate((set(), {TOKENS[0]}, {TOKENS[1]}, set(TOKENS))):
            simulator.revoked = revoked
            await handle(
                shipped, fakes.command(f"c{number}", "hi", channel="slack", account=account.id, conversation=ROOM)
            )
    assert [told.code for told in await receipts(house)] == ["", "", "", "token_refused"]
