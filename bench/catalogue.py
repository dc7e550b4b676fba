"""The list of benchmarks that `make bench` runs, in this order."""

from bench import frame

BENCHMARKS: tuple[frame.Benchmark, ...] = ()
