"""What an adapter is measured with, shipped so that adapters outside this repository can be measured too.

In come a channel and its simulator; `conformance.check_channel` decides whether the promises of `ports.Channel` hold;
out go failed assertions that name the promise. `webhook_simulator.WebhookSimulator` is a platform on loopback, written
from the public specification and sharing no code with the adapter. `fake_channel.FakeChannel` and `fake_accounts` are
for tests of what uses a channel. Adapters do not belong here, nor anything that a running product needs.
"""
