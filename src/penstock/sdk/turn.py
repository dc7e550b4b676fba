"""One run of a handler over one event: what it does is numbered, published in order, and gone before the event is.

The number is what makes an effect safe to repeat. A command's id derives from the event, the app and the number of
the call, so a run that is repeated asks for the same commands again, and outbound, which stores every command id for
ever, does each of them once.
"""

import asyncio
import collections
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sdk import metrics, wire
from penstock.sdk.model import Effect, Sent
from penstock.spine import ports, route

Publish = Callable[[ports.Outgoing], Awaitable[ports.Published]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Queued:
    """A command that has its place in the order, and the future that says what became of it."""

    effect: Effect
    command: outbound_pb2.SendCommand
    sent: "asyncio.Future[Sent]"


def command_id(event: message_pb2.Message, app: str, number: int) -> str:
    """The id of effect `number` (from 0) of an app's run for an event; frozen: outbound remembers it for ever."""
    return ids.derive_id("command", event.tenant, event.account, event.event_id, app, str(number))


class Turn:
    """The effects of one run. `finish` when the handler has returned, `abandon` when it has not."""

    def __init__(self, app: str, context: contexts.Context, event: message_pb2.Message, publish: Publish) -> None:
        self._app, self._context, self._event, self._publish = app, context, event, publish
        self._number = 0
        self._queue: collections.deque[_Queued] = collections.deque()
        self._publishing = asyncio.Lock()
        self._failure: errors.Unavailable | None = None
        self._over = False

    def send(self, effect: Effect) -> Coroutine[Any, Any, Sent]:
        """Take the next number now; the coroutine returns when the command is stored.

        Raises Rejected for what cannot be sent, and when the run is over. A call whose coroutine is never awaited is
        published by `finish`.
        """
        if self._over:
            raise errors.Rejected(
                "handler_returned",
                "the handler of this message has ended, so nothing can be sent from it any more",
                hint="Await what the handler starts before it returns.",
            )
        made = wire.command(
            self._event,
            effect,
            command_id=command_id(self._event, self._app, self._number),
            app=self._app,
            now=datetime.now(UTC),
        )
        self._number += 1
        queued = _Queued(effect, made, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        return self._wait(queued)

    async def _wait(self, queued: _Queued) -> Sent:
        await self._flush()
        return await queued.sent

    async def _flush(self) -> None:
        """Publish what is queued, one at a time and in order, whoever calls."""
        async with self._publishing:
            while self._queue:
                queued = self._queue.popleft()
                try:
                    queued.sent.set_result(await self._store(queued))
                except BaseException as error:
                    if isinstance(error, errors.Rejected):
                        queued.sent.set_exception(error)
                        continue
                    queued.sent.cancel()
                    raise

    async def _store(self, queued: _Queued) -> Sent:
        """Publish one command, unless an earlier one could not be: nothing may overtake it."""
        if self._failure is not None:
            raise self._failure
        with telemetry.span(f"{self._app} {queued.effect.act}", self._context) as context:
            try:
                published = await self._publish(route.OUTBOUND.encode(context, queued.command))
            except errors.Unavailable as error:
                self._failure = error
                raise
        metrics.commands.labels(self._app, queued.effect.act.value).inc()
        return Sent(queued.command.command_id, published.duplicate)

    async def finish(self) -> None:
        """Publish what was never awaited. Raises Unavailable when anything could not be published: run it all again."""
        self._over = True
        await self._flush()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Send nothing more from this run, not even from tasks that the handler left behind."""
        self._over = True
        while self._queue:
            self._queue.popleft().sent.cancel()
