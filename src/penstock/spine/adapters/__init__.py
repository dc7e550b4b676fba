"""The two transports behind `spine.ports.Spine`: NATS JetStream, and one in memory for tests and for learning.

Beside them stand the two payload stores behind `spine.payload.Payloads`. In come calls of a port, out go bytes on a
connection or entries in a dictionary; both of a kind pass the same suite in `spine.testing`. Nothing here decides what
is published, how often a handler is tried, or what a message means, and no other room imports nats-py.
"""
