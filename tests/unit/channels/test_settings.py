"""The room's settings are refused with their name and range."""

import pytest

from penstock.base import errors, settings
from penstock.channels.settings import ChannelsSettings


def test_defaults_stand():
    assert ChannelsSettings().account_cache_s <= 30


@pytest.mark.parametrize(
    ("name", "text"),
    [("BODY_LIMIT_BYTES", "10"), ("ACCOUNT_CACHE_S", "31"), ("RESENDS", "-1"), ("TERMINAL_POLL_S", "0")],
)
def test_out_of_range_names_the_field(name: str, text: str):
    with pytest.raises(errors.Rejected) as caught:
        settings.load(ChannelsSettings, "channels", {}, {f"PENSTOCK_CHANNELS__{name}": text})
    assert caught.value.field == f"channels.{name.lower()}"
