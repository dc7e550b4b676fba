"""How long things are kept: days that make sense, and never an answer for longer than what it answers."""

import pytest

from penstock.base import errors
from penstock.channels.settings import ChannelsSettings
from penstock.state.settings import StateSettings


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"keep_commands_days": 8},
        {"keep_messages_days": 30, "keep_commands_days": 30},
        {"keep_messages_days": 30, "keep_commands_days": 8},
        {"keep_unknown_events_days": 0},
    ],
)
def test_what_can_be_kept_for_how_long(chosen):
    kept = ChannelsSettings(**chosen)
    assert [getattr(kept, name) for name in chosen] == list(chosen.values())


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"keep_messages_days": 7, "keep_commands_days": 7}, "keep_messages_days"),
        ({"keep_messages_days": -1}, "keep_messages_days"),
        ({"keep_unknown_events_days": 1}, "keep_unknown_events_days"),
        ({"keep_commands_days": 40_000}, "keep_commands_days"),
        ({"keep_messages_days": 30}, "keep_commands_days"),
        ({"keep_messages_days": 30, "keep_commands_days": 31}, "keep_commands_days"),
    ],
)
def test_what_cannot_be_is_refused_by_name(chosen, field):
    with pytest.raises(errors.Rejected, match="bad_setting") as refused:
        ChannelsSettings(**chosen)
    assert refused.value.field == f"channels.{field}"


def test_quarantine_is_kept_for_a_year_unless_said_otherwise():
    assert (StateSettings().keep_quarantine_days, StateSettings(keep_quarantine_days=0).keep_quarantine_days) == (
        365,
        0,
    )
    with pytest.raises(errors.Rejected, match="bad_setting"):
        StateSettings(keep_quarantine_days=-1)
