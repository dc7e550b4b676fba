"""The registry is a file that people edit: what is wrong with it is said, and two channels never share a name."""

import pytest

from penstock.base import errors
from penstock.channels import ports, registry, settings, wiring

SLACK = """
[slack]
title = "Slack"
aliases = ["slack-events"]
[slack.config.team]
meaning = "The team."
required = false
[slack.secret.signing]
meaning = "The app's signing secret."
made = false
[slack.secret.token]
meaning = "The bot's token."
made = false
"""
SIGNING = "[{0}.secret.signing]\nmeaning = 'x'\nmade = true\n"


def test_every_shipped_channel_is_in_the_registry_and_every_entry_has_an_adapter():
    assert {entry.slug for entry in registry.load().entries} == set(wiring.adapters(settings.ChannelsSettings()))


def test_a_channel_is_found_by_its_slug_and_by_earlier_ones():
    channels = registry.parse(SLACK)
    assert channels.resolve("slack") == channels.resolve("slack-events") == "slack"
    assert channels.find("slack").title == "Slack"


def test_an_unknown_channel_is_refused_with_the_known_ones():
    with pytest.raises(errors.Rejected) as caught:
        registry.load().resolve("fax")
    assert caught.value.status == 404
    assert "webhook" in caught.value.hint
    assert "terminal" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[Slack]\ntitle = 'x'", "channel must be"),
        ("[slack_events]\ntitle = 'x'", "channel must be"),
        ("[a]\n", "a.title"),
        ("[a]\ntitle = ''", "a.title"),
        ("[a]\ntitle = 'x'\naliases = 'b'", "a.aliases"),
        ("[a]\ntitle = 'x'\naliases = ['B']", "a.aliases"),
        ("[a]\ntitle = 'x'\naliases = [1]", "a.aliases"),
        ("[a]\ntitle = 'x'\ncolour = 'red'", "colour"),
        ("[a]\ntitle = 'x'\nconfig = 1", "a.config"),
        ("[a]\ntitle = 'x'\n[a.config.url]\n", "a.config.url"),
        ("[a]\ntitle = 'x'\n[a.config.URL]\nmeaning = 'x'", "a.config.URL"),
        ("[a]\ntitle = 'x'\n[a.config.url]\nmeaning = 'x'\nrequired = 'yes'", "a.config.url"),
        ("[a]\ntitle = 'x'\n[a.config.url]\nmeaning = 'x'\nsecret = true", "secret"),
        ("a = 1", "a must be a table"),
        ("[a", "TOML"),
        (
            f"[a]\ntitle = 'x'\naliases = ['b']\n{SIGNING.format('a')}[b]\ntitle = 'y'\n{SIGNING.format('b')}",
            "both a and b",
        ),
        (
            (
                f"[a]\ntitle = 'x'\naliases = ['c']\n{SIGNING.format('a')}"
                f"[b]\ntitle = 'y'\naliases = ['c']\n{SIGNING.format('b')}"
            ),
            "'c' names both a and b",
        ),
        (f"[a]\ntitle = 'x'\naliases = ['a']\n{SIGNING.format('a')}", "'a' names both a and a"),
        ("[a]\ntitle = 'x'", "a.secret.signing is missing"),
        ("[a]\ntitle = 'x'\n[a.secret.token]\nmeaning = 'x'\nmade = false", "a.secret.signing is missing"),
        ("[a]\ntitle = 'x'\n[a.secret.password]\nmeaning = 'x'\nmade = false", "password"),
        ("[a]\ntitle = 'x'\n[a.secret.signing]\nmade = true", "a.secret.signing must have a meaning"),
        ("[a]\ntitle = 'x'\n[a.secret.signing]\nmeaning = 'x'", "a.secret.signing must have a meaning"),
        ("[a]\ntitle = 'x'\n[a.secret.signing]\nmeaning = 'x'\nmade = 1", "a.secret.signing must have a meaning"),
        ("[a]\ntitle = 'x'\n[a]\ntitle = 'y'", "TOML"),
    ],
)
def test_a_bad_registry_is_refused_by_name(text, says):
    with pytest.raises(errors.Rejected, match=says):
        registry.parse(text)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"Team": "x"}, "config.Team"),
        ({"team": ""}, "config.team"),
        ({"team": "a\nb"}, "config.team"),
        ({"team": "a\0b"}, "config.team"),
        ({"team": "\ud800"}, "config.team"),
        ({"team": "x" * 2049}, "config.team"),
    ],
)
def test_config_is_checked_against_the_fields_of_the_channel(config, field):
    with pytest.raises(errors.Rejected) as caught:
        registry.parse(SLACK).find("slack").check_fields(config)
    assert caught.value.field == field


def test_optional_fields_may_be_left_out_and_required_ones_not():
    registry.parse(SLACK).find("slack").check_fields({})
    with pytest.raises(errors.Rejected, match=r"config\.url"):
        registry.load().find("webhook").check_fields({})


def test_a_channel_says_which_secrets_its_accounts_have():
    slack = registry.parse(SLACK).find("slack")
    assert [(field.kind, field.made) for field in slack.secrets] == [("signing", False), ("token", False)]
    assert slack.secret(ports.SecretKind.TOKEN).meaning == "The bot's token."
    with pytest.raises(errors.Rejected, match="webhook has no use for a token secret"):
        registry.load().find("webhook").secret(ports.SecretKind.TOKEN)
