"""The two transports behind `spine.ports.Spine`: NATS JetStream, and one in memory for tests and for learning.

In come calls of the port, out go bytes on a connection or entries in a dictionary; both pass the conformance suite in
`spine.testing`. Nothing here decides what is published, how often a handler is tried, or what a message means, and
no other room imports nats-py.
"""
