"""Two tenants whose platforms use the very same ids, on one installation: neither ever sees the other."""

from collections import Counter
from pathlib import Path

import pytest

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import outbound_pb2
from penstock.spine import route
from penstock.spine.adapters import spine_nats
from tests.e2e import conversation, installation, records

TEXTS = [f"message {number}" for number in range(conversation.ROOMS)]
"""One a room: all are said in one go, before an answer could take an id of the platform in between."""


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_twins_never_see_each_other(folder: Path) -> None:
    async with (
        installation.up(installation.environment(folder)) as running,
        conversation.account(running, "acme", run="twin") as acme,
        conversation.account(running, "globex", run="twin") as globex,
    ):
        of_acme, of_globex = [f"acme {text}" for text in TEXTS], [f"globex {text}" for text in TEXTS]
        async with installation.app(running, "acme,globex"):
            said = await conversation.say_all(acme, of_acme), await conversation.say_all(globex, of_globex)
            ours, theirs = ({each.event_id: each.message_id for each in posted.values()} for posted in said)
            assert ours == theirs, "the same events, messages and conversations"
            await conversation.all_answered(acme, of_acme)
            await conversation.all_answered(globex, of_globex)
        assert conversation.answers(acme) == Counter(map(conversation.answer, of_acme))
        assert conversation.answers(globex) == Counter(map(conversation.answer, of_globex))
        assert conversation.out_of_order(acme, of_acme) == conversation.out_of_order(globex, of_globex) == []
        assert acme.faults == globex.faults == []

        # One's secret opens nothing of the other's.
        acme.connect(globex.webhook_url)
        assert (await acme.say("room-0", "let me in")).status == 401
        await _rows_are_apart(running)
        await _cannot_speak_for_the_other(running, globex)


async def _rows_are_apart(running: installation.Installation) -> None:
    """Each lists, shows and quarantines its own."""
    [ours], [theirs] = [await running.cli("account", "ls", "-t", tenant) for tenant in ("acme", "globex")]
    assert (ours["tenant"], theirs["tenant"]) == ("acme", "globex")
    code, out, err = await installation.run(running.environ, "account", "show", theirs["id"], "-t", "acme")
    assert (code, out) == (4, "")
    assert "globex" not in err
    for verb in (("disable",), ("secret", "add")):
        code, _, _ = await installation.run(running.environ, "account", *verb, theirs["id"], "-t", "acme")
        assert code == 4, verb
    assert await running.cli("quarantine", "ls", "-t", "acme") == []


async def _cannot_speak_for_the_other(running: installation.Installation, globex: conversation.Platform) -> None:
    """A command of one tenant for the other's account is refused like one for an account that does not exist."""
    before = len(globex.arrivals)
    command = outbound_pb2.SendCommand(
        command_id="forged",
        tenant="acme",
        channel="webhook",
        account=globex.webhook_url.rpartition("/")[2],
        conversation="room-0",
        text="Hello from acme",
    )
    where = running.endpoints
    transport = await spine_nats.NatsSpine.connect(
        where.nats_url, user=where.nats_user, password=where.nats_password, wait_s=5
    )
    try:
        await transport.publish(route.OUTBOUND.encode(contexts.start(ids.tenant_id("acme")), command))
    finally:
        await transport.close()
    told = await records.receipts(running, "acme", count=len(TEXTS) + 1)
    [receipt] = [each for each in told if each.command_id == "forged"]
    assert (receipt.status, receipt.code) == (outbound_pb2.RECEIPT_STATUS_REJECTED, "no_account")
    assert len(globex.arrivals) == before
    assert {each.tenant for each in told} == {"acme"}
