"""Telegram's sending over real sockets: what people see, which token is used, and that no token is ever shown."""

import logging
import traceback
from typing import Any

import pytest
import structlog

from penstock.base import errors, ids, settings
from penstock.channels import ports
from penstock.channels.adapters import channel_telegram, endpoint, token_refusals
from penstock.channels.testing import telegram_simulator, telegram_trial
from penstock.messages.v1 import outbound_pb2
from tests.integration.channels import sending

Behaviour = telegram_simulator.Behaviour
NEWEST, OLDEST = (token.reveal() for token in telegram_trial.TOKENS)

channel = sending.channel_fixture(lambda: channel_telegram.TelegramChannel(timeout_s=0.5))


@pytest.fixture
async def simulator():
    words = [word.reveal() for word in telegram_trial.WORDS]
    async with telegram_simulator.TelegramSimulator(words, [NEWEST, OLDEST]) as running:
        running.platform.chat("garden")
        yield running
        assert running.faults == []


def send(channel, simulator, *, tokens=telegram_trial.TOKENS, config=None, relation=("", "", ""), **fields: Any):
    config = simulator.config if config is None else config
    account = ports.Account(ids.TenantId("t"), ids.AccountId("acc"), channel_telegram.NAME, "n", config)
    chat = str(simulator.platform.chat("garden").id)
    command = outbound_pb2.SendCommand(**{"command_id": ids.new_id(), "conversation": chat, "text": "hello", **fields})
    kind, message_id, name = relation
    if kind:
        getattr(command.relation, kind).message_id = message_id
    if name:
        getattr(command.relation, kind).name = name
    return channel.send(account, ports.Credentials(telegram_trial.WORDS, tokens), command)


async def refusal(sending, kind: Any = errors.Rejected):
    with pytest.raises(kind) as caught:
        await sending
    return caught.value


def seen(simulator):
    return [(heard.kind, heard.text, heard.message_id) for heard in simulator.heard("garden")]


async def test_people_see_what_is_said_changed_put_on_it_and_taken_away(channel, simulator):
    sent = await send(channel, simulator)
    answer = await send(channel, simulator, text="yes", relation=("reply", sent.message_id, ""))
    assert await send(channel, simulator, text="hello again", relation=("edit", sent.message_id, "")) == sent
    await send(channel, simulator, relation=("reaction", sent.message_id, "👍"))
    await send(channel, simulator, relation=("reaction_removed", sent.message_id, "👍"))
    await send(channel, simulator, relation=("deletion", answer.message_id, ""))
    assert seen(simulator) == [
        ("send", "hello", sent.message_id),
        ("send", "yes", answer.message_id),
        ("edit", "hello again", sent.message_id),
        ("react", "👍", sent.message_id),
        ("unreact", "👍", sent.message_id),
        ("delete", "", answer.message_id),
    ]
    assert [post.text for post in simulator.conversation("garden")] == ["hello again"]


async def test_an_api_url_may_end_in_a_slash(channel, simulator):
    await send(channel, simulator, config={"api_url": simulator.config["api_url"] + "/"})
    assert len(simulator.conversation("garden")) == 1


async def test_an_answer_says_what_it_answers_unless_that_is_gone(channel, simulator):
    first = await send(channel, simulator)
    await send(channel, simulator, relation=("reply", first.message_id, ""))
    await send(channel, simulator, relation=("reply", "999", ""))
    assert [post.reply_to for post in simulator.conversation("garden")] == [0, int(first.message_id), 0]


async def test_a_topic_is_answered_in_it(channel, simulator):
    topic = simulator.platform.chat("garden").topics["tools"] = 40
    await send(channel, simulator, thread="40")
    assert [post.topic for post in simulator.conversation("garden")] == [topic]
    assert (await refusal(send(channel, simulator, thread="41"))).code == "no_thread"


async def test_doing_a_change_again_changes_nothing_and_is_sent(channel, simulator):
    sent = await send(channel, simulator)
    for _ in range(2):
        await send(channel, simulator, text="hello again", relation=("edit", sent.message_id, ""))
        await send(channel, simulator, relation=("reaction", sent.message_id, "👍"))
    for _ in range(2):
        await send(channel, simulator, relation=("deletion", sent.message_id, ""))
    assert (await refusal(send(channel, simulator, relation=("edit", sent.message_id, "")))).code == "no_message"


async def test_a_file_is_sent_with_its_caption_which_an_edit_changes(channel, simulator):
    file = [{"url": "https://example.org/plan.pdf", "media_type": "application/pdf"}]
    sent = await send(channel, simulator, attachments=file)
    await send(channel, simulator, text="the plan", relation=("edit", sent.message_id, ""))
    (post,) = simulator.conversation("garden")
    assert (post.file, post.text) == ("https://example.org/plan.pdf", "the plan")


async def test_what_is_new_follows_a_group_that_moved(channel, simulator):
    moved = simulator.platform.migrate(simulator.platform.chat("garden"))
    sent = await send(channel, simulator, relation=("reply", "3", ""))
    assert [(post.message_id, post.text) for post in moved.posts.values()] == [(int(sent.message_id), "hello")]
    error = await refusal(send(channel, simulator, relation=("edit", "3", "")))
    assert error.code == "chat_moved"


async def test_the_older_token_is_used_when_telegram_refuses_the_newest(channel, simulator):
    counted = token_refusals.counter.labels("telegram")._value
    before = counted.get()
    simulator.revoked.add(NEWEST)
    await send(channel, simulator)
    assert len(simulator.conversation("garden")) == 1
    assert counted.get() - before == 1
    simulator.revoked.add(OLDEST)
    assert (await refusal(send(channel, simulator))).code == "token_refused"
    assert len(simulator.conversation("garden")) == 1


async def test_without_a_token_that_could_be_one_nothing_is_asked(channel, simulator):
    assert (await refusal(send(channel, simulator, tokens=()))).code == "no_token"
    malformed = (settings.Secret("5550001:/../../other?" + "x" * 30),)
    assert (await refusal(send(channel, simulator, tokens=malformed))).code == "token_refused"
    assert simulator.faults == []
    assert simulator.calls == []


async def test_a_second_try_after_a_cut_is_said_twice_and_the_hint_says_so(channel, simulator):
    simulator.behave(Behaviour(cut=True, times=1))
    error = await refusal(send(channel, simulator), ports.Ambiguous)
    assert "recognise" in error.hint
    await send(channel, simulator)
    assert [post.text for post in simulator.conversation("garden")] == ["hello", "hello"]


async def test_no_error_log_line_or_repr_shows_a_token(channel, simulator, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    behaviours = [
        Behaviour(status=status, words=f"about bot{NEWEST}", retry_after_s=1)
        for status in (301, 400, 401, 403, 404, 409, 429, 500, 502)
    ]
    with structlog.testing.capture_logs() as lines:
        for behaviour in [*behaviours, Behaviour(cut=True), Behaviour(delay_s=5.0)]:
            simulator.behave(behaviour)
            error = await refusal(send(channel, simulator), errors.PenstockError)
            shown += [str(error), repr(error), error.detail, error.hint, *traceback.format_exception(error)]
        await simulator.refuse_connections()
        for config in (None, {"api_url": "https://127.0.0.1:9/telegram"}):
            error = await refusal(send(channel, simulator, config=config), errors.PenstockError)
            shown += [str(error), repr(error), *traceback.format_exception(error)]
    shown += [str(line) for line in lines] + [record.getMessage() for record in caplog.records]
    base = endpoint.parse("https://api.telegram.org/bot" + NEWEST)
    shown += [repr(base), str(base), f"{base}", repr(telegram_trial.TOKENS), repr(channel)]
    assert len(shown) > 50
    for secret in (NEWEST, OLDEST):
        number, word = secret.split(":")
        assert [text for text in shown if word in text or f"{number}:" in text] == []
