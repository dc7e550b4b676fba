"""Laws of sending on Telegram, against the simulated platform without sockets: what comes again does no harm."""

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import http_connection, telegram_answers, telegram_calls
from penstock.channels.testing import telegram_platform
from penstock.messages.v1 import outbound_pb2

TOKEN = settings.Secret("5550001:newestAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")

texts = st.text(min_size=1, max_size=20)
targets = st.integers(1, 8).map(str)
emoji = st.sampled_from(["👍", "❤️", "✅"])
changes = st.one_of(
    st.tuples(st.just("edit"), targets, texts),
    st.tuples(st.just("deletion"), targets, st.just("")),
    st.tuples(st.just("reaction"), targets, emoji),
    st.tuples(st.just("reaction_removed"), targets, emoji),
)
news = st.tuples(st.sampled_from(["", "reply"]), targets, texts)


def world():
    """A platform with one chat, in which a person and the bot have spoken, the bot once with a file."""
    platform = telegram_platform.TelegramPlatform(1)
    chat = platform.chat("garden")
    for author, file in ((7, ""), (telegram_platform.BOT["id"], ""), (telegram_platform.BOT["id"], "plan.pdf")):
        chat.add(telegram_platform.Post(chat.next_id(), author, "said", file=file))
    return platform, chat


def perform(platform, chat, step):
    """What becomes of a command: what was sent, or the error."""
    kind, target, text = step
    command = outbound_pb2.SendCommand(conversation=str(chat.id), text="" if kind.startswith("reaction") else text)
    if kind:
        relation = getattr(command.relation, kind)
        relation.message_id = target
        if kind.startswith("reaction"):
            relation.name = text
    asked = telegram_calls.call(command)
    answer = ask(platform, asked)
    while instead := telegram_answers.instead(asked, answer):
        asked, answer = instead, ask(platform, instead)
    try:
        return telegram_answers.outcome(asked, answer)
    except errors.Rejected as error:
        return error


def ask(platform, asked):
    """The answer of the platform, as it would come over HTTP."""
    parameters = telegram_platform.decode(asked.method, asked.body())
    try:
        status, body = 200, {"ok": True, "result": platform.do(asked.method, parameters, 1772366390)}
    except telegram_platform.Refused as refused:
        status = refused.status
        body = {"ok": False, "error_code": status, "description": refused.words, "parameters": refused.parameters}
    return telegram_answers.read(http_connection.Answer(status, {}, json.dumps(body).encode()), TOKEN)


@given(before=st.lists(st.one_of(news, changes), max_size=5), change=changes)
def test_a_change_that_comes_again_changes_nothing_more_and_ends_the_same(before, change):
    platform, chat = world()
    for step in before:
        perform(platform, chat, step)
    first = perform(platform, chat, change)
    after = copy.deepcopy(chat.posts)
    again = perform(platform, chat, change)
    assert chat.posts == after
    if isinstance(first, ports.Sent):
        assert again == first
    else:
        assert (again.code, again.detail) == (first.code, first.detail)


@given(st.lists(st.one_of(news, changes), max_size=8))
def test_whatever_is_said_is_there_under_the_id_that_came_back(steps):
    platform, chat = world()
    for step in steps:
        known = set(chat.posts)
        sent = perform(platform, chat, step)
        if step[0] in ("", "reply") and isinstance(sent, ports.Sent):
            assert chat.posts[int(sent.message_id)].text == step[2]
            assert int(sent.message_id) not in known
        else:
            assert set(chat.posts) <= known


@given(st.one_of(news, changes))
def test_a_group_that_moved_hears_what_is_new_and_nothing_else(step):
    platform, chat = world()
    moved = platform.migrate(chat)
    ended = perform(platform, chat, step)
    if step[0] in ("", "reply") and step[2].strip():
        assert isinstance(ended, ports.Sent)
        assert [post.text for post in moved.posts.values()] == [step[2]]
    else:
        assert isinstance(ended, errors.Rejected)
        assert moved.posts == {}
