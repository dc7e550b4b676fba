"""Ids and secrets of accounts: how they are made, and what is refused."""

import base64
import re

import pytest

from penstock.base import errors, settings
from penstock.channels.model import account


def test_ids_are_theirs_alone_and_have_their_form():
    made = {account.new_account_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(account.is_account_id(one) and len(one) == 30 for one in made)


@pytest.mark.parametrize(
    "text", ["", "acc-", "acc-" + "A" * 26, "acc-" + "a" * 25, "acc-" + "a" * 27, "x" * 30, "acc-" + "1" * 26]
)
def test_other_forms_are_no_ids(text: str):
    assert not account.is_account_id(text)


def test_secrets_are_standard_webhooks_secrets_of_33_bytes_that_any_platform_takes():
    for text in {account.new_secret().reveal() for _ in range(100)}:
        assert re.fullmatch(r"whsec_[A-Za-z0-9]{44}", text)
        assert len(base64.b64decode(text.removeprefix("whsec_"))) == 33
        assert account.checked_secret(settings.Secret(text)).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "has a space in the middle",
        "x" * 513,
        "schlüssel-mit-umlaut",
        "tab\tinside-a-secret",
    ],
)
def test_bad_secrets_are_refused_and_never_quoted(text: str):
    with pytest.raises(errors.Rejected) as caught:
        account.checked_secret(settings.Secret(text))
    assert caught.value.code == "bad_secret"
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 201, "nul\0"])
def test_bad_names_are_refused(text: str):
    with pytest.raises(errors.Rejected, match="name"):
        account.checked_name(text)
