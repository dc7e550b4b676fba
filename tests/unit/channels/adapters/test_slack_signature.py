"""Slack's signature as its documentation shows it: whole, recent, by a live secret, or not at all."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import slack_signature
from penstock.channels.testing import slack_delivery, slack_trial

# The example of https://docs.slack.dev/authentication/verifying-requests-from-slack.
EXAMPLE_SECRET = settings.Secret("8f742231b10e8888abcd99yyyzzz85a5")
EXAMPLE_TIME = 1531420618
EXAMPLE_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
EXAMPLE_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
NEW, OLD = slack_trial.SECRETS
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def example(**headers):
    at = datetime.fromtimestamp(EXAMPLE_TIME, UTC)
    signed = {"x-slack-request-timestamp": str(EXAMPLE_TIME), "x-slack-signature": EXAMPLE_SIGNATURE, **headers}
    return ports.WebhookRequest("POST", "/", "", signed, EXAMPLE_BODY, at)


def code_of(request, *secrets):
    with pytest.raises(errors.Rejected) as caught:
        slack_signature.verify(request, ports.Credentials(secrets))
    assert caught.value.status == 401
    return caught.value.code


def test_the_documented_example_is_believed():
    slack_signature.verify(example(), ports.Credentials((EXAMPLE_SECRET,)))
    assert code_of(example(), NEW) == "wrong_signature"


def test_either_live_secret_will_do_and_a_malformed_one_vouches_for_nobody():
    request = slack_trial.sign(b"{}", OLD, NOW)
    slack_signature.verify(request, ports.Credentials((NEW, OLD)))
    slack_signature.verify(request, ports.Credentials((settings.Secret("too short"), OLD)))
    assert code_of(request, settings.Secret("too short")) == "no_secret"
    assert code_of(request) == "no_secret"
    assert code_of(slack_trial.sign(b"{}", settings.Secret(""), NOW), settings.Secret("")) == "no_secret"


@pytest.mark.parametrize("seconds", [-301, 301, 600])
def test_five_minutes_are_enough(seconds):
    request = dataclasses.replace(slack_trial.sign(b"{}", NEW, NOW), received_at=NOW + timedelta(seconds=seconds))
    assert code_of(request, NEW) == "stale_signature"
    inside = dataclasses.replace(request, received_at=NOW + timedelta(seconds=300 if seconds > 0 else -300))
    slack_signature.verify(inside, ports.Credentials((NEW,)))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-slack-signature": ""}, "missing_signature"),
        ({"x-slack-request-timestamp": ""}, "missing_signature"),
        ({"x-slack-request-timestamp": "1e9"}, "bad_signature"),
        ({"x-slack-request-timestamp": "+1531420618"}, "bad_signature"),
        ({"x-slack-request-timestamp": "١٥٣١٤٢٠٦١٨"}, "bad_signature"),
        ({"x-slack-request-timestamp": f"{EXAMPLE_TIME}, {EXAMPLE_TIME}"}, "bad_signature"),
        ({"x-slack-request-timestamp": f"0{EXAMPLE_TIME}"}, "wrong_signature"),
        ({"x-slack-signature": EXAMPLE_SIGNATURE.upper()}, "wrong_signature"),
        ({"x-slack-signature": EXAMPLE_SIGNATURE.removeprefix("v0=")}, "wrong_signature"),
        ({"x-slack-signature": f"{EXAMPLE_SIGNATURE}, {EXAMPLE_SIGNATURE}"}, "wrong_signature"),
        ({"x-slack-signature": EXAMPLE_SIGNATURE[:-1]}, "wrong_signature"),
        ({"x-slack-signature": EXAMPLE_SIGNATURE.replace("v0", "v1")}, "wrong_signature"),
        ({"x-slack-signature": "\ud800" * 67}, "wrong_signature"),
    ],
)
def test_nothing_that_only_looks_like_it_is_believed(headers, code):
    assert code_of(example(**headers), EXAMPLE_SECRET) == code


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_is_for_its_body_only(body, other):
    request = slack_trial.sign(body, NEW, NOW)
    slack_signature.verify(request, ports.Credentials((NEW,)))
    if body != other:
        assert code_of(dataclasses.replace(request, body=other), NEW) == "wrong_signature"


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_headers_do_anything_but_be_refused(timestamp, signature):
    headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": signature}
    assert code_of(dataclasses.replace(example(), headers=headers), NEW)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("signing", "8f742231b10e8888abcd99yyyzzz85a5"),
        ("token", "xoxb-100000000001-NobodysTokenMadeUpHere"),
        ("token", "xoxp-100000000001-100000000002-100000000003-abc"),
        ("token", "xoxe.xoxb-1-MS0yLTM1NzAxNjEyMzQ1LTM1ODYw"),
    ],
)
def test_what_slack_gives_out_is_taken(kind, text):
    slack_signature.check_secret(ports.SecretKind(kind), settings.Secret(text))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("signing", ""),
        ("signing", "short"),
        ("signing", "xoxb-100000000001-NobodysTokenMadeUpHere"),
        ("signing", "8f742231b10e8888abcd99yyyzzz85a5\n"),
        ("signing", "é" * 32),
        ("token", "8f742231b10e8888abcd99yyyzzz85a5"),
        ("token", "xoxb-100000000001\r\nhost: elsewhere"),
        ("token", "xapp-1-A0-1-abcdefabcdef"),
        ("token", "xoxb-"),
    ],
)
def test_what_was_pasted_wrongly_is_refused_without_being_quoted(kind, text):
    with pytest.raises(errors.Rejected) as caught:
        slack_signature.check_secret(ports.SecretKind(kind), settings.Secret(text))
    assert caught.value.code == "bad_secret"
    assert len(text) < 6 or text not in f"{caught.value!r}{caught.value}{caught.value.hint}"


def test_the_simulator_and_the_documentation_agree():
    signed = slack_delivery.signature(EXAMPLE_SECRET.reveal(), str(EXAMPLE_TIME), EXAMPLE_BODY)
    assert signed == EXAMPLE_SIGNATURE
