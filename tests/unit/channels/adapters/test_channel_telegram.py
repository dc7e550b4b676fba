"""What an account on Telegram may be configured with, and that Penstock needs nothing but its secrets."""

import pytest

from penstock.base import errors, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import channel_telegram

CHANNEL = channel_telegram.TelegramChannel()


def test_an_account_needs_no_configuration():
    CHANNEL.check_config({})
    assert str(channel_telegram._base({})) == "https://api.telegram.org"


def test_a_word_may_be_made_and_a_token_is_given_out():
    entry = registry.load().find("telegram")
    assert {field.kind: field.made for field in entry.secrets} == {
        ports.SecretKind.SIGNING: True,
        ports.SecretKind.TOKEN: False,
    }


@pytest.mark.parametrize("url", ["https://bots.example.org", "https://bots.example.org/api/", "http://127.0.0.1:8081"])
def test_api_urls(url: str):
    CHANNEL.check_config({"api_url": url})


@pytest.mark.parametrize(
    "url", ["", "http://bots.example.org", "https://a:b@bots.example.org", "https://x.y/?bot=", "x"]
)
def test_api_urls_that_are_refused_by_name(url: str):
    with pytest.raises(errors.Rejected) as caught:
        CHANNEL.check_config({"api_url": url})
    assert (caught.value.code, caught.value.field) == ("bad_config", "config.api_url")


def test_a_token_is_no_word_and_a_word_no_token():
    token = settings.Secret("123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11")
    with pytest.raises(errors.Rejected):
        CHANNEL.check_secret(ports.SecretKind.SIGNING, token)
    with pytest.raises(errors.Rejected):
        CHANNEL.check_secret(ports.SecretKind.TOKEN, settings.Secret("whsec_wordwordwordwordword"))
