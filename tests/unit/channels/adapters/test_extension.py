"""Channels of other distributions: only what is named runs, and what is wrong with one is said by name."""

import sys
from typing import Any

import pytest

from penstock.base import errors, ids
from penstock.channels import ports, registry, wiring
from penstock.channels.adapters import extension
from penstock.channels.settings import ChannelsSettings
from penstock.channels.testing import fake_channel

HERE = __name__
ENTRY = '[fake]\ntitle = "Fake"\n[fake.secret.signing]\nmeaning = "signs"\nmade = true\n'
TIMES: dict[str, float] = {"timeout_s": 1.0, "tolerance_s": 2.0}


def good(**times: float) -> ports.Extension:
    assert times == TIMES
    return ports.Extension(ENTRY, fake_channel.FakeChannel())


def of_two(**_: float) -> ports.Extension:
    return ports.Extension(ENTRY + ENTRY.replace("fake", "other"), fake_channel.FakeChannel())


def of_another_name(**_: float) -> ports.Extension:
    return ports.Extension(ENTRY, fake_channel.FakeChannel(name=ids.ChannelName("other")))


def without_entry(**_: float) -> ports.Extension:
    return ports.Extension("[fake", fake_channel.FakeChannel())


def of_no_kind(**_: float) -> object:
    return fake_channel.FakeChannel()


def crashes(**_: float) -> ports.Extension:
    raise RuntimeError("no licence")


def takes_a_place(*, timeout_s: float, tolerance_s: float) -> ports.Extension:
    """A channel under the name of one that ships."""
    del timeout_s, tolerance_s
    name = ids.ChannelName("webhook")
    return ports.Extension(ENTRY.replace("fake", "webhook"), fake_channel.FakeChannel(name=name))


NOT_CALLABLE = "text"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are imported by path, so that this file is found by no name of its own."""
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[HERE])


def test_a_channel_is_made_once_with_the_installations_times():
    known, channel = extension.load("stranger:good", **TIMES)
    assert (known.resolve("fake"), channel.name) == ("fake", "fake")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stranger", "must be module:factory"),
        ("stranger:", "must be module:factory"),
        (":good", "must be module:factory"),
        ("stranger:good()", "must be module:factory"),
        ("stranger:good [extra]", "must be module:factory"),
        ("../stranger:good", "must be module:factory"),
        ("no.such.module:good", "ModuleNotFoundError"),
        ("stranger:missing", "AttributeError"),
        ("stranger:NOT_CALLABLE", "TypeError"),
        ("stranger:crashes", "RuntimeError: no licence"),
        ("stranger:of_no_kind", "must return a penstock.channels.ports.Extension"),
        ("stranger:of_two", "must hold one entry, 'fake'"),
        ("stranger:of_another_name", "must hold one entry, 'other'"),
        ("stranger:without_entry", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_one_is_said_by_name(name: str, says: str):
    with pytest.raises(errors.Rejected) as caught:
        extension.load(name, **TIMES)
    assert (caught.value.code, caught.value.field) == ("bad_adapter", "channels.adapters")
    assert says in caught.value.detail
    assert name[:100] in caught.value.detail


def test_no_stranger_takes_the_place_of_a_channel_that_ships():
    with pytest.raises(errors.Rejected, match="'webhook' names both webhook and webhook"):
        wiring.extended(ChannelsSettings(adapters="stranger:takes_a_place"))


def test_names_are_separated_by_commas_and_stand_there_once():
    assert extension.names(" a:b , c:d ,") == ["a:b", "c:d"]
    assert extension.names("") == []
    with pytest.raises(errors.Rejected, match="stands there twice"):
        extension.names("a:b,a:b")


def test_joined_registries_know_all_channels_and_no_two_of_one_name():
    other = registry.parse(ENTRY)
    joined = registry.load().joined(other)
    assert {entry.slug for entry in joined.entries} == {"fake", *(entry.slug for entry in registry.load().entries)}
    with pytest.raises(errors.Rejected, match="duplicate_channel"):
        joined.joined(other)


def test_a_channel_that_nobody_named_is_not_there():
    known, channels = wiring.extended(ChannelsSettings())
    assert known == registry.load()
    shipped: dict[str, Any] = wiring.adapters(ChannelsSettings())
    assert set(channels) == set(shipped)
