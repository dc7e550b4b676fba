"""Commands become calls of methods with the parameters that Telegram documents, or are refused naming the field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.adapters import telegram_calls
from penstock.channels.testing import telegram_platform
from penstock.messages.v1 import outbound_pb2

REPLYING = {"message_id": 7, "allow_sending_without_reply": True}


def command(kind="", name="", message_id="7", **fields):
    made = outbound_pb2.SendCommand(**{"conversation": "-42", "text": "hello", **fields})
    if kind:
        relation = getattr(made.relation, kind)
        relation.message_id = message_id
        if name:
            relation.name = name
    return made


def called(made):
    call = telegram_calls.call(made)
    return call.method, json.loads(call.body()), call.target


def file(**fields):
    return [{"url": "https://example.org/f", **fields}]


@pytest.mark.parametrize(
    ("made", "method", "parameters", "target"),
    [
        (command(), "sendMessage", {"text": "hello"}, ""),
        (command(thread="40"), "sendMessage", {"text": "hello", "message_thread_id": 40}, ""),
        (command("reply"), "sendMessage", {"text": "hello", "reply_parameters": REPLYING}, ""),
        (command("edit"), "editMessageText", {"text": "hello", "message_id": 7}, "7"),
        (command("deletion"), "deleteMessage", {"message_id": 7}, "7"),
        (
            command("reaction", "👍"),
            "setMessageReaction",
            {"message_id": 7, "reaction": [{"type": "emoji", "emoji": "👍"}]},
            "7",
        ),
        (
            command("reaction", "❤\ufe0f"),
            "setMessageReaction",
            {"message_id": 7, "reaction": [{"type": "emoji", "emoji": "❤"}]},
            "7",
        ),
        (
            command("reaction", "custom_emoji:536"),
            "setMessageReaction",
            {"message_id": 7, "reaction": [{"type": "custom_emoji", "custom_emoji_id": "536"}]},
            "7",
        ),
        (command("reaction_removed", "👍"), "setMessageReaction", {"message_id": 7, "reaction": []}, "7"),
    ],
)
def test_what_is_asked(made, method, parameters, target):
    assert called(made) == (method, {"chat_id": -42, **parameters}, target)


@pytest.mark.parametrize(
    ("media_type", "method", "field"),
    [
        ("image/png", "sendPhoto", "photo"),
        ("IMAGE/JPEG; q=1", "sendPhoto", "photo"),
        ("image/gif", "sendAnimation", "animation"),
        ("video/mp4", "sendVideo", "video"),
        ("audio/mpeg", "sendAudio", "audio"),
        ("audio/ogg", "sendVoice", "voice"),
        ("application/pdf", "sendDocument", "document"),
        ("", "sendDocument", "document"),
    ],
)
def test_a_file_goes_by_its_url_with_the_text_as_its_caption(media_type, method, field):
    made = command(attachments=file(media_type=media_type))
    assert called(made) == (method, {"chat_id": -42, "caption": "hello", field: "https://example.org/f"}, "")


def test_a_file_that_telegram_has_goes_by_its_id():
    made = command(text="", attachments=[{"id": "BQAC"}])
    assert called(made) == ("sendDocument", {"chat_id": -42, "document": "BQAC"}, "")


def test_a_conversation_may_be_the_name_of_a_channel():
    assert called(command(conversation="@yard_news"))[1]["chat_id"] == "@yard_news"


@pytest.mark.parametrize(
    ("made", "code", "field"),
    [
        (command(conversation="room-1"), "bad_conversation", "conversation"),
        (command(conversation=""), "bad_conversation", "conversation"),
        (command(conversation="1" * 30), "bad_conversation", "conversation"),
        (command(thread="general"), "bad_message_id", "thread"),
        (command("reply", message_id="m-1"), "bad_message_id", "relation.reply.message_id"),
        (command("edit", message_id="-1"), "bad_message_id", "relation.message_id"),
        (command("pin"), "unsupported", "relation"),
        (command(attachments=file() + file()), "unsupported", "attachments"),
        (command(attachments=[{"name": "plan.pdf"}]), "unsupported", "attachments"),
        (command(attachments=file(), text="x" * 1025), "unsupported", "text"),
        (command("edit", attachments=file()), "unsupported", "attachments"),
    ],
)
def test_what_telegram_has_no_method_for_is_refused_naming_the_field(made, code, field):
    with pytest.raises(errors.Rejected) as caught:
        telegram_calls.call(made)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_message_follows_its_group_without_what_it_answered():
    asked = telegram_calls.call(command("reply"))
    moved = telegram_calls.moved(asked, -1009)
    assert moved is not None
    assert json.loads(moved.body()) == {"chat_id": -1009, "text": "hello"}
    assert telegram_calls.moved(telegram_calls.call(command("edit")), -1009) is None


def test_the_edit_of_a_file_is_that_of_its_caption():
    captioned = telegram_calls.captioned(telegram_calls.call(command("edit")))
    assert captioned is not None
    assert (captioned.method, captioned.target) == ("editMessageCaption", "7")
    assert json.loads(captioned.body()) == {"chat_id": -42, "message_id": 7, "caption": "hello"}
    assert telegram_calls.captioned(telegram_calls.call(command("deletion"))) is None


def test_what_is_said_is_not_shown_by_a_call():
    assert "hello" not in repr(telegram_calls.call(command()))


@given(
    conversation=st.text(max_size=20) | st.integers().map(str),
    thread=st.text(max_size=5) | st.integers(1, 99).map(str),
    text=st.text(max_size=50),
    kind=st.sampled_from(["", "reply", "edit", "deletion", "reaction", "reaction_removed", "pin"]),
    message_id=st.text(max_size=5) | st.integers(1, 99).map(str),
    name=st.text(max_size=5),
)
def test_whatever_is_asked_keeps_to_the_documentation_or_is_refused(conversation, thread, text, kind, message_id, name):
    name = name if kind.startswith("reaction") else ""
    made = command(kind, name, message_id, conversation=conversation, thread=thread, text=text)
    call = attempt(made)
    if isinstance(call, errors.Rejected):
        assert call.field
    else:
        telegram_platform.decode(call.method, call.body())


def attempt(made):
    try:
        return telegram_calls.call(made)
    except errors.Rejected as refused:
        return refused
