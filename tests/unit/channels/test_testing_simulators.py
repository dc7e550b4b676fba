"""Every channel with a platform of its own can be simulated, and every simulator says what its people can do."""

import pytest

from penstock.channels import registry
from penstock.channels.testing import simulators

ABILITIES = {"reply", "thread", "edit", "delete", "react", "attach"}


def test_every_channel_that_calls_somebody_has_a_simulator():
    """Nobody is called for a terminal: it reads our own rows."""
    assert set(simulators.ALL) == {entry.slug for entry in registry.load().entries} - {"terminal"}


@pytest.mark.parametrize("channel", simulators.ALL)
def test_a_simulator_makes_up_what_an_account_of_its_channel_needs(channel: str):
    simulator, entry = simulators.ALL[channel](), registry.load().find(channel)
    assert simulator.channel == channel
    assert simulator.abilities <= ABILITIES
    assert set(simulator.secrets) == {field.kind for field in entry.secrets}
    assert simulator.secrets != simulators.ALL[channel]().secrets, "two platforms share a secret"
    assert list(simulator.faults) == []
    assert list(simulator.heard("room")) == []
