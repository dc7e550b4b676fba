"""On every channel, one of another distribution among them: what people say comes in once, and they hear the answer."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from examples.carrier import carrier_simulator
from penstock.channels import ports, wiring
from penstock.channels.settings import ChannelsSettings
from penstock.channels.testing import simulators
from penstock.messages.v1 import message_pb2, outbound_pb2
from tests.integration.channels.test_room import handle, receipts
from tests.unit.channels import fakes

EVERY = {**simulators.ALL, "carrier": carrier_simulator.CarrierSimulator}


@pytest.fixture
async def shipped(house: Any) -> AsyncGenerator[wiring.ChannelsRoom]:
    """The room as an installation has it that names a channel of somebody else's."""
    around = wiring.Surroundings(house.database, house.sealer, house.tenancy)
    room = house.room = wiring.build(ChannelsSettings(adapters="examples.carrier.extension:carrier"), around)
    yield room
    await room.close()


@pytest.mark.parametrize("channel", EVERY)
async def test_people_are_heard_once_and_answered(house: Any, shipped: wiring.ChannelsRoom, address: str, channel: str):
    async with EVERY[channel]() as platform:
        made = await shipped.accounts.create("acme", channel, "shop", config=platform.config, secrets=platform.secrets)
        account = made.account
        platform.connect(f"http://{address}/webhooks/{channel}/{account.id}")
        posted = await platform.say("GARDEN", "hello, Grüße 👋")
        again = await platform.repeat(posted)
        assert (posted.status, again.status) == (200, 200)
        [row] = await house.outbox("MESSAGES_INBOUND")
        message = message_pb2.Message.FromString(bytes(row[2]))
        assert (message.tenant, message.account, message.text) == ("acme", account.id, "hello, Grüße 👋")
        command = fakes.command("c1", "hello yourself", account=account.id, channel=channel)
        command.conversation = message.conversation
        for _ in range(2):
            await handle(shipped, command)
        assert [(heard.kind, heard.text) for heard in platform.heard("GARDEN")] == [("send", "hello yourself")]
        [receipt] = await receipts(house)
        assert receipt.status == outbound_pb2.RECEIPT_STATUS_SENT
        assert receipt.message_id == platform.heard("GARDEN")[0].message_id
        assert list(platform.faults) == []


@pytest.mark.parametrize("channel", EVERY)
async def test_two_tenants_with_accounts_on_one_platform_do_not_meet(
    house: Any, shipped: wiring.ChannelsRoom, address: str, channel: str
):
    """The platform's ids are the same for both; whose an event is, the account says and nothing else."""
    async with EVERY[channel]() as platform:
        accounts: list[ports.Account] = []
        for tenant in ("acme", "beta"):
            made = await shipped.accounts.create(
                tenant, channel, "shop", config=platform.config, secrets=platform.secrets
            )
            accounts.append(made.account)
        platform.connect(f"http://{address}/webhooks/{channel}/{accounts[0].id}")
        posted = await platform.say("GARDEN", "hello")
        platform.connect(f"http://{address}/webhooks/{channel}/{accounts[1].id}")
        assert (await platform.repeat(posted)).status == 200
        for account in accounts:
            [row] = await house.outbox("MESSAGES_INBOUND", tenant=account.tenant)
            message = message_pb2.Message.FromString(bytes(row[2]))
            assert (message.tenant, message.account) == (account.tenant, account.id)
