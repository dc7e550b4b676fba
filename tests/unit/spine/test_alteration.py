"""Carrying a plan out: what is done, in which order, how waiting for copies ends, and what is said when it cannot."""

import dataclasses
import datetime
from collections.abc import AsyncIterator

import pytest

from penstock.base import errors
from penstock.spine import alteration, consumer, plan, ports, stream
from penstock.spine.adapters import spine_memory

POLICY = stream.StreamPolicy("S", ("tenant.*.s.>",), "test", max_age_s=100.0, max_bytes=10_000)
READER = consumer.ConsumerPolicy("reader", "S", "tenant.*.s.>")
RANGED = consumer.ConsumerPolicy("ranged", "S", "tenant.*.s.>", ranges=8)
STATE = ports.StreamState(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), 1, 0, 0, 0)


@pytest.fixture
async def spine() -> AsyncIterator[spine_memory.MemorySpine]:
    made = spine_memory.MemorySpine()
    yield made
    await made.close()


async def planned(spine: ports.Administration, wanted: plan.Wanted) -> list[plan.Step]:
    return plan.steps(wanted, await alteration.look_at_all(spine, wanted))


async def test_what_is_missing_is_made_once(spine: spine_memory.MemorySpine) -> None:
    wanted, said = plan.Wanted((POLICY,), (READER, RANGED)), list[str]()
    await alteration.carry_out(spine, wanted, await planned(spine, wanted), tell=said.append)
    assert await planned(spine, wanted) == []
    assert len(await spine.consumer_states("S")) == 9
    assert (said[0], len(said)) == ("S: made", 10)
    await alteration.carry_out(spine, wanted, [])
    assert len(said) == 10


async def test_only_the_chosen_fields_change(spine: spine_memory.MemorySpine) -> None:
    await spine.create_stream(POLICY)
    await spine.create_consumer(READER)
    other = dataclasses.replace(POLICY, max_age_s=200.0, max_bytes=20_000, discard="new")
    reader = dataclasses.replace(READER, ack_wait_s=20.0, max_deliver=9)
    wanted = plan.Wanted((other,), (reader,))
    chosen = [step for step in await planned(spine, wanted) if step.field in {"max_age_s", "max_deliver"}]
    await alteration.carry_out(spine, wanted, chosen)
    assert await spine.describe_stream("S") == dataclasses.replace(POLICY, max_age_s=200.0)
    found = await spine.describe_consumer("S", "reader")
    assert found is not None
    assert (found.ack_wait_s, found.max_deliver) == (READER.ack_wait_s, 9)
    assert {step.field for step in await planned(spine, wanted)} == {"max_bytes", "discard", "ack_wait_s"}


async def test_an_apps_durable_is_changed_and_none_is_made_for_it(spine: spine_memory.MemorySpine) -> None:
    await spine.create_stream(stream.MESSAGES_INBOUND)
    first = consumer.of_app("acme", "echo").durables()[0]
    await spine.create_consumer(dataclasses.replace(first, ack_wait_s=20.0))
    wanted = plan.Wanted((stream.MESSAGES_INBOUND,))
    may, _ = plan.divided(await planned(spine, wanted), allow_loss=True)
    await alteration.carry_out(spine, wanted, may)
    (only,) = await spine.consumer_states(stream.MESSAGES_INBOUND.name)
    assert (only.policy.name, only.policy.ack_wait_s) == (first.name, first.ack_wait_s)


async def test_copies_without_a_cluster_name_the_next_step(spine: spine_memory.MemorySpine) -> None:
    for there in (False, True):
        wanted = plan.Wanted((dataclasses.replace(POLICY, replicas=3),))
        steps = await planned(spine, wanted)
        with pytest.raises(errors.Rejected) as refused:
            await alteration.carry_out(spine, wanted, steps)
        assert refused.value.code == "not_enough_servers"
        assert "cluster of at least 3" in refused.value.hint
        if not there:
            await spine.create_stream(POLICY)


class Moving:
    """A stream whose state is another each time that it is looked at; the last one stays."""

    def __init__(self, *states: ports.StreamState | None) -> None:
        self._states = list(states)

    async def stream_state(self, _name: str) -> ports.StreamState | None:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


BEHIND = dataclasses.replace(STATE, leader="a", peers=(ports.Peer("b", False, 7), ports.Peer("c", True, 0)))
CURRENT = dataclasses.replace(STATE, leader="a", peers=(ports.Peer("b", True, 0), ports.Peer("c", True, 0)))


async def test_waiting_ends_when_every_copy_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alteration, "POLL_S", 0.001)
    moving = dataclasses.replace(CURRENT, moving="adding peer c")
    spine, said = Moving(BEHIND, BEHIND, moving, CURRENT), list[str]()
    await alteration.until_settled(spine, "S", 3, tell=said.append)  # type: ignore[arg-type]
    assert said == ["S: 2 of 3 copies current, 7 entries behind", "S: 3 of 3 copies current (adding peer c)"]


@pytest.mark.parametrize("stuck", [BEHIND, dataclasses.replace(CURRENT, moving="choosing servers")])
async def test_waiting_ends_when_nothing_moves(stuck: ports.StreamState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alteration, "POLL_S", 0.001)
    with pytest.raises(errors.Unavailable) as failed:
        await alteration.until_settled(Moving(stuck), "S", 3, stalled_s=0.01)  # type: ignore[arg-type]
    assert failed.value.code == "copies_not_current"
    assert "apply again" in failed.value.hint


async def test_a_stream_that_goes_away_is_not_waited_for() -> None:
    with pytest.raises(errors.Rejected) as gone:
        await alteration.until_settled(Moving(None), "S", 3)  # type: ignore[arg-type]
    assert gone.value.code == "no_stream"
