"""What Deluge signs is believed, written in either way; a body that was changed, a stranger or a public key are not."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import cliq_signature
from penstock.channels.model import account
from penstock.channels.testing import cliq_sender, cliq_simulator, cliq_trial

# The two examples of https://www.zoho.com/deluge/help/encryption/hmac-sha256.html.
EXAMPLE_SECRET = settings.Secret("sk_5Ow7B_4eC39H")
EXAMPLE_BODY = b"{Order ID: 0932, Currency: USD, Amount: 2500}"
EXAMPLE_BASE64 = "E3IZY+esQ59aLmPCYYVjk2R/P1G0k77r9ZGa9Lw94Zw="
EXAMPLE_HEX = "13721963e7ac439f5a2e63c261856393647f3f51b493beebf5919af4bc3de19c"
NEW, OLD = cliq_trial.SECRETS
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNING, TOKEN = ports.SecretKind.SIGNING, ports.SecretKind.TOKEN
PUBLIC_KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + "z" * 100


def request(signature, body=b"{}"):
    return ports.WebhookRequest("POST", "/", "", {"x-cliq-signature": signature}, body, NOW)


def code_of(asked, *secrets):
    with pytest.raises(errors.Rejected) as caught:
        cliq_signature.verify(asked, ports.Credentials(secrets))
    assert caught.value.status == 401
    return caught.value.code


def test_the_documented_examples_are_what_is_computed():
    # Their key is shorter than what an account may have, so the examples check the arithmetic alone.
    key = EXAMPLE_SECRET.reveal()
    digest = hmac.digest(key.encode(), EXAMPLE_BODY, hashlib.sha256)
    assert cliq_signature._digest(EXAMPLE_BASE64) == cliq_signature._digest(EXAMPLE_HEX) == digest
    assert cliq_signature._matches(digest, [EXAMPLE_SECRET], EXAMPLE_BODY)
    assert cliq_sender.signature(key, EXAMPLE_BODY) == EXAMPLE_BASE64
    assert cliq_sender.signature(key, EXAMPLE_BODY, encoding="hex") == EXAMPLE_HEX
    assert code_of(request(EXAMPLE_HEX, EXAMPLE_BODY), EXAMPLE_SECRET) == "no_secret"


WRITTEN = (bytes.hex, lambda digest: digest.hex().upper(), lambda digest: base64.b64encode(digest).decode())


@pytest.mark.parametrize("write", WRITTEN)
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_hexadecimal_and_base64_are_the_same(write, prefix):
    digest = hmac.digest(NEW.reveal().encode(), b"{}", "sha256")
    cliq_signature.verify(request(prefix + write(digest)), ports.Credentials((NEW, OLD)))
    assert code_of(request(prefix + write(digest)), OLD) == "wrong_signature"
    assert code_of(request(prefix + write(digest), b"{ }"), NEW) == "wrong_signature"


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ("", "missing_signature"),
        (EXAMPLE_HEX[:-1], "bad_signature"),
        (EXAMPLE_HEX + "0", "bad_signature"),
        (f"{EXAMPLE_HEX}, {EXAMPLE_HEX}", "bad_signature"),
        (EXAMPLE_BASE64[:-1], "bad_signature"),
        (EXAMPLE_BASE64.replace("+", "-").replace("/", "_"), "bad_signature"),
        ("sha1=" + EXAMPLE_HEX, "bad_signature"),
        ("sha256=sha256=" + EXAMPLE_HEX, "bad_signature"),
        ("\u0660" * 64, "bad_signature"),
        ("\ud800" * 64, "bad_signature"),
        ("0" * 64, "wrong_signature"),
        ("A" * 43 + "=", "wrong_signature"),
    ],
)
def test_whatever_else_stands_in_the_header_is_refused(signature, code):
    assert code_of(request(signature), NEW) == code


@given(st.text(), st.binary(max_size=50))
def test_no_header_that_nobody_signed_gets_in(signature, body):
    assert code_of(request(signature, body), NEW, OLD) in {"missing_signature", "bad_signature", "wrong_signature"}


@given(st.binary(max_size=200), st.sampled_from(["hex", "base64"]))
def test_what_was_signed_gets_in_and_nothing_longer(body, encoding):
    signature = cliq_sender.signature(OLD.reveal(), body, encoding=encoding)
    cliq_signature.verify(request(signature, body), ports.Credentials((NEW, OLD)))
    assert code_of(request(signature, body + b"\0"), NEW, OLD) == "wrong_signature"


@pytest.mark.parametrize("secret", ["", "short", "fifteen letters", "a secret with spaces", 'quoted"quoted"quoted'])
def test_a_malformed_secret_vouches_for_nobody(secret):
    bad = settings.Secret(secret)
    assert code_of(request(cliq_sender.signature(secret, b"{}")), bad) == "no_secret"
    with pytest.raises(errors.Rejected) as caught:
        cliq_signature.check_secret(SIGNING, bad)
    assert caught.value.code == "bad_secret"
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("key", [PUBLIC_KEY, "-----BEGIN-PUBLIC-KEY-----" + PUBLIC_KEY[:60]])
def test_the_public_key_of_an_extension_is_no_secret(key):
    """Whoever reads it on a page could sign with it."""
    public = settings.Secret(key)
    assert code_of(request(cliq_sender.signature(key, b"{}")), public) == "no_secret"
    with pytest.raises(errors.Rejected) as caught:
        cliq_signature.check_secret(SIGNING, public)
    assert "public key" in caught.value.detail


def test_secrets_that_penstock_or_the_simulator_makes_are_taken():
    for secret in (account.new_secret(), settings.Secret(cliq_simulator.fresh_signing_secret())):
        cliq_signature.check_secret(SIGNING, secret)
    cliq_signature.check_secret(TOKEN, settings.Secret(cliq_simulator.fresh_token()))


LONG = "1000." + "a" * 40


@pytest.mark.parametrize("token", ["", "1000.short", f"{LONG}\r\nhost: x", f"{LONG}&x=y", f"{LONG} {LONG}"])
def test_what_would_mean_something_in_a_header_or_a_url_is_no_token(token):
    with pytest.raises(errors.Rejected) as caught:
        cliq_signature.check_secret(TOKEN, settings.Secret(token))
    assert caught.value.code == "bad_secret"
