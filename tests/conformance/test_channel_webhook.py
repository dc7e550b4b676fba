"""The signed webhook passes the suite that every channel passes, over real sockets."""

from penstock.channels.adapters import channel_webhook
from penstock.channels.testing import conformance, webhook_trial


async def test_the_signed_webhook_keeps_every_promise_of_a_channel():
    async with webhook_trial.webhook(channel_webhook.WebhookChannel(timeout_s=0.3)) as described:
        await conformance.check_channel(described)
