"""Zoho Cliq passes the suite that every channel passes, over real sockets."""

from penstock.channels.adapters import channel_cliq
from penstock.channels.testing import cliq_trial, conformance


async def test_cliq_keeps_every_promise_of_a_channel():
    async with cliq_trial.cliq(channel_cliq.CliqChannel(timeout_s=0.3)) as described:
        await conformance.check_channel(described)
