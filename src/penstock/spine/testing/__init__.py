"""What a transport of the spine must do, as a suite that anybody's transport can run.

In comes a `bench.Bench` that connects clients to one server and can interrupt it; out come passed or failed
assertions: inherit `conformance.SpineConformance` in a test class that has a fixture `bench`, or await
`conformance.check_spine`. No test framework is needed, and nothing of a room belongs here.
"""
