"""What the Slack adapter sends, against a Slack that takes it, refuses it, limits it, or loses its tongue."""

import contextlib

import pytest

from penstock.base import errors, ids, settings
from penstock.channels import ports
from penstock.channels.adapters import channel_slack, http_connection, slack_answers, token_refusals
from penstock.channels.testing import slack_simulator, slack_trial
from penstock.messages.v1 import outbound_pb2
from tests.integration.channels import sending

SECRETS = slack_trial.SECRETS
NEW, OLD = slack_trial.TOKENS
Behaviour = slack_simulator.Behaviour

channel = sending.channel_fixture(lambda: channel_slack.SlackChannel(timeout_s=2.0))
simulator = sending.simulator_fixture(lambda: slack_simulator.SlackSimulator(tokens=[NEW.reveal(), OLD.reveal()]))


def send(channel, simulator, *, tokens=(NEW, OLD), conversation="C1", text="hello", thread="", **relation):
    credentials = ports.Credentials(SECRETS, tuple(tokens))
    return sending.send(
        channel, simulator, credentials, conversation=conversation, relation=relation, text=text, thread=thread
    )


def heard(simulator, conversation="C1"):
    return [(one.kind, one.text, one.message_id) for one in simulator.heard(conversation)]


async def test_a_message_has_a_life(channel, simulator):
    asked = await simulator_says(simulator, "are they watered?")
    sent = await send(channel, simulator, text="1 < 2 & <!channel>", reply={"message_id": asked})
    await send(channel, simulator, text="in the thread", thread=asked)
    await send(channel, simulator, text="1 > 0", edit={"message_id": sent.message_id})
    await send(channel, simulator, reaction={"message_id": asked, "name": "👍"})
    await send(channel, simulator, reaction_removed={"message_id": asked, "name": "👍"})
    await send(channel, simulator, deletion={"message_id": sent.message_id})
    kinds = [(kind, text) for kind, text, _ in heard(simulator)]
    assert kinds == [
        ("send", "1 < 2 & <!channel>"),
        ("send", "in the thread"),
        ("edit", "1 > 0"),
        ("react", "👍"),
        ("unreact", "👍"),
        ("delete", ""),
    ]
    assert {post.thread_ts for post in simulator.workspace.posts("C1") if post.bot} == {asked}


async def simulator_says(simulator, text):
    with contextlib.suppress(RuntimeError):  # nobody is told: there is no request URL
        await simulator.say("C1", text)
    return simulator.workspace.posts("C1")[-1].ts


async def test_what_is_done_twice_is_done_once(channel, simulator):
    ts = await simulator_says(simulator, "x")
    for _ in range(2):
        await send(channel, simulator, reaction={"message_id": ts, "name": "eyes"})
    for _ in range(2):
        await send(channel, simulator, reaction_removed={"message_id": ts, "name": "eyes"})
    assert [kind for kind, _, _ in heard(simulator)] == ["react", "unreact"]
    sent = await send(channel, simulator)
    for _ in range(2):
        await send(channel, simulator, deletion={"message_id": sent.message_id})
    assert [kind for kind, _, _ in heard(simulator)][2:] == ["send", "delete"]


async def test_a_long_message_is_sent_once_though_slack_sends_it_all_back(channel, simulator):
    text = "<" * 100 + "ü" * 39_000
    sent = await send(channel, simulator, text=text)
    assert heard(simulator) == [("send", text, sent.message_id)]
    # An answer that is dropped for its length would leave it open whether the message was sent.
    assert len(simulator.calls[0].answer["message"]["text"].encode()) > http_connection.BODY_BYTES


@pytest.mark.parametrize("revoked", [[], [NEW], [OLD]])
async def test_the_newest_token_that_slack_still_takes_is_used(channel, simulator, revoked):
    counted = token_refusals.counter.labels("slack")._value
    before, simulator.revoked = counted.get(), {token.reveal() for token in revoked}
    assert (await send(channel, simulator)).message_id
    assert len(heard(simulator)) == 1
    assert counted.get() - before == (revoked == [NEW])


async def test_a_stranger_token_is_passed_over(channel, simulator):
    assert (await send(channel, simulator, tokens=(settings.Secret("xoxb-somebody-elses-token"), OLD))).message_id


async def test_when_all_tokens_are_refused_nothing_was_said(channel, simulator):
    simulator.revoked = {NEW.reveal(), OLD.reveal()}
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator)
    assert caught.value.code == "token_refused"
    assert heard(simulator) == []


@pytest.mark.parametrize("tokens", [(), (settings.Secret("xoxb-bad\r\nhost: elsewhere"),), (settings.Secret(""),)])
async def test_without_a_usable_token_nothing_leaves(channel, simulator, tokens):
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator, tokens=tokens)
    assert caught.value.code == "no_token"
    assert simulator.calls == []


async def test_only_a_refused_token_makes_another_one_be_tried(channel, simulator):
    for behaviour, kind in (
        (Behaviour(error="restricted_action"), errors.Rejected),
        (Behaviour(error="internal_error"), ports.Ambiguous),
        (Behaviour(429, "ratelimited", "1"), errors.Unavailable),
        (Behaviour(cut=True), ports.Ambiguous),
    ):
        before = len(simulator.calls)
        simulator.behave(behaviour)
        with pytest.raises(kind):
            await send(channel, simulator)
        assert len(simulator.calls) == before + 1


async def test_slack_says_how_long_to_wait(channel, simulator):
    simulator.behave(Behaviour(429, "ratelimited", "30", times=1))
    with pytest.raises(errors.Unavailable) as caught:
        await send(channel, simulator)
    assert (caught.value.after_s, caught.value.throttled) == (30.0, True)
    assert (await send(channel, simulator)).message_id


@pytest.mark.parametrize(
    ("attribute", "code"),
    [("archived", "is_archived"), ("uninvited", "not_in_channel"), ("unknown", "channel_not_found")],
)
async def test_a_channel_that_cannot_be_talked_in_is_a_refusal_that_says_why(channel, simulator, attribute, code):
    getattr(simulator.workspace, attribute).add("C1")
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator)
    assert caught.value.code == code
    assert slack_answers.REFUSALS[code] in caught.value.detail


async def test_only_what_the_app_said_can_be_changed(channel, simulator):
    ts = await simulator_says(simulator, "mine")
    for relation, code in (("edit", "cant_update_message"), ("deletion", "cant_delete_message")):
        with pytest.raises(errors.Rejected) as caught:
            await send(channel, simulator, **{relation: {"message_id": ts}})
        assert caught.value.code == code
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator, edit={"message_id": "1772366399.999999"})
    assert caught.value.code == "message_not_found"


async def test_a_refused_address_is_a_refusal_without_a_call(channel, simulator):
    account = ports.Account(
        ids.TenantId("t"), ids.AccountId("a"), ids.ChannelName("slack"), "n", {"api_url": "http://slack.example/api"}
    )
    command = outbound_pb2.SendCommand(command_id="c", conversation="C1", text="x")
    with pytest.raises(errors.Rejected) as caught:
        await channel.send(account, ports.Credentials(SECRETS, (NEW,)), command)
    assert caught.value.field == "config.api_url"


def test_slack_itself_is_the_default():
    assert channel_slack._address({}, "chat.postMessage") == "https://slack.com/api/chat.postMessage"
    assert channel_slack._address({"api_url": "https://x.y/api/"}, "chat.delete") == "https://x.y/api/chat.delete"
