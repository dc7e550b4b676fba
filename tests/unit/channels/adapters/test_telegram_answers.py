"""What Telegram answers decides what becomes of a command: recorded answers, odd ones, and those of somebody else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import http_connection, telegram_answers, telegram_calls

RECORDED = Path(__file__).parents[1] / "recorded/telegram/answers"
TOKEN = settings.Secret("5550001:newestAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
SEND = telegram_calls.Call("sendMessage", {"chat_id": -42, "text": "hello"})
REPLY = telegram_calls.Call("sendMessage", {"chat_id": -42, "text": "hello", "reply_parameters": {"message_id": 7}})
EDIT = telegram_calls.Call("editMessageText", {"chat_id": -42, "message_id": 7, "text": "hello"}, "7")
DELETE = telegram_calls.Call("deleteMessage", {"chat_id": -42, "message_id": 7}, "7")
REACT = telegram_calls.Call("setMessageReaction", {"chat_id": -42, "message_id": 7, "reaction": []}, "7")


def answer(status, body=b"", **headers):
    return telegram_answers.read(http_connection.Answer(status, headers, body), TOKEN)


def recorded(name):
    body = (RECORDED / f"{name}.json").read_bytes()
    return answer(json.loads(body).get("error_code", 200), body)


def refusal(asked, found, kind):
    with pytest.raises(kind) as caught:
        telegram_answers.outcome(asked, found)
    return caught.value


@pytest.mark.parametrize(
    ("asked", "name", "message_id"),
    [
        (SEND, "sent", "77"),
        (EDIT, "sent", "77"),
        (EDIT, "not_modified", "7"),
        (DELETE, "done", ""),
        (DELETE, "delete_not_found", ""),
        (REACT, "done", ""),
        (REACT, "not_modified", ""),
    ],
)
def test_what_was_done_or_is_done_already_is_sent(asked, name, message_id):
    assert telegram_answers.outcome(asked, recorded(name)) == ports.Sent(message_id)


@pytest.mark.parametrize(
    ("asked", "name", "code"),
    [
        (SEND, "chat_not_found", "no_chat"),
        (SEND, "blocked", "blocked"),
        (SEND, "kicked", "not_in_chat"),
        (SEND, "not_modified", "refused"),
        (SEND, "delete_not_found", "refused"),
        (EDIT, "edit_not_found", "no_message"),
        (EDIT, "migrated", "chat_moved"),
        (REACT, "reaction_invalid", "bad_emoji"),
    ],
)
def test_what_telegram_will_not_do_is_rejected_with_its_words_and_a_code(asked, name, code):
    error = refusal(asked, recorded(name), errors.Rejected)
    assert error.code == code
    assert json.loads((RECORDED / f"{name}.json").read_bytes())["description"][:100] in error.detail


def test_whoever_must_wait_waits_as_long_as_the_body_says_and_else_the_header():
    told = refusal(SEND, recorded("throttled"), errors.Unavailable)
    assert (told.after_s, told.throttled) == (35.0, True)
    header = refusal(SEND, answer(429, b"", **{"retry-after": "4"}), errors.Unavailable)
    assert (header.after_s, header.throttled) == (4.0, True)
    silent = refusal(SEND, answer(429), errors.Unavailable)
    assert (silent.after_s, silent.throttled) == (telegram_answers.BACKOFF_S, True)


@pytest.mark.parametrize("wait_s", [10**9, 1e308, -5])
def test_no_wait_is_longer_than_ten_minutes_or_nothing(wait_s):
    body = json.dumps({"ok": False, "parameters": {"retry_after": wait_s}}).encode()
    assert 0 < refusal(SEND, answer(429, body), errors.Unavailable).after_s <= 600


def test_when_telegram_fails_it_certainly_did_not_but_a_gateway_does_not_know():
    failed = refusal(SEND, recorded("internal"), errors.Unavailable)
    assert not isinstance(failed, ports.Ambiguous)
    assert not failed.throttled
    for status in (502, 504):
        refusal(SEND, answer(status, b"<html>"), ports.Ambiguous)


@pytest.mark.parametrize("name", ["unauthorized", "not_found"])
def test_a_refused_token_is_told_from_a_refused_command(name):
    assert recorded(name).token_refused
    assert not answer(404, b"<html>nothing here</html>").token_refused
    assert not recorded("chat_not_found").token_refused


def test_somebody_else_than_telegram_is_called_so():
    assert refusal(SEND, answer(404, b"<html>"), errors.Rejected).code == "not_telegram"
    assert refusal(SEND, answer(301, b""), errors.Rejected).code == "redirected"


def test_a_status_is_an_answer_even_when_its_body_broke_off():
    assert telegram_answers.outcome(SEND, answer(200, b'{"ok":tr')) == ports.Sent("")


def test_a_page_of_somebody_else_is_no_success():
    """A misspelt `api_url`: whoever answers 200 there has not sent anything."""
    assert refusal(SEND, answer(200, b"<html>welcome</html>"), ports.Ambiguous).code == "bad_answer"
    assert telegram_answers.outcome(SEND, answer(200)) == ports.Sent("")


def test_a_success_that_says_no_is_a_refusal():
    found = answer(200, b'{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}')
    assert refusal(SEND, found, errors.Rejected).code == "blocked"


def test_a_group_that_moved_is_followed_by_what_is_new_only():
    instead = telegram_answers.instead(REPLY, recorded("migrated"))
    assert instead is not None
    assert instead.parameters == {"chat_id": -1001600000009, "text": "hello"}
    assert telegram_answers.instead(EDIT, recorded("migrated")) is None
    assert telegram_answers.instead(SEND, recorded("sent")) is None


def test_an_edit_without_a_text_is_tried_as_that_of_a_caption():
    instead = telegram_answers.instead(EDIT, recorded("no_text_to_edit"))
    assert instead is not None
    assert instead.method == "editMessageCaption"
    assert telegram_answers.instead(instead, recorded("no_text_to_edit")) is None


def test_words_are_cut_and_hold_neither_token_nor_control_characters():
    words = f"Bad Request: {TOKEN.reveal()}\x1b[31m\n" + "x" * 1000
    body = json.dumps({"ok": False, "error_code": 400, "description": words}).encode()
    error = refusal(SEND, answer(400, body), errors.Rejected)
    assert TOKEN.reveal() not in f"{error} {error!r}"
    assert error.detail.isprintable()
    assert len(error.detail) < 300


bodies = st.binary(max_size=80) | st.text(max_size=40).map(lambda text: f'{{"ok":{text}'.encode())


@given(status=st.integers(200, 599), body=bodies)
def test_any_answer_is_one_of_three_errors_or_sent(status, body):
    ended = attempt(answer(status, body))
    if isinstance(ended, errors.Unavailable):
        assert ended.after_s > 0
    else:
        assert status < 300 if isinstance(ended, ports.Sent) else status < 500


def attempt(found):
    try:
        return telegram_answers.outcome(SEND, found)
    except (errors.Rejected, errors.Unavailable) as error:
        return error
