"""The list of benchmarks that `make bench` runs, in this order."""

from bench import frame, loop, payloads, spine_hop, spine_publish, spine_pull, webhook

BENCHMARKS: tuple[frame.Benchmark, ...] = (
    spine_publish.BENCHMARK,
    spine_publish.IN_C,
    spine_pull.BENCHMARK,
    spine_hop.BENCHMARK,
    payloads.BENCHMARK,
    webhook.CEILING_BENCHMARK,
    webhook.STEADY_BENCHMARK,
    webhook.TWO_BENCHMARK,
    loop.BENCHMARK,
)
