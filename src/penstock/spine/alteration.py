"""Looks at what streams and durables are, and carries out what a plan says; nothing is deleted, ever."""

import asyncio
import datetime
from collections.abc import Callable, Sequence
from typing import Final

from penstock.base import errors
from penstock.spine import plan, ports, stream

POLL_S: Final = 0.2
STALLED_S: Final = 60.0
"""How long nothing may be seen of copies before waiting for them is given up."""

Tell = Callable[[str], None]


async def look(spine: ports.Administration, name: str, *, max_age_s: float = 0.0) -> plan.Found | None:
    """One stream with its durables; None when there is none.

    With an age that is lower than the stream's, from which sequence on it would keep messages.
    """
    policy, state = await spine.describe_stream(name), await spine.stream_state(name)
    if policy is None or state is None:
        return None
    kept_from = 0
    if max_age_s > 0 and not 0 < policy.max_age_s <= max_age_s:
        oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=max_age_s)
        kept_from = await spine.first_since(name, oldest)
    return plan.Found(policy, state, tuple(await spine.consumer_states(name)), kept_from)


async def look_at_all(spine: ports.Administration, wanted: plan.Wanted) -> dict[str, plan.Found]:
    """Those of the wanted streams that are there, by name."""
    looked = [(policy.name, await look(spine, policy.name, max_age_s=policy.max_age_s)) for policy in wanted.streams]
    return {name: found for name, found in looked if found is not None}


async def carry_out(
    spine: ports.Administration, wanted: plan.Wanted, steps: Sequence[plan.Step], *, tell: Tell = lambda _: None
) -> None:
    """Do these steps, stream by stream, and wait until every copy that they ask for is current; `tell` hears of it.

    What is done stays done when a later step fails, and doing it again is harmless. Raises Rejected
    `not_enough_servers` when a cluster is needed or a larger one, Unavailable `copies_not_current` when nothing is
    seen of new copies for a minute, and what the port raises.
    """
    found = await look_at_all(spine, wanted)
    for policy in wanted.streams:
        mine = [step for step in steps if step.stream == policy.name]
        about_stream = [step for step in mine if not step.durable]
        if about_stream:
            await _see_to_stream(spine, policy, found.get(policy.name), about_stream)
            tell(_done(about_stream))
        await _see_to_durables(spine, wanted, found.get(policy.name), mine, tell=tell)
    for step in steps:
        if step.field in {"replicas", "existence"} and not step.durable:
            replicas = next(policy.replicas for policy in wanted.streams if policy.name == step.stream)
            await until_settled(spine, step.stream, replicas, tell=tell)


async def _see_to_stream(
    spine: ports.Administration, policy: stream.StreamPolicy, found: plan.Found | None, steps: Sequence[plan.Step]
) -> None:
    try:
        if found is None:
            await spine.create_stream(policy)
        elif any(step.verdict is not plan.Verdict.WAIT for step in steps):
            await spine.update_stream(plan.target(policy, found.policy, steps))
    except errors.Rejected as error:
        if error.code == "stream_refused" and any(word in error.detail for word in ("replica", "peers")):
            raise errors.Rejected(
                "not_enough_servers",
                f"{policy.name}: {error.detail}",
                hint=f"spine.replicas = {policy.replicas} needs a cluster of at least {policy.replicas} nats-servers, "
                f"each with room for {policy.max_bytes} bytes of this stream; then apply again.",
                status=409,
            ) from None
        raise


async def _see_to_durables(
    spine: ports.Administration,
    wanted: plan.Wanted,
    found: plan.Found | None,
    steps: Sequence[plan.Step],
    *,
    tell: Tell,
) -> None:
    there = {state.policy.name: state.policy for state in found.durables} if found else {}
    names = {step.durable for step in steps if step.durable}
    stream_names = {step.stream for step in steps}
    asked = [policy for policy in wanted.consumers if policy.stream in stream_names]
    for policy in (*asked, *(one for name in stream_names for one in plan.apps(name, there))):
        for durable in policy.durables():
            if durable.name not in names:
                continue
            mine = [step for step in steps if step.durable == durable.name]
            if durable.name in there:
                await spine.update_consumer(plan.durable_target(durable, there[durable.name], mine))
            else:
                await spine.create_consumer(durable)
            tell(_done(mine))


def _done(steps: Sequence[plan.Step]) -> str:
    """What was done about one stream or durable."""
    if steps[0].verdict is plan.Verdict.CREATE:
        return f"{steps[0].name}: made"
    return f"{steps[0].name}: {', '.join(step.field for step in steps)}"


async def until_settled(
    spine: ports.Administration,
    name: str,
    replicas: int,
    *,
    tell: Tell = lambda _: None,
    stalled_s: float = STALLED_S,
) -> None:
    """Return when a stream has so many copies and all are current; `tell` hears how far they are.

    Raises Unavailable `copies_not_current` when nothing has moved for `stalled_s` seconds.
    """
    loop = asyncio.get_running_loop()
    said, since_s = "", loop.time()
    while True:
        state = await spine.stream_state(name)
        if state is None:
            raise errors.Rejected("no_stream", f"stream {name} is gone", status=404)
        if plan.settled(state, replicas):
            return
        progress = _progress(state, replicas)
        if progress != said:
            said, since_s = progress, loop.time()
            tell(f"{name}: {progress}")
        elif loop.time() - since_s > stalled_s:
            raise errors.Unavailable(
                "copies_not_current",
                f"{name}: {progress}, and nothing has moved for {stalled_s:g} s",
                hint="See that every server of the cluster runs and has disk space; then apply again, which goes on "
                "waiting.",
            )
        await asyncio.sleep(POLL_S)


def _progress(state: ports.StreamState, replicas: int) -> str:
    """How far the copies are, as a sentence that changes whenever something moves."""
    lag = sum(peer.lag for peer in state.peers)
    behind = f", {lag} entries behind" if lag else ""
    doing = f" ({state.moving})" if state.moving else ""
    return f"{plan.current_copies(state)} of {replicas} copies current{behind}{doing}"
