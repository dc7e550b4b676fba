"""What can happen to an installation, as a table, and a schedule of it that a seed decides.

The schedule is computed before anything runs: one seed and one duration give the same faults at the same times.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

from penstock.channels.testing import webhook_simulator
from tests.soak import stage as stages
from tests.soak import store

Behaviour = webhook_simulator.Behaviour
Does = Callable[[stages.Stage, "Fault"], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens: when (seconds after the begin), what, to whom, and how long it lasts (0: a moment)."""

    at_s: float
    kind: str
    target: str
    length_s: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.length_s:.1f} s" if self.length_s else ""
        return f"{self.kind} {self.target}{lasts}"


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What may happen to some targets: how often compared with others, and how long (least, most) it lasts.

    `spares`: who else must be well meanwhile, because what happens holds up their supervisor.
    """

    name: str
    targets: Sequence[str]
    does: Does
    weight: int = 1
    lasts_s: tuple[float, float] = (0.0, 0.0)
    spares: Sequence[str] = ()


async def _kill(stage: stages.Stage, fault: Fault) -> None:
    part = stage.parts[fault.target]
    await part.back(await part.kill())


async def _terminate(stage: stages.Stage, fault: Fault) -> None:
    part = stage.parts[fault.target]
    await part.back(await part.terminate())


async def _pause(stage: stages.Stage, fault: Fault) -> None:
    async with stage.parts[fault.target].paused():
        await asyncio.sleep(fault.length_s)


async def _away(stage: stages.Stage, fault: Fault) -> None:
    async with stage.away(fault.target):
        await asyncio.sleep(fault.length_s)


async def _full(stage: stages.Stage, fault: Fault) -> None:
    part = stage.parts[fault.target]
    part.fill_disk()
    await asyncio.sleep(fault.length_s)
    await part.back(await part.kill())


async def _lose_store(stage: stages.Stage, _: Fault) -> None:
    await store.lose(stage)


async def _older_store(stage: stages.Stage, fault: Fault) -> None:
    older = await store.copy(stage)
    await asyncio.sleep(fault.length_s)
    await store.restore(stage, older)


async def _regrown_store(stage: stages.Stage, fault: Fault) -> None:
    older = await store.copy(stage)
    await asyncio.sleep(fault.length_s)
    await store.regrow(stage, older)


def _behaves(*behaviours: Behaviour) -> Does:
    """All platforms behave like this for a while; what `behaviours` do not say, they do well."""

    async def behave(stage: stages.Stage, fault: Fault) -> None:
        for platform in stage.platforms:
            platform.behave(*behaviours)
        await asyncio.sleep(fault.length_s)
        for platform in stage.platforms:
            platform.behave()

    return behave


async def _refuse(stage: stages.Stage, fault: Fault) -> None:
    for platform in stage.platforms:
        await platform.refuse_connections()
    await asyncio.sleep(fault.length_s)
    for platform in stage.platforms:
        await platform.accept_connections()


async def _repeat(stage: stages.Stage, _: Fault) -> None:
    """Platforms deliver again what was taken long ago and just now, as if they had heard no answer."""
    for talk in stage.talks:
        said = [each for each in talk.said if each.taken]
        for each in {id(each): each for each in (*said[:: max(1, len(said) // 20)], *said[-20:])}.values():
            await talk.platform.repeat(each.posted)


CORES = ("core", "core-2")
APPS = ("app", "app-2")
PLATFORM = ("platforms",)
SUPERVISED = ("nats", "postgres", "core")

KINDS: Sequence[Kind] = (
    Kind("kill", (*CORES, *APPS), _kill, weight=6),
    Kind("kill", ("nats", "postgres"), _kill, weight=3),
    Kind("terminate", (*CORES, *APPS), _terminate, weight=3),
    Kind("pause", (*CORES, *APPS), _pause, weight=4, lasts_s=(3.0, 30.0)),
    Kind("pause", ("nats", "postgres"), _pause, weight=2, lasts_s=(1.0, 10.0)),
    Kind("take away", ("nats", "postgres"), _away, weight=2, lasts_s=(2.0, 60.0), spares=SUPERVISED),
    Kind("fill the disk of", ("nats",), _full, weight=1, lasts_s=(2.0, 10.0)),
    Kind("answer 429 by", PLATFORM, _behaves(Behaviour(status=429, retry_after="1")), weight=1, lasts_s=(2.0, 20.0)),
    Kind("answer late by", PLATFORM, _behaves(Behaviour(delay_s=0.3)), weight=1, lasts_s=(2.0, 20.0)),
    Kind("answer 500 by", PLATFORM, _behaves(Behaviour(status=500, taken=False)), weight=1, lasts_s=(2.0, 10.0)),
    Kind("cut some connections by", PLATFORM, _behaves(Behaviour(cut=True, times=5)), weight=1, lasts_s=(1.0, 2.0)),
    Kind("refuse connections by", PLATFORM, _refuse, weight=1, lasts_s=(1.0, 10.0)),
    Kind("repeat deliveries of", PLATFORM, _repeat, weight=1),
)
"""What the soak mixes: through all of it nothing is lost, doubled or reordered."""

LOSSES: Sequence[Kind] = (
    Kind("lose the store of", ("nats",), _lose_store, weight=2, spares=SUPERVISED),
    Kind("restore an older store of", ("nats",), _older_store, weight=2, lasts_s=(2.0, 10.0), spares=SUPERVISED),
    Kind("regrow an older store of", ("nats",), _regrown_store, 2, (2.0, 10.0), spares=(*SUPERVISED, *CORES, *APPS)),
)
"""What it mixes in when asked to: nats-server forgets what it had acknowledged."""

GAPS_S = (1.0, 12.0)
"""Least and most seconds between the begins of two faults; some overlap, never two of one target."""

CALM_S = 10.0
"""Nothing begins so short before the end, and what lasts is over by then."""


def schedule(seed: int | str, duration_s: float, kinds: Iterable[Kind] = KINDS) -> list[Fault]:
    """What will happen within `duration_s`, in order of time."""
    chance, kinds = random.Random(seed), list(kinds)
    free_s: dict[str, float] = {}
    faults, now_s = list[Fault](), chance.uniform(*GAPS_S)
    while now_s < duration_s - CALM_S:
        kind = chance.choices(kinds, [kind.weight for kind in kinds])[0]
        target, length_s = chance.choice(kind.targets), chance.uniform(*kind.lasts_s)
        length_s = max(min(length_s, duration_s - CALM_S - now_s), kind.lasts_s[0])
        touched = {target, *kind.spares}
        if all(free_s.get(name, 0.0) <= now_s for name in touched):
            faults.append(Fault(now_s, kind.name, target, length_s))
            free_s |= dict.fromkeys(touched, now_s + length_s + 2.0)
        now_s += chance.uniform(*GAPS_S)
    return faults


def doing(fault: Fault, kinds: Iterable[Kind] = (*KINDS, *LOSSES)) -> Does:
    """What makes a fault happen."""
    return next(kind.does for kind in kinds if kind.name == fault.kind and fault.target in kind.targets)


@contextlib.asynccontextmanager
async def one_at_a_time(locks: dict[str, asyncio.Lock], target: str) -> AsyncGenerator[None]:
    """What takes longer than planned is waited for by the next fault of the same target."""
    async with locks.setdefault(target, asyncio.Lock()):
        yield
