"""The terminal passes the suite that every channel passes."""

from penstock.channels.adapters import channel_terminal
from penstock.channels.testing import conformance, webhook_trial


async def test_the_terminal_keeps_every_promise_of_a_channel():
    await conformance.check_channel(webhook_trial.terminal(channel_terminal.TerminalChannel()))
