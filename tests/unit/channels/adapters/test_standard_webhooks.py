"""Signatures: the published vector, the law that only what was signed verifies, and every way to cheat."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import standard_webhooks
from penstock.channels.testing import webhook_signature

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# The published vector: `test_sign_function` in libraries/python/tests/test_webhooks.py beside the specification.
VECTOR_SECRET = settings.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
VECTOR_ID, VECTOR_TIME, VECTOR_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

keys = st.binary(min_size=24, max_size=64)
ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."), min_size=1, max_size=64)


def secret_of(key):
    return settings.Secret("whsec_" + base64.b64encode(key).decode())


def request_of(headers, body, received_at=NOW):
    return ports.WebhookRequest("POST", "/", "", headers, body, received_at)


def signed(secret=VECTOR_SECRET, body=b"{}", at=NOW, message_id="msg-1"):
    return standard_webhooks.sign(ports.Credentials((secret,)), message_id, int(at.timestamp()), body)


def refusal(headers, body=b"{}", secrets=(VECTOR_SECRET,), received_at=NOW):
    with pytest.raises(errors.Rejected) as caught:
        standard_webhooks.verify(request_of(headers, body, received_at), ports.Credentials(tuple(secrets)))
    assert caught.value.status == 401
    return caught.value.code


def test_the_published_vector_is_signed_as_published():
    headers = standard_webhooks.sign(ports.Credentials((VECTOR_SECRET,)), VECTOR_ID, VECTOR_TIME, VECTOR_BODY)
    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_TIME),
        "webhook-signature": VECTOR_SIGNATURE,
    }
    key = webhook_signature.key_from(VECTOR_SECRET.reveal())
    assert webhook_signature.signature(key, VECTOR_ID, str(VECTOR_TIME), VECTOR_BODY) == VECTOR_SIGNATURE


@given(key=keys, message_id=ids, seconds=st.integers(0, 10**10), body=st.binary(max_size=200))
def test_what_one_side_signs_the_other_verifies(key, message_id, seconds, body):
    headers = standard_webhooks.sign(ports.Credentials((secret_of(key),)), message_id, seconds, body)
    assert webhook_signature.faults(headers, body, [key], seconds) == ""
    signature = webhook_signature.signature(key, message_id, str(seconds), body)
    assert headers["webhook-signature"] == signature


@given(body=st.binary(min_size=1, max_size=100), bit=st.integers(0, 10_000), data=st.data())
def test_any_flipped_bit_of_what_is_signed_or_of_the_signature_is_refused(body, bit, data):
    headers = signed(body=body)
    part = data.draw(st.sampled_from(["body", "webhook-id", "webhook-timestamp", "webhook-signature"]))
    if part == "body":
        changed = bytearray(body)
        changed[bit // 8 % len(body)] ^= 1 << bit % 8
        refusal(headers, bytes(changed))
        return
    raw = bytearray(headers[part].encode())
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    refusal({**headers, part: raw.decode("latin-1")}, body)


@given(text=st.text(max_size=200), name=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]))
def test_no_text_in_a_header_gets_in_or_does_anything_but_refuse(text, name):
    headers = signed()
    if text != headers[name]:
        refusal({**headers, name: text})


def test_either_of_two_live_secrets_is_enough_and_we_sign_with_both_newest_first():
    newest, older = secret_of(b"n" * 32), secret_of(b"o" * 32)
    headers = standard_webhooks.sign(ports.Credentials((newest, older)), "m", int(NOW.timestamp()), b"{}")
    first, second = headers["webhook-signature"].split(" ")
    assert first == signed(newest, message_id="m")["webhook-signature"]
    assert second == signed(older, message_id="m")["webhook-signature"]
    for secrets in ((newest,), (older,), (older, newest), (secret_of(b"x" * 24), older)):
        standard_webhooks.verify(request_of(headers, b"{}"), ports.Credentials(secrets))
    assert refusal(headers, secrets=[secret_of(b"x" * 32)]) == "wrong_signature"


def test_several_signatures_may_stand_in_one_header_and_only_v1_counts():
    headers = signed()
    good = headers["webhook-signature"]
    other = "v1," + base64.b64encode(b"x" * 32).decode()
    for offered in (f"{other} {good}", f"v1a,abc v2,{good[3:]} {good}", f"  {good}", f"{good} junk"):
        standard_webhooks.verify(request_of({**headers, "webhook-signature": offered}, b"{}"), _credentials())
    for offered in (other, good[3:], "v2" + good[2:], "v1a" + good[2:], good.replace("v1,", "v1, "), good + "="):
        assert refusal({**headers, "webhook-signature": offered}) == "wrong_signature"
    many = " ".join([other] * 16 + [good])
    assert refusal({**headers, "webhook-signature": many}) == "wrong_signature"


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_timestamps_are_good_for_300_seconds_either_way(seconds, good):
    headers, received_at = signed(), NOW + timedelta(seconds=seconds)
    if good:
        standard_webhooks.verify(request_of(headers, b"{}", received_at), _credentials())
    else:
        assert refusal(headers, received_at=received_at) == "stale_signature"


def test_only_who_signed_hears_that_clocks_differ():
    headers = signed(secret_of(b"x" * 32))
    assert refusal(headers, received_at=NOW + timedelta(hours=1)) == "wrong_signature"


@pytest.mark.parametrize("timestamp", ["1e9", "-5", "+5", " 5", "5.0", "٣", "9" * 13, "0x10", "1_000"])
def test_strange_timestamps_are_refused(timestamp):
    assert refusal({**signed(), "webhook-timestamp": timestamp}) == "bad_signature"


@pytest.mark.parametrize("message_id", ["a.b", "a b", "é", "x" * 257, "a\n"])
def test_strange_ids_are_refused(message_id):
    assert refusal({**signed(), "webhook-id": message_id}) == "bad_signature"


def test_text_cannot_move_from_the_body_into_the_timestamp_or_the_id():
    headers = signed(body=b"5.{}")
    moved = {**headers, "webhook-timestamp": headers["webhook-timestamp"] + ".5"}
    assert refusal(moved, b"{}") == "bad_signature"


def test_without_a_usable_secret_nothing_gets_in_and_nothing_goes_out():
    headers = signed()
    assert refusal(headers, secrets=[]) == "no_secret"
    assert refusal(headers, secrets=[settings.Secret(""), settings.Secret("whsec_")]) == "no_secret"
    with pytest.raises(errors.Rejected, match="no secret"):
        standard_webhooks.sign(ports.Credentials(()), "m", 0, b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_short",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + "A" * 400,
        "whsec_é" + "A" * 40,
        "whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_what_is_no_secret_is_refused_without_quoting_it(text):
    with pytest.raises(errors.Rejected) as caught:
        standard_webhooks.key_of(settings.Secret(text))
    assert len(text) < 8 or text not in str(caught.value)


def _credentials():
    return ports.Credentials((VECTOR_SECRET,))
