"""The fake channel is worth testing with because it keeps the same promises as real ones."""

from penstock.channels.testing import conformance, fake_channel, fake_trial


async def test_the_fake_channel_keeps_every_promise_of_a_channel():
    await conformance.check_channel(fake_trial.fake(fake_channel.FakeChannel()))
