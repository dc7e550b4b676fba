"""One run of a handler over one event: what it does is numbered, published in order, and stored before the event ends.

The number is what makes an effect safe to repeat. A command's id derives from the event, the app and the number of
the call, so a run that is repeated asks for the same commands again, and outbound, which remembers every command id
for ever, does each of them once.
"""

import asyncio
import collections
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sdk import metrics, wire
from penstock.sdk.model import Effect, Sent
from penstock.spine import ports, route

# Looked up once: it costs more than the counting.
_counter = functools.cache(metrics.commands.labels)

Publish = Callable[[ports.Outgoing], Awaitable[ports.Published]]


@dataclasses.dataclass(slots=True, eq=False)
class _Queued:
    """A command that has its place in the order; `result` once it was tried, `awaited` when a call wants to know."""

    effect: Effect
    command: outbound_pb2.SendCommand
    result: Sent | Exception | None = None
    awaited: bool = False


def command_id(event: message_pb2.Message, app: str, number: int) -> str:
    """The id of effect `number` (from 0) of an app's run for an event; frozen: outbound remembers it for ever."""
    return ids.derive_id("command", event.tenant, event.account, event.event_id, app, str(number))


class Turn:
    """The effects of one run. Call `finish` when the handler has returned, then `abandon` in any case."""

    def __init__(self, app: str, context: contexts.Context, event: message_pb2.Message, publish: Publish) -> None:
        self._app, self._context, self._event, self._publish = app, context, event, publish
        self._number = 0
        self._calls: list[_Queued] = []
        self._queue: collections.deque[_Queued] = collections.deque()
        self._publishing = asyncio.Lock()
        self._failure: errors.Unavailable | None = None
        self._over = False

    def send(self, effect: Effect) -> Coroutine[Any, Any, Sent]:
        """Take the next number now; the coroutine returns when the command is stored.

        Raises Rejected for what cannot be sent, or once the run is over. A call whose coroutine is never awaited is
        published by `finish`.
        """
        if self._over:
            raise _ended()
        # A call that is refused below has its number too: the next run may word it differently and be taken.
        number, self._number = self._number, self._number + 1
        made = wire.command(
            self._event,
            effect,
            command_id=command_id(self._event, self._app, number),
            app=self._app,
            now_ns=time.time_ns() // 1000 * 1000,  # microseconds are as much as anybody keeps
        )
        queued = _Queued(effect, made)
        self._calls.append(queued)
        self._queue.append(queued)
        return self._wait(queued)

    async def _wait(self, queued: _Queued) -> Sent:
        queued.awaited = True
        await self._flush()
        if isinstance(queued.result, Exception):
            raise queued.result
        if queued.result is None:
            raise _ended()
        return queued.result

    async def _flush(self) -> None:
        """Publish what is queued, one at a time and in order, whoever calls.

        A command leaves the queue when its fate is known: a cancelled call leaves it there for `finish`. Once the bus
        could not take one, nothing may overtake it: Unavailable, for every later call as well.
        """
        async with self._publishing:
            while self._queue:
                if self._failure is not None:
                    raise self._failure
                queued = self._queue[0]
                try:
                    queued.result = await self._store(queued)
                except errors.Unavailable as error:
                    self._failure = error
                    raise
                except Exception as error:  # noqa: BLE001 - raised again where the call is awaited, or by `finish`
                    queued.result = error
                if self._queue and self._queue[0] is queued:
                    self._queue.popleft()

    async def _store(self, queued: _Queued) -> Sent:
        act = str(queued.effect.act)
        if telemetry.tracing():
            with telemetry.span(f"app_{self._app} {act}", self._context, "producer") as context:
                published = await self._publish(route.OUTBOUND.encode(context, queued.command))
        else:
            published = await self._publish(route.OUTBOUND.encode(self._context, queued.command))
        _counter(self._app, act).inc()
        return Sent(queued.command.command_id, published.duplicate)

    async def finish(self) -> None:
        """Publish what was never awaited, and fail where a handler did not look.

        Raises Unavailable when anything could not be published (even if the handler swallowed that: it has to be run
        again), and the error of a call that was never awaited.
        """
        self._over = True
        if self._queue:
            await self._flush()
        if self._failure is not None:
            raise self._failure
        for queued in self._calls:
            if isinstance(queued.result, Exception) and not queued.awaited:
                raise queued.result

    def abandon(self) -> None:
        """Send nothing more from this run, not even from tasks that the handler left behind."""
        self._over = True
        self._queue.clear()


def _ended() -> errors.Rejected:
    return errors.Rejected(
        "handler_ended",
        "the handler of this message has ended, so nothing more can be sent from it",
        hint="Await what the handler starts before it returns.",
    )
