"""Create-or-validate: start-up makes what is missing and never changes, let alone destroys, what exists.

What exists may hold more than its policy asks (more subjects, higher limits, a longer window) but never less; anything
else is told field by field, and nothing runs on it.
"""

import dataclasses
from collections.abc import Sequence

from penstock.base import errors
from penstock.spine import consumer, ports, stream


async def streams(
    spine: ports.Administration,
    policies: Sequence[stream.StreamPolicy] = stream.STREAMS,
    *,
    replicas: int | None = None,
) -> list[str]:
    """See to these streams, with another number of replicas if one is given; returns the names of those created.

    Raises Rejected `stream_differs` with every difference; nothing has been changed then.
    """
    wanted = [dataclasses.replace(p, replicas=replicas) if replicas else p for p in policies]
    found = {policy.name: await spine.describe_stream(policy.name) for policy in wanted}
    wrong = [d for policy in wanted if (have := found[policy.name]) for d in stream.differences(policy, have)]
    if wrong:
        raise errors.Rejected("stream_differs", "; ".join(map(str, wrong)), hint="Nothing was changed.")
    missing = [policy for policy in wanted if found[policy.name] is None]
    for policy in missing:
        await spine.create_stream(policy)
    return [policy.name for policy in missing]


async def require_streams(spine: ports.Administration) -> None:
    """Raise Unavailable `no_stream` while the streams are not there that apps take from and publish to."""
    for needed in (stream.MESSAGES_INBOUND, stream.MESSAGES_OUTBOUND):
        if await spine.describe_stream(needed.name) is None:
            raise errors.Unavailable(
                "no_stream",
                f"the bus has no stream {needed.name} yet",
                hint="Start the core first: 'penstock up', or 'penstock run channels'.",
            )


async def durable(spine: ports.Administration, policy: consumer.ConsumerPolicy) -> bool:
    """See to every durable of this consumer; True when one was created.

    Raises Rejected `consumer_differs` with every difference; nothing has been changed then.
    """
    found = {each.name: await spine.describe_consumer(each.stream, each.name) for each in policy.durables()}
    wrong = [d for each in policy.durables() if (have := found[each.name]) for d in consumer.differences(each, have)]
    if wrong:
        raise errors.Rejected(
            "consumer_differs",
            "; ".join(map(str, wrong)),
            hint="Change it back, or delete the durable once it is drained; nothing was changed.",
        )
    missing = [each for each in policy.durables() if found[each.name] is None]
    for each in missing:
        await spine.create_consumer(each)
    return bool(missing)
