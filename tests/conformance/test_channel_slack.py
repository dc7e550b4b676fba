"""Slack passes the suite that every channel passes, over real sockets."""

from penstock.channels.adapters import channel_slack
from penstock.channels.testing import conformance, slack_trial


async def test_slack_keeps_every_promise_of_a_channel():
    async with slack_trial.slack(channel_slack.SlackChannel(timeout_s=1.0)) as described:
        await conformance.check_channel(described)
