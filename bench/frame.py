"""Runs benchmarks so that their numbers can be believed: in turn, several times, medians.

Ours and the baseline alternate, so that a machine which warms up or slows down does so for both; each run has an event
loop of its own; whatever one run leaves behind is collected before the next.
"""

import asyncio
import gc
import json
import math
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import uvloop

FEWEST_RUNS = 3

Direction = Literal["higher", "lower"]
Measure = Callable[[], Awaitable[float | Sequence[float]]]


@dataclass(frozen=True)
class Figure:
    """What a number is called, its unit, and which direction is good."""

    name: str
    unit: str
    better: Direction


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One number, measured on our code and, where there is one, on what people would use instead.

    `ours` and `baseline` each do the whole work once, set-up included, and return the number in `unit`; they must use
    the same headers, bodies, stream settings and durability. `better` says which direction is good. Where the same work
    gives more numbers, `also` names them, and each run returns them all, in order, the benchmark's own first.
    """

    name: str
    unit: str
    better: Direction
    ours: Measure
    baseline: Measure | None = None
    baseline_name: str | None = None
    runs: int = FEWEST_RUNS
    also: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        if self.runs < FEWEST_RUNS:
            raise ValueError(f"{self.name}: fewer than {FEWEST_RUNS} runs have no median worth reporting")
        if (self.baseline is None) != (self.baseline_name is None):
            raise ValueError(f"{self.name}: a baseline has a name, and a name needs a baseline")

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every number that a run returns, in order."""
        return (Figure(self.name, self.unit, self.better), *self.also)


@dataclass(frozen=True)
class Result:
    """Medians of one benchmark; `ratio` is how many times better ours is than the baseline, None without one."""

    name: str
    unit: str
    ours: float
    baseline: float | None
    baseline_name: str | None
    ratio: float | None
    runs: int


class Absent(Exception):
    """Raised by a baseline that is not installed here; the text says which, and how it would be."""


class UnknownBenchmark(Exception):
    """A name that no benchmark has; the text lists those that exist."""


def chosen(benchmarks: Iterable[Benchmark], only: str) -> list[Benchmark]:
    """All of them, or those that give what `only` names (separated by commas); raises UnknownBenchmark."""
    everything = list(benchmarks)
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {figure.name for benchmark in everything for figure in benchmark.figures}
    for name in names:
        if name not in known:
            raise UnknownBenchmark(f"no benchmark is called {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    return [one for one in everything if not names or any(figure.name in names for figure in one.figures)]


def run(benchmark: Benchmark, on_run: Callable[[str], None] = lambda _: None) -> list[Result]:
    """Measure ours and the baseline in turn, `runs` times each; one result for each of the benchmark's figures.

    `on_run` hears which of them is about to run. A baseline that is Absent is left out, and its name says why.
    """
    ours: list[tuple[float, ...]] = []
    baseline: list[tuple[float, ...]] = []
    theirs, name = benchmark.baseline, benchmark.baseline_name
    for number in range(1, benchmark.runs + 1):
        on_run(f"{benchmark.name}: ours, run {number} of {benchmark.runs}")
        ours.append(_measure(benchmark.ours))
        if theirs is not None:
            on_run(f"{benchmark.name}: {name}, run {number} of {benchmark.runs}")
            try:
                baseline.append(_measure(theirs))
            except Absent as absent:
                theirs, name = None, f"{name}: {absent}"
    return [
        _result(figure, name, [one[place] for one in ours], [one[place] for one in baseline])
        for place, figure in enumerate(benchmark.figures)
    ]


def _result(figure: Figure, baseline_name: str | None, ours: list[float], baseline: list[float]) -> Result:
    middle = statistics.median(ours)
    middle_of_baseline = statistics.median(baseline) if baseline else None
    return Result(
        name=figure.name,
        unit=figure.unit,
        ours=middle,
        baseline=middle_of_baseline,
        baseline_name=baseline_name,
        ratio=None if middle_of_baseline is None else ratio(middle, middle_of_baseline, figure.better),
        runs=len(ours),
    )


def _measure(work: Measure) -> tuple[float, ...]:
    async def once() -> float | Sequence[float]:
        return await work()

    gc.collect()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(once())
    return tuple(map(float, measured)) if isinstance(measured, Sequence) else (float(measured),)


def ratio(ours: float, baseline: float, better: Direction) -> float | None:
    """How many times better `ours` is: 2.0 is twice as good in either direction. None when that is no finite number."""
    above, below = (ours, baseline) if better == "higher" else (baseline, ours)
    if below == 0:
        return None
    quotient = above / below
    return quotient if math.isfinite(quotient) else None


def write(results: Iterable[Result], path: Path) -> None:
    """Write results as a JSON list, replacing an earlier file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
