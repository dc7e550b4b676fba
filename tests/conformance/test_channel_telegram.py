"""Telegram passes the suite that every channel passes, over real sockets."""

from penstock.channels.adapters import channel_telegram
from penstock.channels.testing import conformance, telegram_trial


async def test_telegram_keeps_every_promise_of_a_channel():
    async with telegram_trial.telegram(channel_telegram.TelegramChannel(timeout_s=0.3)) as described:
        await conformance.check_channel(described)
