"""Who is declared and who is there: roles by the table, apps by their durables, both by their heartbeats."""

import asyncio

import pytest

from penstock.app import presence, roles
from penstock.base import ids
from penstock.spine import consumer, heartbeat, provision
from penstock.spine.testing import memory

OURS = [role.name for role in roles.ROLES]


@pytest.fixture
async def spine():
    bench = memory.MemoryBench()
    yield await bench.connect()
    await bench.close()


async def beat(spine, name, *, ready=True, tenant=""):
    """One heartbeat is heard at once, while somebody listens."""
    made = heartbeat.Heartbeat(spine, name, is_ready=lambda: ready, tenant=ids.TenantId(tenant), period_s=0.01)
    made.start()
    return made


async def test_everybody_who_is_heard_is_there_and_all_of_them_are_heard_before_the_time_is_over(spine):
    beats = [await beat(spine, name) for name in OURS]
    beats += [await beat(spine, OURS[0]), await beat(spine, "app_acme_echo", tenant="acme")]
    await provision.streams(spine)
    await provision.durable(spine, consumer.of_app("acme", "echo"))
    found = await presence.components(spine, listen_s=60)
    assert [one.name for one in found] == [*OURS, "app_acme_echo"]
    assert all(presence.check(one).status == "ok" for one in found)
    assert found[-1].is_app
    for each in beats:
        await each.stop()


async def test_what_is_declared_and_not_there_is_told(spine):
    await provision.streams(spine)
    await provision.durable(spine, consumer.of_app("acme", "echo"))
    starting = await beat(spine, OURS[0], ready=False)
    checks = [presence.check(one) for one in await presence.components(spine, listen_s=0.2)]
    assert [(check.name, check.status) for check in checks] == [
        *((f"role {name}", "warn") for name in OURS),
        ("app app_acme_echo", "warn"),
    ]
    assert checks[0].found == "1 starting"
    assert checks[1].found == "nobody is there"
    assert checks[-1].found == "nobody is there; 0 messages wait"
    assert all(check.remedy for check in checks)
    await starting.stop()


async def test_who_drains_says_so_at_once(spine):
    heard = asyncio.Queue()
    await spine.listen("penstock.heartbeat.>", heard.put)
    made = heartbeat.Heartbeat(spine, "state", is_ready=lambda: True)
    await made.drain()
    signal = await heard.get()
    assert signal.subject.startswith("penstock.heartbeat.state.")
    assert presence._state(presence.route.HEARTBEAT.decode(signal.headers, signal.body)) == "stopping"
