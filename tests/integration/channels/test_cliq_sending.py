"""What the Zoho Cliq adapter sends, against a Cliq that takes it, refuses it, limits it, or loses its tongue."""

import logging

import pytest

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import channel_cliq, cliq_answers, token_refusals
from penstock.channels.testing import cliq_simulator, cliq_trial
from tests.integration.channels import sending

SECRETS = cliq_trial.SECRETS
NEW, OLD = cliq_trial.TOKENS
Behaviour = cliq_simulator.Behaviour

channel = sending.channel_fixture(lambda: channel_cliq.CliqChannel(timeout_s=2.0))
simulator = sending.simulator_fixture(lambda: cliq_simulator.CliqSimulator(tokens=[NEW.reveal(), OLD.reveal()]))


def send(channel, simulator, *, tokens=(NEW, OLD), name="garden", text="hello", thread="", **relation):
    credentials, conversation = ports.Credentials(SECRETS, tuple(tokens)), simulator.platform.chat(name).conversation
    return sending.send(
        channel, simulator, credentials, conversation=conversation, relation=relation, text=text, thread=thread
    )


def heard(simulator, name="garden"):
    return [(one.kind, one.text) for one in simulator.heard(name)]


def said(simulator, text="x", name="garden"):
    """Somebody said something, of which nobody is told."""
    chat = simulator.platform.chat(name)
    return simulator.platform.add(chat, simulator.platform.person("ann"), text).message_id


@pytest.mark.parametrize("name", ["garden", "@ann"])
async def test_a_message_has_a_life(channel, simulator, name):
    asked = said(simulator, "are they watered?", name)
    sent = await send(channel, simulator, name=name, text="*1* < 2", reply={"message_id": asked})
    await send(channel, simulator, name=name, text="1 > 0", edit={"message_id": sent.message_id})
    await send(channel, simulator, name=name, reaction={"message_id": asked, "name": "👍"})
    await send(channel, simulator, name=name, reaction_removed={"message_id": asked, "name": "👍"})
    for _ in range(2):
        await send(channel, simulator, name=name, deletion={"message_id": sent.message_id})
    expected = [("send", "*1* < 2"), ("edit", "1 > 0"), ("react", "👍"), ("unreact", "👍"), ("delete", "")]
    assert heard(simulator, name) == expected
    post = simulator.platform.chat(name).posts[sent.message_id.replace("%20", "_")]
    assert post.author == simulator.platform.bot_id
    assert post.reply_to == ("" if name == "@ann" else asked)


async def test_a_thread_is_answered_in_the_owners_name(channel, simulator):
    chat = simulator.platform.chat("garden")
    thread = simulator.platform.thread(chat, "greenhouse")
    sent = await send(channel, simulator, thread=thread)
    post = chat.posts[sent.message_id]
    assert (post.thread, post.author) == (thread, "71009999")


@pytest.mark.parametrize("revoked", [[], [NEW], [OLD]])
async def test_the_newest_token_that_zoho_still_takes_is_used(channel, simulator, revoked):
    simulator.revoked = {token.reveal() for token in revoked}
    assert (await send(channel, simulator)).message_id
    assert len(heard(simulator)) == 1


async def test_when_all_tokens_are_refused_nothing_was_said(channel, simulator):
    counted = token_refusals.counter.labels("cliq")._value
    before = counted.get()
    simulator.revoked = {NEW.reveal(), OLD.reveal()}
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator)
    assert counted.get() - before == 2
    assert caught.value.code == "token_refused"
    assert heard(simulator) == []


@pytest.mark.parametrize("tokens", [(), (settings.Secret("1000.bad\r\nhost: elsewhere"),), (settings.Secret(""),)])
async def test_without_a_usable_token_nothing_leaves(channel, simulator, tokens):
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator, tokens=tokens)
    assert caught.value.code == "no_token"
    assert simulator.calls == []


async def test_only_a_refused_token_makes_another_one_be_tried(channel, simulator):
    for behaviour, kind in (
        (Behaviour(403, {"code": "access_denied"}), errors.Rejected),
        (Behaviour(502), ports.Ambiguous),
        (Behaviour(429, {}, "1"), errors.Unavailable),
        (Behaviour(cut=True), ports.Ambiguous),
    ):
        before = len(simulator.calls)
        simulator.behave(behaviour)
        with pytest.raises(kind):
            await send(channel, simulator)
        assert len(simulator.calls) == before + 1


async def test_a_limit_is_waited_for_as_long_as_the_lock_lasts(channel, simulator):
    simulator.behave(Behaviour(429, {"message": "Too many requests within a certain time frame."}, times=1))
    with pytest.raises(errors.Unavailable) as caught:
        await send(channel, simulator)
    assert (caught.value.after_s, caught.value.throttled) == (cliq_answers.LOCKED_S, True)
    assert (await send(channel, simulator)).message_id


async def test_a_channel_that_answers_without_an_id_has_taken_it(channel, simulator):
    simulator.behave(Behaviour(204, taken=True))
    assert (await send(channel, simulator)).message_id == ""
    assert heard(simulator) == [("send", "hello")]


async def test_only_what_the_bot_said_can_be_changed(channel, simulator):
    mine = said(simulator)
    for relation in ("edit", "deletion"):
        with pytest.raises(errors.Rejected) as caught:
            await send(channel, simulator, **{relation: {"message_id": mine}})
        assert caught.value.code == "access_denied"
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator, edit={"message_id": "17_24"})
    assert caught.value.code == "message_not_found"


async def test_where_the_bot_takes_no_part_it_is_refused_by_name(channel, simulator):
    simulator.platform.uninvited.add("garden")
    with pytest.raises(errors.Rejected) as caught:
        await send(channel, simulator)
    assert caught.value.code == "refused"
    assert "channel_not_exists" in caught.value.detail


@pytest.mark.parametrize("how", ["well", "cut", "slow", "down", "refused", "limited"])
async def test_a_token_that_stands_in_the_url_is_in_no_error_and_in_no_log(how, caplog):
    caplog.set_level(logging.DEBUG)
    channel = channel_cliq.CliqChannel(timeout_s=0.3)
    async with cliq_simulator.CliqSimulator(tokens=[NEW.reveal()], token_in_url=True) as simulator:
        simulator.behave(
            {
                "cut": Behaviour(cut=True),
                "slow": Behaviour(delay_s=5.0),
                "refused": Behaviour(404, {"message": f"No such URL: /bots?zapikey={NEW.reveal()}"}),
                "limited": Behaviour(429, {"message": NEW.reveal()}),
            }.get(how, Behaviour())
        )
        if how == "down":
            await simulator.refuse_connections()
        told = ""
        try:
            await send(channel, simulator, tokens=(NEW,))
            await send(channel, simulator, tokens=(NEW,), name="@ann")
        except errors.PenstockError as error:
            told = f"{error!r} {error} {error.detail} {error.hint}"
        assert bool(told) is (how != "well")
        assert NEW.reveal() not in told
        assert NEW.reveal() not in caplog.text
        assert simulator.faults == []
    await channel.close()


def test_cliqs_american_data_centre_is_the_default():
    channel = channel_cliq.CliqChannel()
    channel.check_config({"bot": "gardenbot"})
    base = channel_cliq._base({"bot": "gardenbot"})
    assert (base.secure, base.host, base.target) == (True, "cliq.zoho.com", "/api/v2")
    europe = {
        "bot": "gardenbot",
        "api_url": "https://cliq.zoho.eu/api/v2/",
        "owner": "71009999",
        "token_kind": "zapikey",
    }
    channel.check_config(europe)
    assert channel_cliq._base(europe).target == "/api/v2"
