"""Commands become the documented calls, and Slack's answers mean what its documentation says."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import http_connection, retry_after, slack_answers, slack_calls
from penstock.channels.testing import slack_workspace
from penstock.messages.v1 import message_pb2, outbound_pb2

ROOT = Path(__file__).parents[4]
RECORDED = Path(__file__).parents[1] / "recorded" / "slack"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TS, ROOT_TS = "1772366399.250019", "1772366300.000100"


def command(text="hello", **fields):
    relation = fields.pop("relation", None)
    made = outbound_pb2.SendCommand(command_id="c-1", account="acc", conversation="C1", text=text, **fields)
    if relation:
        made.relation.CopyFrom(message_pb2.Relation(**relation))
    return made


def call(*args, **fields):
    method, body = slack_calls.encode(command(*args, **fields))
    arguments = json.loads(body)
    assert slack_workspace.SlackWorkspace("x", lambda: 0).fault(method, arguments) == ""
    assert arguments.pop("channel") == "C1"
    return method, arguments


@pytest.mark.parametrize(
    ("fields", "method", "arguments"),
    [
        ({}, "chat.postMessage", {"text": "hello"}),
        ({"thread": ROOT_TS}, "chat.postMessage", {"text": "hello", "thread_ts": ROOT_TS}),
        ({"relation": {"reply": {"message_id": TS}}}, "chat.postMessage", {"text": "hello", "thread_ts": TS}),
        (
            # Within a thread, its root is what Slack wants to hear.
            {"thread": ROOT_TS, "relation": {"reply": {"message_id": TS}}},
            "chat.postMessage",
            {"text": "hello", "thread_ts": ROOT_TS},
        ),
        ({"relation": {"edit": {"message_id": TS}}}, "chat.update", {"ts": TS, "text": "hello", "parse": "none"}),
        ({"relation": {"deletion": {"message_id": TS}}}, "chat.delete", {"ts": TS}),
        (
            {"relation": {"reaction": {"message_id": TS, "name": "👍"}}},
            "reactions.add",
            {"timestamp": TS, "name": "+1"},
        ),
        (
            {"relation": {"reaction_removed": {"message_id": TS, "name": ":eyes:"}}},
            "reactions.remove",
            {"timestamp": TS, "name": "eyes"},
        ),
    ],
)
def test_every_command_has_its_method(fields, method, arguments):
    assert call(**fields) == (method, arguments)


def test_files_are_sent_as_links():
    files = [
        message_pb2.Attachment(name="the plan | draft", url="https://x.y/plan?a=1&b=<2>"),
        message_pb2.Attachment(url="http://x.y/f"),
    ]
    _, arguments = call(attachments=files)
    assert arguments["text"] == "hello\n<https://x.y/plan?a=1&amp;b=%3C2%3E|the plan draft>\n<http://x.y/f>"
    _, arguments = call("", attachments=files[1:])
    assert arguments["text"] == "<http://x.y/f>"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"relation": {"pin": {"message_id": TS}}}, "unsupported"),
        ({"relation": {"reply": {"message_id": "msg-1"}}}, "bad_target"),
        ({"relation": {"edit": {"message_id": ""}}}, "bad_target"),
        ({"relation": {"reaction": {"message_id": TS, "name": "two words"}}}, "unknown_emoji"),
        ({"thread": "general"}, "bad_target"),
        ({"attachments": [message_pb2.Attachment(name="kept elsewhere", vault_key="k")]}, "bad_attachment"),
        ({"attachments": [message_pb2.Attachment(url="file:///etc/passwd")]}, "bad_attachment"),
        ({"text": "&" * 9_000}, "too_long"),
    ],
)
def test_what_slack_cannot_be_asked_is_rejected(fields, code):
    with pytest.raises(errors.Rejected) as caught:
        slack_calls.encode(command(**fields))
    assert caught.value.code == code


@given(st.text(), st.text(min_size=1, max_size=40))
def test_any_text_in_any_channel_is_one_call_and_the_same_bytes(text, channel):
    one = outbound_pb2.SendCommand(command_id="c", conversation=channel, text=text)
    method, body = slack_calls.encode(one)
    assert (method, body) == slack_calls.encode(one)
    assert json.loads(body)["channel"] == channel


def answer(body, status=200, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_connection.Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, raw)


def outcome(*args, method="chat.postMessage", **kwargs):
    try:
        return slack_answers.sent(method, answer(*args, **kwargs), NOW)
    except errors.PenstockError as error:
        return error


@pytest.mark.parametrize(
    ("name", "message_id"),
    [("post_message", "1772366560.000247"), ("update", "1772366560.000247"), ("reaction", "")],
)
def test_the_documented_answers_mean_sent(name, message_id):
    assert outcome((RECORDED / f"answer_{name}.json").read_bytes()) == ports.Sent(message_id)


def test_the_documented_errors_are_errors():
    assert outcome((RECORDED / "answer_error.json").read_bytes()).code == "channel_not_found"
    missing = outcome((RECORDED / "answer_missing_scope.json").read_bytes())
    assert missing.code == "missing_scope"
    assert "chat:write" in missing.detail
    limited = outcome((RECORDED / "answer_ratelimited.json").read_bytes(), 429, retry_after="30")
    assert (limited.code, limited.after_s, limited.throttled) == ("rate_limited", 30.0, True)


@pytest.mark.parametrize("error", sorted(slack_answers.REFUSALS))
def test_a_refusal_is_for_good_and_has_slacks_code(error):
    refused = outcome({"ok": False, "error": error})
    assert isinstance(refused, errors.Rejected)
    assert refused.code == error
    assert not slack_answers.refuses_token(answer({"ok": False, "error": error}))


@pytest.mark.parametrize("error", sorted(slack_answers.TOKEN_ERRORS))
def test_a_token_that_is_no_good_is_told_from_a_refusal(error):
    assert slack_answers.refuses_token(answer({"ok": False, "error": error}))
    assert outcome({"ok": False, "error": error}).code == "token_refused"


@pytest.mark.parametrize(("method", "error"), sorted(slack_answers.DONE.items()))
def test_what_was_done_before_is_done(method, error):
    assert outcome({"ok": False, "error": error}, method=method) == ports.Sent("")
    assert isinstance(outcome({"ok": False, "error": error}, method="chat.update"), errors.Rejected)


@pytest.mark.parametrize(
    ("body", "status", "code", "after_s"),
    [
        ({"ok": False, "error": "ratelimited"}, 429, "rate_limited", slack_answers.LIMITED_S),
        ({"ok": False, "error": "rate_limited"}, 200, "rate_limited", slack_answers.LIMITED_S),
        ({"ok": False, "error": "message_limit_exceeded"}, 200, "rate_limited", slack_answers.LIMITED_S),
        (b"<html>", 429, "rate_limited", slack_answers.LIMITED_S),
        ({"ok": False, "error": "service_unavailable"}, 503, "refused_for_now", slack_answers.BACKOFF_S),
        ({"ok": False, "error": "request_timeout"}, 200, "refused_for_now", slack_answers.BACKOFF_S),
        ({"ok": False, "error": "team_added_to_org"}, 200, "refused_for_now", slack_answers.MOVING_S),
        (b"", 503, "refused_for_now", slack_answers.BACKOFF_S),
    ],
)
def test_not_now_is_unavailable_for_as_long_as_slack_says(body, status, code, after_s):
    later = outcome(body, status)
    assert isinstance(later, errors.Unavailable)
    assert not isinstance(later, ports.Ambiguous)
    assert (later.code, later.after_s, later.throttled) == (code, after_s, code == "rate_limited")
    assert outcome(body, status, retry_after="7").after_s == 7.0
    assert outcome(body, status, retry_after="999999").after_s == retry_after.LONGEST_S


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ok": False, "error": "internal_error"}, 200),
        ({"ok": False, "error": "fatal_error"}, 500),
        ({"ok": False, "error": "what_is_this"}, 500),
        ({"ok": True}, 500),
        (b"", 200),
        (b"<html>", 200),
        (b"[]", 200),
        (b'{"ok": "yes"}', 200),
        (b'{"ok": tr', 200),
        (b"\xff", 200),
        (b'{"ok":' * 50_000, 200),
        (b"", 500),
        (b"", 502),
        (b"", 504),
    ],
)
def test_an_answer_that_leaves_it_open_is_ambiguous(body, status):
    assert isinstance(outcome(body, status), ports.Ambiguous)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"ok": False, "error": "some_new_error"}, 200, "refused"),
        ({"ok": False}, 200, "refused"),
        ({"ok": False, "error": "<script>\n" * 90}, 200, "refused"),
        (b"", 404, "refused"),
        (b"<html>", 403, "refused"),
        (b"", 302, "redirected"),
        ({"ok": True}, 301, "redirected"),
    ],
)
def test_any_other_answer_is_a_refusal(body, status, code):
    refused = outcome(body, status)
    assert isinstance(refused, errors.Rejected)
    assert refused.code == code
    assert "<" not in refused.detail


@given(st.binary(max_size=100), st.sampled_from([200, 400, 429, 500, 503]))
def test_no_answer_does_anything_but_be_understood(raw, status):
    assert slack_answers.refuses_token(answer(raw, status)) is False
    found = outcome(raw, status, retry_after=raw.decode("latin-1"))
    assert isinstance(found, ports.Sent) or (found.code and found.detail)


@pytest.mark.parametrize("ts", ["a\0b", "é", "x" * 65])
def test_a_strange_id_is_none_or_no_answer(ts):
    found = outcome({"ok": True, "ts": ts})
    assert found == ports.Sent("") or isinstance(found, ports.Ambiguous)


def test_the_page_names_every_refusal():
    page = (ROOT / "docs/how-to/channel-slack.md").read_text("utf-8")
    assert set(slack_answers.REFUSALS) | {"token_refused", "no_token"} <= set(re.findall(r"`([a-z_]+)`", page))
