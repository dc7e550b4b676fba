"""What comes as a form is kept for a later build: accepted, told apart, and without what nobody should store."""

import json
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import slack_events, slack_forms

RECORDED = Path(__file__).parents[1] / "recorded" / "slack"
COMMAND = (RECORDED / "slash_command.txt").read_bytes()
ACTION = (RECORDED / "block_actions.json").read_bytes()
TOKEN = b"oneLongVerificationTok3n"
ANSWERS_AT = b"hooks.slack.com"


def read(body, content_type="application/x-www-form-urlencoded"):
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    return slack_events.read(ports.WebhookRequest("POST", "/", "", {"content-type": content_type}, body, at))


def payload(document):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return urllib.parse.urlencode({"payload": raw}).encode()


def test_a_slash_command_is_kept():
    (kept,) = read(COMMAND, "application/x-www-form-urlencoded; charset=utf-8").unknown
    assert kept.kind == "slash_command"
    fields = json.loads(kept.body)
    assert (fields["command"], fields["text"], fields["user_id"]) == ("/water", "the tulips & roses", "U0ROSE001")
    for power in (TOKEN, ANSWERS_AT):
        assert power in COMMAND
        assert power not in kept.body


def test_a_pressed_button_is_kept():
    (kept,) = read(payload(ACTION)).unknown
    assert kept.kind == "interaction.block_actions"
    assert json.loads(kept.body)["actions"][0]["value"] == "again"
    for power in (TOKEN, ANSWERS_AT):
        assert power in ACTION
        assert power not in kept.body


def test_a_dialogs_urls_and_a_workflows_token_are_not_kept():
    urls = [{"block_id": "b", "action_id": "a", "channel_id": "C0GREENHS", "response_url": "https://hooks.slack.com/x"}]
    (kept,) = read(payload({"type": "view_submission", "response_urls": urls, "bot_access_token": "xwfp-1"})).unknown
    assert json.loads(kept.body) == {"type": "view_submission"}
    event = {"type": "from_the_future", "bot_access_token": "xwfp-1", "words": "stay"}
    body = json.dumps({"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event}).encode()
    (kept,) = read(body, "application/json").unknown
    assert json.loads(kept.body) == {"type": "from_the_future", "words": "stay"}


def test_each_form_has_an_id_of_its_own_that_stays():
    first, again, other = (read(body).unknown[0].event_id for body in (COMMAND, COMMAND, payload(ACTION)))
    assert first == again != other


def test_slacks_check_of_certificates_is_of_no_interest():
    assert read(b"ssl_check=1&token=x") == ports.Reading(ignored=("ssl_check",))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "body"),
        (b"a=1", "payload"),
        (b"command=", "payload"),
        (b"payload=", "payload"),
        (b"payload=%FF", "body"),
        (b"payload=\xff", "body"),
        (b"command=%2Fx&text=a%00b", "body"),
        (b"&".join(b"a%d=1" % number for number in range(200)), "body"),
        (payload([]), "payload"),
        (payload({}), "payload.type"),
        (payload({"type": 5}), "payload"),
        (payload({"type": "a b"}), "payload.type"),
        (payload(b'{"type": "x", "a": "\\u0000"}'), "a"),
        (payload(b'{"type": "x", "a": "\\ud800"}'), "payload"),
        (payload(b'{"type": "x", "deep":' + b"[" * 100 + b"]" * 100 + b"}"), "body"),
        (payload(b'{"type":' * 50_000), "body"),
    ],
)
def test_a_form_that_breaks_a_rule_is_refused(body, field):
    with pytest.raises(errors.Rejected) as caught:
        read(body)
    assert (caught.value.status, caught.value.field) == (400, field)


def test_a_form_may_be_as_large_as_any_body():
    with pytest.raises(errors.Rejected) as caught:
        read(b"command=" + b"x" * slack_events.BODY_BYTES)
    assert caught.value.status == 413


def outcome(body):
    try:
        reading = read(body)
    except errors.Rejected as error:
        return "refused" if error.field and error.status in (400, 413) else f"refused as {error!r}"
    return "kept" if len(reading.unknown) + len(reading.ignored) == 1 else f"read as {reading!r}"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5), st.text(max_size=8))
def test_no_form_does_anything_but_be_kept_or_refused(fields, command):
    body = urllib.parse.urlencode({**fields, "command": command}, errors="surrogatepass").encode()
    assert outcome(body) in ("kept", "refused")


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_kept_or_refused(raw):
    for body in (raw, b"payload=" + raw, payload(raw)):
        assert outcome(body) in ("kept", "refused")


@pytest.mark.parametrize("body", [b"", b"[]", b"hello", b'{"a": 1}', b"\xff", b'{"a":' * 9])
def test_what_gives_no_power_stays_as_it_is(body):
    assert slack_forms.powerless(body) == body
