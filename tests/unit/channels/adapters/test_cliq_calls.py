"""Commands become the documented calls, and Cliq's answers mean what its documentation says."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import cliq_answers, cliq_calls, cliq_places, http_connection
from penstock.messages.v1 import message_pb2, outbound_pb2

RECORDED = Path(__file__).parents[1] / "recorded" / "cliq"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CHAT, DIRECT = "CT_17_60010101", "CT_42_60010101-B2"
GARDEN, ROSE, THREAD = f"{CHAT}/#garden", f"{DIRECT}/71000001", f"{CHAT}-T-99"
ID = "1772366398250_244203892092"
SYNC = {"sync_message": True}


def call(text="hello", conversation=GARDEN, **fields):
    relation = fields.pop("relation", None)
    command = outbound_pb2.SendCommand(command_id="c-1", conversation=conversation, text=text, **fields)
    if relation:
        command.relation.CopyFrom(message_pb2.Relation(**relation))
    return cliq_calls.call(command, "gardenbot")


@pytest.mark.parametrize(
    ("fields", "method", "path", "arguments"),
    [
        ({}, "POST", "/channelsbyname/garden/message?bot_unique_name=gardenbot", {"text": "hello", **SYNC}),
        (
            {"relation": {"reply": {"message_id": ID}}},
            "POST",
            "/channelsbyname/garden/message?bot_unique_name=gardenbot",
            {"text": "hello", "reply_to": ID, **SYNC},
        ),
        ({"thread": THREAD}, "POST", f"/chats/{THREAD}/message", {"text": "hello", **SYNC}),
        ({"conversation": CHAT}, "POST", f"/chats/{CHAT}/message", {"text": "hello", **SYNC}),
        (
            # A bot cannot answer a message of one person's, only say something to that person.
            {"conversation": ROSE, "relation": {"reply": {"message_id": ID}}},
            "POST",
            "/bots/gardenbot/message",
            {"text": "hello", "userids": "71000001", **SYNC},
        ),
        # An event that came without an id of its message can be answered all the same.
        (
            {"conversation": CHAT, "relation": {"reply": {}}},
            "POST",
            f"/chats/{CHAT}/message",
            {"text": "hello", **SYNC},
        ),
        ({"relation": {"edit": {"message_id": ID}}}, "PUT", f"/chats/{CHAT}/messages/{ID}", {"text": "hello"}),
        (
            {"conversation": ROSE, "relation": {"edit": {"message_id": "17%2024"}}},
            "PUT",
            f"/chats/{DIRECT}/messages/17%2024",
            {"text": "hello"},
        ),
        ({"relation": {"deletion": {"message_id": ID}}}, "DELETE", f"/chats/{CHAT}/messages/{ID}", {}),
        (
            {"thread": THREAD, "relation": {"reaction": {"message_id": ID, "name": "👍"}}},
            "POST",
            f"/chats/{THREAD}/messages/{ID}/reactions",
            {"emoji_code": "👍"},
        ),
        (
            {"relation": {"reaction_removed": {"message_id": ID, "name": "smile"}}},
            "DELETE",
            f"/chats/{CHAT}/messages/{ID}/reactions",
            {"emoji_code": ":smile:"},
        ),
    ],
)
def test_every_command_has_its_call(fields, method, path, arguments):
    asked = call(**fields)
    assert (asked.method, asked.path, asked.arguments) == (method, path, arguments)
    assert json.loads(asked.body() or b"{}") == arguments
    assert asked.body() == call(**fields).body()


def test_files_are_sent_as_links():
    files = [
        message_pb2.Attachment(name="the [plan] (draft)\n", url="https://x.y/plan?a=1"),
        message_pb2.Attachment(name="both", url="http://x.y/f(1)"),
        message_pb2.Attachment(url="http://x.y/f"),
    ]
    assert call(attachments=files).arguments["text"] == (
        "hello\n[the plan draft](https://x.y/plan?a=1)\nhttp://x.y/f(1)\nhttp://x.y/f"
    )
    assert call("", attachments=files[2:]).arguments["text"] == "http://x.y/f"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"relation": {"pin": {"message_id": ID}}}, "unsupported"),
        ({"relation": {"reply": {"message_id": "msg-1"}}}, "bad_target"),
        ({"relation": {"edit": {"message_id": ""}}}, "bad_target"),
        ({"relation": {"deletion": {"message_id": "1/../2"}}}, "bad_target"),
        ({"relation": {"reaction": {"message_id": ID, "name": ""}}}, "unknown_emoji"),
        ({"relation": {"reaction": {"message_id": ID, "name": "x" * 200}}}, "unknown_emoji"),
        ({"thread": "../../bots"}, "bad_thread"),
        ({"conversation": ""}, "bad_conversation"),
        ({"conversation": "CT_1/../../bots"}, "bad_conversation"),
        ({"conversation": "CT_1/#.."}, "bad_conversation"),
        ({"conversation": "CT_1?zapikey=x"}, "bad_conversation"),
        ({"attachments": [message_pb2.Attachment(name="kept elsewhere", vault_key="k")]}, "bad_attachment"),
        ({"attachments": [message_pb2.Attachment(url="file:///etc/passwd")]}, "bad_attachment"),
        ({"text": "x" * 4_990, "attachments": [message_pb2.Attachment(url="https://x.y/1234567")]}, "too_long"),
    ],
)
def test_what_cliq_cannot_be_asked_is_rejected(fields, code):
    with pytest.raises(errors.Rejected) as caught:
        call(**fields)
    assert caught.value.code == code
    assert caught.value.field


names = st.text(max_size=20) | st.text("CT_19/#.?&%20-B\r\n", max_size=20)


@given(names, names, names, names)
def test_no_name_makes_another_path(conversation, thread, message_id, name):
    """Whatever an app, or an event before it, calls things: a call goes below the documented paths or nowhere."""
    edit, reaction = {"edit": {"message_id": message_id}}, {"reaction": {"message_id": message_id, "name": name}}
    for relation, levels in ((None, 3), (edit, 4), (reaction, 5)):
        try:
            asked = call("x", conversation, thread=thread, relation=relation)
        except errors.Rejected:
            continue
        path, _, query = asked.path.partition("?")
        assert path.count("/") == levels
        assert query in ("", "bot_unique_name=gardenbot")
        assert re.fullmatch(r"(?:/[A-Za-z0-9_-](?:[A-Za-z0-9._-]|%20)*)+", path)


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True),
    st.none() | st.from_regex(r"[0-9]{1,20}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True),
)
def test_a_place_is_read_as_it_was_written(chat, person, channel):
    place = cliq_places.Place(chat, person or "", "" if person else channel or "")
    assert cliq_places.parse(str(place)) == place


def answer(name, status=200, **headers):
    raw = (RECORDED / f"answer_{name}.json").read_bytes() if isinstance(name, str) else name
    return http_connection.Answer(status, {key.replace("_", "-"): text for key, text in headers.items()}, raw)


def outcome(*args, asked=None, **kwargs):
    try:
        return cliq_answers.sent(asked or call(), answer(*args, **kwargs), NOW)
    except errors.PenstockError as error:
        return error


def test_what_was_sent_has_its_id():
    assert outcome("chat") == ports.Sent("1772366401250_229293271789")
    assert outcome("bot", asked=call(conversation=ROSE)) == ports.Sent("1772366401250%2029706114886")
    assert outcome("bot", asked=call(conversation=f"{DIRECT}/71000002")) == ports.Sent()
    assert outcome(b"", 204) == ports.Sent()
    assert outcome(b"", 204, asked=call(relation={"edit": {"message_id": ID}})) == ports.Sent(ID)


LITTLE = (b"", b" ", b"[]", b"{", b"[" * 100_000, b'{"message_id": 5}', b'{"message_id": "\\u0000"}')


@pytest.mark.parametrize("body", LITTLE)
def test_an_answer_that_says_little_is_still_one(body):
    assert outcome(body) == ports.Sent()
    assert outcome(body, asked=call(conversation=ROSE)) == ports.Sent()


@pytest.mark.parametrize(
    ("told", "status", "kind", "code"),
    [
        ("unauthorized", 401, errors.Rejected, "token_refused"),
        ("scope", 401, errors.Rejected, "token_refused"),
        ("forbidden", 403, errors.Rejected, "access_denied"),
        ("not_found", 404, errors.Rejected, "message_not_found"),
        ("limited", 429, errors.Unavailable, "rate_limited"),
        ("limited_nested", 429, errors.Unavailable, "rate_limited"),
        ("limited_nested", 400, errors.Unavailable, "rate_limited"),
        ("throttled", 400, errors.Unavailable, "rate_limited"),
        ("failed", 500, errors.Unavailable, "refused_for_now"),
        (b"<html>", 503, errors.Unavailable, "refused_for_now"),
        (b"<html>", 502, ports.Ambiguous, "gateway_failed"),
        (b"<html>", 504, ports.Ambiguous, "gateway_failed"),
        (b"<html>", 200, ports.Ambiguous, "bad_answer"),
        (b"\xff", 204, ports.Ambiguous, "bad_answer"),
        (b"", 302, errors.Rejected, "redirected"),
        (b"<html>", 404, errors.Rejected, "refused"),
        (b'{"code": "channel_not_exists"}', 400, errors.Rejected, "refused"),
        (b'{"code": ["x"], "message": 5, "error": "no"}', 400, errors.Rejected, "refused"),
    ],
)
def test_a_refusal_means_what_the_documentation_says(told, status, kind, code):
    error = outcome(told, status)
    assert type(error) is kind
    assert (error.code, bool(error.detail)) == (code, True)


def test_the_lock_is_waited_out_unless_cliq_says_how_long():
    assert outcome("limited", 429).after_s == cliq_answers.LOCKED_S
    assert outcome("limited", 429, retry_after="3").after_s == 3
    assert outcome("limited", 429).throttled


def test_cliqs_own_code_is_told_and_nothing_else_of_its_words():
    assert "channel_not_exists" in outcome(b'{"code": "channel_not_exists", "message": "secret words"}', 400).detail
    assert "oauthtoken_scope_invalid" in outcome("scope", 401).detail
    strange = outcome(b'{"code": "<script>", "message": "secret words"}', 400)
    assert "script" not in str(strange)
    assert "secret words" not in str(strange)


def test_what_is_gone_is_taken_back_already():
    deletion, edit = (call(relation={kind: {"message_id": ID}}) for kind in ("deletion", "edit"))
    assert outcome("not_found", 404, asked=deletion) == ports.Sent()
    assert outcome("not_found", 404, asked=edit).code == "message_not_found"
