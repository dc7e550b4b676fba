"""Runs benchmarks so that their numbers can be believed: in turn, several times, medians.

Ours and the baseline alternate, so that a machine which warms up or slows down does so for both; each run has an event
loop of its own; whatever one run leaves behind is collected before the next.
"""

import asyncio
import gc
import json
import math
import statistics
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import uvloop

FEWEST_RUNS = 3

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One number, measured on our code and, where there is one, on what people would use instead.

    `ours` and `baseline` each do the whole work once, set-up included, and return the number in `unit`; they must use
    the same headers, bodies, stream settings and durability. `better` says which direction is good.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    ours: Measure
    baseline: Measure | None = None
    baseline_name: str | None = None
    runs: int = FEWEST_RUNS

    def __post_init__(self) -> None:
        if self.runs < FEWEST_RUNS:
            raise ValueError(f"{self.name}: fewer than {FEWEST_RUNS} runs have no median worth reporting")
        if (self.baseline is None) != (self.baseline_name is None):
            raise ValueError(f"{self.name}: a baseline has a name, and a name needs a baseline")


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


class UnknownBenchmark(Exception):
    """A name that no benchmark has; the text lists those that exist."""


def chosen(benchmarks: Iterable[Benchmark], only: str) -> list[Benchmark]:
    """All of them, or those that `only` names (separated by commas); raises UnknownBenchmark."""
    everything = list(benchmarks)
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {benchmark.name for benchmark in everything}
    for name in names:
        if name not in known:
            raise UnknownBenchmark(f"no benchmark is called {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    return [benchmark for benchmark in everything if not names or benchmark.name in names]


def run(benchmark: Benchmark, on_run: Callable[[str], None] = lambda _: None) -> Result:
    """Measure ours and the baseline in turn, `runs` times each. `on_run` hears which of them is about to run."""
    ours: list[float] = []
    baseline: list[float] = []
    for number in range(1, benchmark.runs + 1):
        on_run(f"{benchmark.name}: ours, run {number} of {benchmark.runs}")
        ours.append(_measure(benchmark.ours))
        if benchmark.baseline is not None:
            on_run(f"{benchmark.name}: {benchmark.baseline_name}, run {number} of {benchmark.runs}")
            baseline.append(_measure(benchmark.baseline))
    middle = statistics.median(ours)
    middle_of_baseline = statistics.median(baseline) if baseline else None
    return Result(
        name=benchmark.name,
        unit=benchmark.unit,
        ours=middle,
        baseline=middle_of_baseline,
        baseline_name=benchmark.baseline_name,
        ratio=None if middle_of_baseline is None else ratio(middle, middle_of_baseline, benchmark.better),
        runs=benchmark.runs,
    )


def _measure(work: Measure) -> float:
    async def once() -> float:
        return await work()

    gc.collect()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return float(runner.run(once()))


def ratio(ours: float, baseline: float, better: Literal["higher", "lower"]) -> float | None:
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
