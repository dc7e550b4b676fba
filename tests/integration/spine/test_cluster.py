"""A cluster of three in trouble while people talk over it: nothing is lost, nothing out of order, and stalls are told.

What each trouble made publishers and handlers wait is in the table at the end of the run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from penstock.spine import provision, stream
from penstock.spine.adapters import spine_nats
from tests import cluster
from tests.integration.spine import cluster_load, stalls

INBOUND = stream.MESSAGES_INBOUND.name
AWAY_S = 60.0
PAUSED_S = 8.0


@pytest.fixture
async def load(nats_cluster: cluster.Cluster) -> AsyncIterator[cluster_load.Load]:
    async with cluster_load.running(nats_cluster) as load:
        yield load
    await nats_cluster.settled()


@pytest.fixture
def judge(load: cluster_load.Load, record_property: Callable[[str, object], None]) -> Callable[[str], Awaitable[None]]:
    async def nothing_lost_or_reordered(what: str) -> None:
        # It works again, and not only what was under way.
        await load.more(cluster_load.ROOMS * 20)
        verdict = await load.end()
        record_property(stalls.PROPERTY, verdict.row(what))
        assert (verdict.lost, verdict.reordered) == ([], [])

    return nothing_lost_or_reordered


async def worst(nats_cluster: cluster.Cluster, load: cluster_load.Load) -> cluster.Node:
    """The node that the worker is connected to, once it leads the stream and the durables as well."""
    node = nats_cluster.carrying(cluster_load.HEARS)
    await nats_cluster.lead(node, INBOUND)
    for durable in load.durables:
        await nats_cluster.lead(node, INBOUND, durable)
    return node


async def test_the_leader_of_everything_is_killed(nats_cluster, load, judge) -> None:
    node = await worst(nats_cluster, load)
    node.kill()
    await load.more(cluster_load.ROOMS * 20)
    node.start()
    await judge("the leader of everything is killed, and comes back")


async def test_the_leader_of_everything_is_paused(nats_cluster, load, judge) -> None:
    node = await worst(nats_cluster, load)
    node.pause()
    await cluster_load.trouble(PAUSED_S)
    node.resume()
    await judge(f"the leader of everything is paused for {PAUSED_S:g} s")


async def test_the_streams_leader_steps_down(nats_cluster, load, judge) -> None:
    for _ in range(3):
        before = await nats_cluster.leader(INBOUND)
        await nats_cluster.step_down(INBOUND)
        await load.more(cluster_load.ROOMS * 5)
        assert await nats_cluster.leader(INBOUND) is not before
    await judge("the stream's leader steps down, three times")


async def test_every_node_is_restarted_in_turn(nats_cluster, load, judge) -> None:
    for node in nats_cluster.nodes:
        node.retire()
        await cluster_load.until(lambda node=node: not node.running)
        await nats_cluster.settled()
    await judge("every node in turn: lame duck, and started again")


async def test_all_nodes_are_killed_at_once(nats_cluster, load, judge) -> None:
    for node in nats_cluster.nodes:
        node.kill()
    for node in nats_cluster.nodes:
        node.start()
    await judge("all nodes are killed at once, and come back")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_is_gone_for_a_minute(nats_cluster, load, judge) -> None:
    node = await worst(nats_cluster, load)
    node.kill()
    await cluster_load.trouble(AWAY_S)
    node.start()
    await nats_cluster.settled()
    await judge(f"a node is gone for {AWAY_S:g} s")


async def test_what_is_made_has_three_copies(nats_cluster) -> None:
    await nats_cluster.settled()
    await nats_cluster.delete_streams()
    spine = await spine_nats.NatsSpine.connect(nats_cluster.address(), wait_s=20, deadline_s=3)
    try:
        names = sorted(policy.name for policy in stream.STREAMS)
        assert sorted(await provision.streams(spine, stream.STREAMS, replicas=cluster_load.COPIES)) == names
        assert await provision.streams(spine, stream.STREAMS, replicas=cluster_load.COPIES) == []
        assert await (await spine.key_value("settings")).put("a", b"1") == 1
        made = [await spine.describe_stream(name) for name in (*names, "KV_settings")]
        assert {policy and policy.replicas for policy in made} == {cluster_load.COPIES}
    finally:
        await spine.close()
