"""What it takes to make existing streams and durables what the tables ask: field by field, and what each would cost.

Pure: what is there comes in as `Found`, steps come out. `alteration` reads the one and carries out the other.
"""

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from penstock.spine import consumer, ports, stream

_APP: Final = re.compile(r"app_([a-z0-9-]+)_([a-z0-9-]+)")


class Verdict(enum.StrEnum):
    """What can be done about one difference."""

    CREATE = "create"
    """It is missing."""
    UPDATE = "update"
    """It can be changed while everything runs."""
    WAIT = "wait"
    """It was asked for already; the servers are still at it."""
    LOSES = "loses"
    """It can be changed, and messages that are there would be gone or never delivered."""
    REFUSED = "refused"
    """It cannot be changed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """One stream as it is. `kept_from`: the lowest sequence that the wanted age would keep, where that is lower."""

    policy: stream.StreamPolicy
    state: ports.StreamState
    durables: tuple[ports.ConsumerState, ...] = ()
    kept_from: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be there: the tables, as the settings tune them."""

    streams: tuple[stream.StreamPolicy, ...]
    consumers: tuple[consumer.ConsumerPolicy, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One difference and what can be done about it. `durable` is empty for the stream itself.

    `messages` and `size_bytes` are what the step would lose, at most.
    """

    stream: str
    durable: str
    field: str
    found: str
    wanted: str
    verdict: Verdict
    why: str = ""
    messages: int = 0
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """What it is about: `STREAM`, or `STREAM/durable`."""
        return f"{self.stream}/{self.durable}" if self.durable else self.stream


def steps(wanted: Wanted, found: Mapping[str, Found]) -> list[Step]:
    """Every difference, streams in the order of the table, each followed by its durables."""
    told: list[Step] = []
    for policy in wanted.streams:
        there = found.get(policy.name)
        if there is None:
            told.append(_missing(policy.name, ""))
        else:
            told += _of_stream(policy, there)
        told += _of_durables(policy.name, wanted, there)
    return told


def _missing(stream_name: str, durable: str) -> Step:
    return Step(stream_name, durable, "existence", "missing", "there", Verdict.CREATE)


def _of_stream(wanted: stream.StreamPolicy, found: Found) -> Iterator[Step]:
    have = found.policy

    def step(field: str, verdict: Verdict, why: str = "", *, messages: int = 0, size_bytes: int = 0) -> Step:
        before, after = (_shown(field, getattr(policy, field)) for policy in (have, wanted))
        return Step(wanted.name, "", field, before, after, verdict, why, messages, size_bytes)

    if set(have.subjects) != set(wanted.subjects):
        gone = [one for one in have.subjects if not any(stream.covers(pattern, one) for pattern in wanted.subjects)]
        yield step("subjects", Verdict.UPDATE, f"no longer taken: {' '.join(gone)}" if gone else "")
    if have.retention != wanted.retention:
        why = "a stream's retention cannot be changed: let its consumers finish, then delete the stream"
        yield step("retention", Verdict.REFUSED, why)
    if not set(have.heeds) <= set(wanted.heeds):
        why = "a header of one tenant's app could steer what is everybody's: switch it off where it was switched on"
        yield step("heeds", Verdict.REFUSED, why)
    if have.max_age_s != wanted.max_age_s:
        messages = _too_old(found) if _less(wanted.max_age_s, have.max_age_s) else 0
        share = _share(messages, found.state)
        yield step("max_age_s", *_cost(messages, share), messages=messages, size_bytes=share)
    if have.max_bytes != wanted.max_bytes and max(have.max_bytes, wanted.max_bytes) > 0:
        over = _over(wanted, found.state)
        messages = _messages_in(over, found.state)
        yield step("max_bytes", *_cost(messages, over), messages=messages, size_bytes=over)
    for field in ("discard", "duplicate_window_s"):
        if getattr(have, field) != getattr(wanted, field):
            yield step(field, Verdict.UPDATE)
    if have.replicas != wanted.replicas:
        needs = f"needs a cluster of at least {wanted.replicas} servers" if wanted.replicas > have.replicas else ""
        yield step("replicas", Verdict.UPDATE, needs)
    elif not settled(found.state, have.replicas):
        yield dataclasses.replace(
            step("replicas", Verdict.WAIT, found.state.moving or "not every copy is current"),
            found=f"{current_copies(found.state)} current",
        )


def settled(state: ports.StreamState, replicas: int) -> bool:
    """Whether a stream has exactly so many copies, all current, and nothing about them is under way."""
    return not state.moving and len(state.peers) == replicas - 1 and current_copies(state) == replicas


def current_copies(state: ports.StreamState) -> int:
    """How many copies have everything, the leader's own included."""
    return 1 + sum(peer.current for peer in state.peers)


def _less(wanted: float, found: float) -> bool:
    """Whether a limit shrinks; nothing and less mean that there is none."""
    return wanted > 0 and (found <= 0 or wanted < found)


def _too_old(found: Found) -> int:
    """How many messages are older than the wanted age: exact, or at most, where some in between are gone already."""
    return max(0, min(found.kept_from - found.state.first, found.state.messages))


def _over(wanted: stream.StreamPolicy, state: ports.StreamState) -> int:
    """How many bytes a wanted limit would drop: none where the stream refuses rather than forgets."""
    if wanted.max_bytes <= 0 or wanted.discard == "new":
        return 0
    return max(0, state.size_bytes - wanted.max_bytes)


def _messages_in(size_bytes: int, state: ports.StreamState) -> int:
    """About how many messages so many bytes are, rounded up."""
    return -(-size_bytes * state.messages // state.size_bytes) if size_bytes else 0


def _share(messages: int, state: ports.StreamState) -> int:
    """About how many bytes so many messages are."""
    return messages * state.size_bytes // state.messages if messages else 0


def _cost(messages: int, size_bytes: int) -> tuple[Verdict, str]:
    if not messages:
        return Verdict.UPDATE, ""
    return Verdict.LOSES, f"drops about {messages} messages, {size_bytes} bytes"


def _of_durables(stream_name: str, wanted: Wanted, found: Found | None) -> Iterator[Step]:
    there = {state.policy.name: state for state in found.durables} if found else {}
    for policy in wanted.consumers:
        for durable in policy.durables() if policy.stream == stream_name else ():
            if durable.name in there:
                yield from _of_durable(durable, there[durable.name])
            else:
                yield _missing(stream_name, durable.name)
    for policy in apps(stream_name, there):
        for durable in policy.durables():
            if durable.name in there:
                have = there[durable.name]
                # How much an app holds is its own choice, made in its own process.
                yield from _of_durable(
                    dataclasses.replace(durable, concurrency=1, max_ack_pending=have.policy.max_ack_pending), have
                )
            else:
                why = "an app's own process makes it when it starts"
                yield dataclasses.replace(_missing(stream_name, durable.name), verdict=Verdict.REFUSED, why=why)


def _of_durable(wanted: consumer.ConsumerPolicy, found: ports.ConsumerState) -> Iterator[Step]:
    have = found.policy
    if set(have.filters) != set(wanted.filters):
        narrower = [one for one in have.filters if not any(stream.covers(pattern, one) for pattern in wanted.filters)]
        pending = found.waiting + found.held if narrower else 0
        verdict = Verdict.LOSES if pending else Verdict.UPDATE
        why = f"up to {pending} messages wait under patterns that it would leave" if pending else _UNDELIVERED
        yield Step(wanted.stream, wanted.name, "filter", have.filter, wanted.filter, verdict, why, pending)
    for field in ("max_ack_pending", "ack_wait_s", "max_deliver", "pin_timeout_s"):
        if getattr(have, field) != getattr(wanted, field):
            before, after = (_shown(field, getattr(policy, field)) for policy in (have, wanted))
            yield Step(wanted.stream, wanted.name, field, before, after, Verdict.UPDATE)


_UNDELIVERED: Final = "what is behind its floor under a new pattern is not delivered"


def apps(stream_name: str, durables: Mapping[str, object]) -> list[consumer.ConsumerPolicy]:
    """The consumers of apps that have at least one durable among these, as the table makes them."""
    found: dict[str, consumer.ConsumerPolicy] = {}
    for name in durables:
        parts = _APP.fullmatch(consumer.consumer_of(name))
        if parts is not None and stream_name == stream.MESSAGES_INBOUND.name:
            policy = consumer.of_app(*parts.groups())
            if any(one.name == name for one in policy.durables()):
                found[policy.name] = policy
    return list(found.values())


def strangers(wanted: Wanted, found: Mapping[str, Found]) -> list[str]:
    """Durables that nothing asks for, as `STREAM/durable`: of an earlier build, or somebody's own."""
    told: list[str] = []
    for name, one in found.items():
        there = {state.policy.name: state for state in one.durables}
        ours = [policy for policy in wanted.consumers if policy.stream == name] + apps(name, there)
        known = {durable.name for policy in ours for durable in policy.durables()}
        told += [f"{name}/{durable}" for durable in there if durable not in known]
    return told


def divided(steps: Sequence[Step], *, allow_loss: bool) -> tuple[list[Step], list[Step]]:
    """The steps that may be done, and those that may not: what is refused, and what loses unless that is allowed."""
    left = {Verdict.REFUSED} if allow_loss else {Verdict.REFUSED, Verdict.LOSES}
    return [step for step in steps if step.verdict not in left], [step for step in steps if step.verdict in left]


def target(wanted: stream.StreamPolicy, found: stream.StreamPolicy, chosen: Sequence[Step]) -> stream.StreamPolicy:
    """The stream as it is, changed in the fields that were chosen."""
    fields = {step.field for step in chosen if step.stream == wanted.name and not step.durable}
    changed = {field: getattr(wanted, field) for field in fields if hasattr(wanted, field)}
    return dataclasses.replace(found, purpose=wanted.purpose, **changed)


def durable_target(
    wanted: consumer.ConsumerPolicy, found: consumer.ConsumerPolicy, chosen: Sequence[Step]
) -> consumer.ConsumerPolicy:
    """The durable as it is, changed in the fields that were chosen."""
    fields = {step.field for step in chosen if (step.stream, step.durable) == (wanted.stream, wanted.name)}
    changed = {field: getattr(wanted, field) for field in fields if hasattr(wanted, field)}
    return dataclasses.replace(found, **{"concurrency": 1, **changed})


def _shown(field: str, value: object) -> str:
    """A value as people read it; of limits, nothing and less are `none`."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"  # pyright: ignore[reportUnknownArgumentType]
    if field in {"max_age_s", "max_bytes"} and isinstance(value, int | float) and value <= 0:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
