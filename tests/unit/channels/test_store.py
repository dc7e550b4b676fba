"""The tables in memory keep the rules that those in Postgres keep (`tests/integration/channels/test_store.py`)."""

from tests.unit.channels import fakes, suites


async def test_commands():
    table = fakes.CommandTable()
    await suites.check_command_table(table)
    assert len(table.receipts) == 7


async def test_messages():
    table = fakes.MessageTable()
    await suites.check_message_table(table)
    assert len(table.outbox) == 5
