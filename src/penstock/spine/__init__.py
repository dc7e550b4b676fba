"""The one transport: subjects, streams, consumers, routes, payloads and the worker contract on NATS JetStream.

In come `Outgoing` messages to publish and handlers to run; what is decided here is how they are named, kept, fetched,
ordered by key, retried and set aside; out go deliveries bound to their tenant. Nothing here knows what a message
means or touches Postgres: durable facts are rows, and a stream is a bounded copy of them.
"""
