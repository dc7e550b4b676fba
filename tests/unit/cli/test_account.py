"""Making an account asks for what only the platform gives out, where somebody is there to be asked."""

import pytest

from penstock.base import settings
from penstock.channels import ports
from penstock.cli import account, secret_source

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


def test_a_program_is_asked_nothing(monkeypatch):
    monkeypatch.setattr(secret_source, "may_ask", lambda: False)
    assert account._asked_for("slack", {}) == {}
