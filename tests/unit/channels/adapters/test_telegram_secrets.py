"""Who calls is proved by a word in a header and by nothing else: so the word is compared whole, and shut means shut."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import telegram_secrets
from penstock.channels.model import account

SIGNING, TOKEN = ports.SecretKind.SIGNING, ports.SecretKind.TOKEN
WORD, OLDER = settings.Secret("newest_word-newest_word"), settings.Secret("oldest_word-oldest_word")


def verify(offered, *secrets):
    headers = {} if offered is None else {telegram_secrets.HEADER: offered}
    request = ports.WebhookRequest("POST", "/", "", headers, b"{}", datetime(2026, 3, 1, tzinfo=UTC))
    telegram_secrets.verify(request, ports.Credentials(secrets))


def test_either_live_word_lets_in():
    verify(WORD.reveal(), WORD, OLDER)
    verify(OLDER.reveal(), WORD, OLDER)


@pytest.mark.parametrize(
    ("offered", "code"),
    [
        (None, "missing_signature"),
        ("", "missing_signature"),
        ("newest_word-newest_wor", "wrong_signature"),
        ("newest_word-newest_word ", "wrong_signature"),
        ("NEWEST_WORD-NEWEST_WORD", "wrong_signature"),
        ("newest_word-newest_word, newest_word-newest_word", "wrong_signature"),
        ("\ud800", "wrong_signature"),
    ],
)
def test_anything_else_does_not(offered, code):
    with pytest.raises(errors.Rejected) as caught:
        verify(offered, WORD, OLDER)
    assert (caught.value.code, caught.value.status) == (code, 401)


def test_without_a_word_nothing_lets_in():
    for offered in (None, "", "x"):
        with pytest.raises(errors.Rejected):
            verify(offered)


def test_a_malformed_word_vouches_for_nobody():
    with pytest.raises(errors.Rejected):
        verify("short", settings.Secret("short"))


@given(st.text(max_size=40))
def test_no_other_text_lets_in(offered):
    with pytest.raises(errors.Rejected):
        verify(offered, WORD)


def test_what_penstock_makes_is_what_telegram_takes():
    for _ in range(50):
        telegram_secrets.check(SIGNING, account.new_secret())


@pytest.mark.parametrize(
    "text",
    ["", "short", "sixteen letters+", "with spaces in it all", "ümlauts-are-not-taken", "a" * 257, "a" * 20 + "\n"],
)
def test_words_that_telegram_would_not_take(text):
    with pytest.raises(errors.Rejected) as caught:
        telegram_secrets.check(SIGNING, settings.Secret(text))
    assert caught.value.code == "bad_secret"
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11", "5550001:" + "a" * 35])
def test_tokens(text):
    telegram_secrets.check(TOKEN, settings.Secret(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
        "0123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
        "123456:ABC-DEF1234ghIkl/../../x57W2v1u123ew11",
        "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11\r\nhost: x",
        "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11?x",
        "bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
    ],
)
def test_what_cannot_be_a_token_is_refused_without_quoting_it(text):
    secret = settings.Secret(text)
    with pytest.raises(errors.Rejected) as caught:
        telegram_secrets.check(TOKEN, secret)
    assert not telegram_secrets.is_token(secret)
    assert caught.value.code == "bad_secret"
    assert not text or text not in str(caught.value)
