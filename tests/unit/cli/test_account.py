"""Making an account asks for what only the platform gives out, where somebody is there to be asked."""

import sys

import pytest

from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import fake_channel
from penstock.cli import account, account_unknown, secret_source
from tests.unit.cli import calling

SIGNING, TOKEN = ports.SecretKind.SIGNING, ports.SecretKind.TOKEN


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Somebody at a terminal who types `typed`; the questions."""
    found: list[str] = []
    monkeypatch.setattr(secret_source, "may_ask", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: found.append(prompt) or "typed")
    return found


@pytest.mark.parametrize(
    ("channel", "given", "wanted"),
    [
        ("slack", set(), {SIGNING, TOKEN}),
        ("slack", {SIGNING}, {TOKEN}),
        ("telegram", set(), {TOKEN}),
        ("webhook", set(), set()),
        ("no-such-channel", set(), set()),
    ],
)
def test_what_only_the_platform_gives_out_is_asked_for(asked, channel, given, wanted):
    secrets = {kind: settings.Secret("given along") for kind in given}
    found = account._asked_for(channel, secrets)
    assert {kind: secret.reveal() for kind, secret in found.items()} == dict.fromkeys(wanted, "typed")
    assert len(asked) == len(wanted)


def of_somebody_else(*, timeout_s: float, tolerance_s: float) -> ports.Extension:
    """A channel of another distribution, whose platform gives out both secrets."""
    del timeout_s, tolerance_s
    secrets = "".join(f'[fake.secret.{kind}]\nmeaning = "{kind}"\nmade = false\n' for kind in (SIGNING, TOKEN))
    return ports.Extension(f'[fake]\ntitle = "Fake"\n{secrets}', fake_channel.FakeChannel())


def test_a_channel_of_another_distribution_is_asked_for_alike(asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    assert account._asked_for("fake", {}) == {}
    monkeypatch.setenv("PENSTOCK_CHANNELS__ADAPTERS", "stranger:of_somebody_else")
    assert set(account._asked_for("fake", {})) == {SIGNING, TOKEN}
    assert len(asked) == 2


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_who_answers_nothing_is_told_so(asked, monkeypatch, more):
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", nobody)
    ended = calling.call("account", "create", "bot", "-t", "acme", "-c", "telegram", *more)
    assert (ended.code, ended.out) == (2, "")
    assert "--secret" in ended.err
    assert "nothing was typed" in ended.err


def test_a_program_is_asked_nothing(monkeypatch):
    monkeypatch.setattr(secret_source, "may_ask", lambda: False)
    assert account._asked_for("slack", {}) == {}


@pytest.mark.parametrize(
    ("raw", "whole", "shown"),
    [
        ("Grüße".encode(), True, {"body": "Grüße"}),
        ("Grüße".encode()[:3], False, {"body": "Gr"}),
        ("Grüße".encode()[:3], True, {"body_base64": "R3LD"}),
        (b"\xff\xfe", False, {"body_base64": "//4="}),
        (b"", False, {"body": ""}),
    ],
)
def test_an_unknown_event_is_shown_as_text_where_it_is_text_even_if_the_cut_went_through_a_character(raw, whole, shown):
    assert account_unknown._body(raw, whole=whole) == shown
