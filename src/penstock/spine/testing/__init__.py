"""What a transport of the spine and a payload store must do, as suites that anybody's can run.

In comes a `bench.Bench` that connects clients to one server and can interrupt it; out come passed or failed
assertions: inherit `conformance.SpineConformance` in a test class that has a fixture `bench`, or await
`conformance.check_spine`. `payloads.PayloadConformance` does the same with a `payload_bench.PayloadBench`. No test
framework is needed, and nothing of a room belongs here.
"""
