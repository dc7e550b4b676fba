"""The list of benchmarks that `make bench` runs, in this order."""

from bench import bus_walls, frame, loop, payloads, spine_hop, spine_publish, spine_pull, telemetry, webhook

BENCHMARKS: tuple[frame.Benchmark, ...] = (
    spine_publish.BENCHMARK,
    spine_publish.IN_C,
    spine_pull.BENCHMARK,
    spine_hop.BENCHMARK,
    bus_walls.BENCHMARK,
    payloads.BENCHMARK,
    webhook.CEILING_BENCHMARK,
    webhook.STEADY_BENCHMARK,
    webhook.TWO_BENCHMARK,
    loop.BENCHMARK,
    telemetry.BENCHMARK,
)
