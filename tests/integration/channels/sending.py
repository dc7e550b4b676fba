"""What the tests of sending do alike: an adapter, a platform that finds nothing wrong, and one command between them."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock.base import ids
from penstock.channels import ports
from penstock.messages.v1 import message_pb2, outbound_pb2


def channel_fixture(make: Callable[[], Any]) -> Any:
    """The fixture `channel`: an adapter, hung up in the end."""

    @pytest.fixture(name="channel")
    async def opened():
        adapter = make()
        yield adapter
        await adapter.close()

    return opened


def simulator_fixture(make: Callable[[], Any]) -> Any:
    """The fixture `simulator`: a platform that in the end was sent nothing that breaks its documentation."""

    @pytest.fixture(name="simulator")
    async def started():
        async with make() as running:
            yield running
            assert running.faults == []

    return started


def send(
    channel: Any,
    simulator: Any,
    credentials: ports.Credentials,
    *,
    conversation: str,
    relation: Any = None,
    **said: Any,
) -> Any:
    """Send one command to the simulated platform; `relation` as the fields of a Relation."""
    slug = ids.ChannelName(simulator.channel)
    account = ports.Account(ids.TenantId("t"), ids.AccountId("acc"), slug, "n", simulator.config)
    command = outbound_pb2.SendCommand(command_id=ids.new_id(), conversation=conversation, **said)
    if relation:
        command.relation.CopyFrom(message_pb2.Relation(**relation))
    return channel.send(account, credentials, command)
