"""Streams as an operator looks at them: what they hold, who has copies, who reads them, and what they have lost."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Final

from penstock.spine import consumer, plan, ports
from penstock.state import losses


@dataclasses.dataclass(frozen=True, slots=True)
class ConsumerView:
    """One durable, or all durables of one consumer taken together: the lowest floor, and sums of the others."""

    consumer: str
    durables: tuple[str, ...]
    floor: int
    waiting: int
    held: int


@dataclasses.dataclass(frozen=True, slots=True)
class StreamView:
    """One stream as it is. Ages in seconds; limits of 0 or less are none; `copies` are those that are current."""

    name: str
    purpose: str
    subjects: tuple[str, ...]
    messages: int
    size_bytes: int
    first: int
    last: int
    created: datetime.datetime
    oldest: datetime.datetime | None
    replicas: int
    copies: int
    leader: str
    peers: tuple[ports.Peer, ...]
    moving: str
    retention: str
    discard: str
    max_age_s: float
    max_bytes: int
    duplicate_window_s: float
    consumers: tuple[ConsumerView, ...]
    lost: tuple[losses.Loss, ...] | None = None
    """What its publishers noticed that it lost, newest first; None where no database was asked."""


def view(found: plan.Found, *, every_durable: bool, lost: Sequence[losses.Loss] | None = None) -> StreamView:
    """One stream, its consumers each as one or durable by durable."""
    policy, state = found.policy, found.state
    taken = {name: getattr(policy, name) for name in _OF_POLICY} | {name: getattr(state, name) for name in _OF_STATE}
    return StreamView(
        **taken,
        copies=plan.current_copies(state),
        consumers=tuple(_consumers(found.durables, every_durable=every_durable)),
        lost=None if lost is None else tuple(loss for loss in lost if loss.stream == policy.name),
    )


_OF_POLICY: Final = (
    "name",
    "purpose",
    "subjects",
    "replicas",
    "retention",
    "discard",
    "max_age_s",
    "max_bytes",
    "duplicate_window_s",
)
_OF_STATE: Final = (
    "messages",
    "size_bytes",
    "first",
    "last",
    "created",
    "oldest",
    "leader",
    "peers",
    "moving",
)


def _consumers(durables: Sequence[ports.ConsumerState], *, every_durable: bool) -> list[ConsumerView]:
    grouped: dict[str, list[ports.ConsumerState]] = {}
    for state in durables:
        name = state.policy.name
        grouped.setdefault(name if every_durable else consumer.consumer_of(name), []).append(state)
    return [
        ConsumerView(
            name,
            tuple(state.policy.name for state in states),
            floor=min(state.floor for state in states),
            waiting=sum(state.waiting for state in states),
            held=sum(state.held for state in states),
        )
        for name, states in sorted(grouped.items())
    ]
