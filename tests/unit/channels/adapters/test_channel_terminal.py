"""The terminal calls nobody: a send is done at once, and its id is the same for the same command."""

from penstock.base import ids
from penstock.channels import ports
from penstock.channels.adapters import channel_terminal
from penstock.channels.testing import webhook_trial
from penstock.messages.v1 import outbound_pb2


async def test_the_message_id_is_that_of_the_command_in_its_account():
    channel, credentials = channel_terminal.TerminalChannel(), ports.Credentials(webhook_trial.SECRETS)

    async def sent(account, command):
        one = ports.Account(ids.TenantId("t"), ids.AccountId(account), channel_terminal.NAME, "n", {})
        return (await channel.send(one, credentials, outbound_pb2.SendCommand(command_id=command))).message_id

    first = await sent("acc-1", "c-1")
    assert first == await sent("acc-1", "c-1")
    assert len({first, await sent("acc-2", "c-1"), await sent("acc-1", "c-2")}) == 3
