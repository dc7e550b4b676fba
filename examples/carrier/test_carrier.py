"""The adapter keeps every promise of a channel, and an installation that names it runs it beside its own channels."""

import json
from datetime import timedelta

import pytest

from examples.carrier import carrier_trial, channel_carrier, extension
from penstock.base import errors, settings
from penstock.channels import ports, wiring
from penstock.channels.settings import ChannelsSettings
from penstock.channels.testing import conformance, trial

NAME = "examples.carrier.extension:carrier"


async def test_it_keeps_every_promise_of_a_channel():
    async with carrier_trial.carrier(channel_carrier.CarrierChannel(timeout_s=0.3)) as described:
        await conformance.check_channel(described)


async def test_it_sends_with_the_older_token_when_the_newer_one_is_not_taken_yet():
    channel = channel_carrier.CarrierChannel()
    async with carrier_trial.carrier(channel) as described:
        tokens = (settings.Secret("a-token-that-is-too-new"), carrier_trial.TOKENS[1])
        command = ports.outbound_pb2.SendCommand(command_id="c", conversation="loft", text="coo")
        sent = await channel.send(described.account, ports.Credentials(described.secrets, tokens), command)
        assert described.platform is not None
        assert list(described.platform.taken("loft")) == [(sent.message_id, "coo")]
        with pytest.raises(errors.Rejected, match="token_refused"):
            await channel.send(described.account, ports.Credentials(described.secrets, tokens[:1]), command)


def test_an_installation_that_names_it_knows_it():
    known, channels = wiring.extended(ChannelsSettings(adapters=NAME))
    assert known.find("carrier").title == "Carrier"
    assert isinstance(channels["carrier"], channel_carrier.CarrierChannel)
    assert {"webhook", "terminal"} < set(channels), "the channels that ship are there as well"
    assert "carrier" not in wiring.extended(ChannelsSettings())[1], "nothing runs that nobody named"


def test_a_signature_is_over_the_time_too():
    request = carrier_trial.sign(
        json.dumps({"kind": "typing", "id": "e"}).encode(), carrier_trial.SIGNING[0], trial.NOW
    )
    later = carrier_trial.sign(request.body, carrier_trial.SIGNING[0], trial.NOW + timedelta(seconds=1))
    assert request.headers != later.headers
    assert extension.REGISTRY.count("[carrier]") == 1
