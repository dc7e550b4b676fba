"""Takes a delivery to the handler that wants it, and the handler's effects to the bus."""

import functools
import time

from penstock.base import context as contexts
from penstock.base import errors
from penstock.messages.v1 import message_pb2
from penstock.sdk import metrics, wire
from penstock.sdk.app import App
from penstock.sdk.message import Effects, Message
from penstock.sdk.turn import Publish, Turn
from penstock.spine import ports, route

# Looked up once: it costs more than the counting.
_counter = functools.cache(metrics.events.labels)


class Dispatch:
    """The spine's handler for one app: decodes, finds, runs."""

    def __init__(self, app: App, publish: Publish) -> None:
        self._app, self._publish = app, publish
        self._seconds = metrics.seconds.labels(app.name)

    async def handle(self, context: contexts.Context, delivery: ports.Delivery) -> None:
        """Run the app once. Returns when its effects are stored or nobody wanted the event; else raises its error."""
        event = route.INBOUND.decode(delivery.headers, delivery.body)
        if event.tenant != context.tenant:
            raise errors.Poisoned("tenant_mismatch", "the tenant in the body is not the tenant of the subject")
        turn = Turn(self._app.name, context, event, self._publish)
        message = read(context, event, turn)
        handle = self._app.handlers.find(message)
        outcome, begun = "failed", time.perf_counter()
        try:
            if handle is not None:
                await handle(message)
                await turn.finish()
            outcome = "ignored" if handle is None else "handled"
        finally:
            turn.abandon()
            _counter(self._app.name, str(message.kind), outcome).inc()
            if handle is not None:
                self._seconds.observe(time.perf_counter() - begun)


def read(context: contexts.Context, event: message_pb2.Message, effects: Effects) -> Message:
    """The event as its handler sees it."""
    return Message(wire.kind(event), context.correlation_id, event, effects)


def lane_of(delivery: ports.Delivery) -> str:
    """The conversation, which is kept in order: everything of the subject below its partition."""
    return delivery.subject
