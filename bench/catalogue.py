"""The list of benchmarks that `make bench` runs, in this order."""

from bench import frame, loop

BENCHMARKS: tuple[frame.Benchmark, ...] = (loop.BENCHMARK,)
