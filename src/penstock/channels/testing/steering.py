"""What simulated platforms do alike: answer as a test says, be down when told to, and wake who waits for something.

A simulator inherits this beside its half that talks to Penstock, and has a `Behaviour` of its own: what a platform can
do wrong differs. It hands in how it answers a request, and calls `_next_behaviour`, `_note` and `_wake` from there.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from penstock.channels.testing import simulator, webhook_server


class Lasts(Protocol):
    """A behaviour that is for so many requests."""

    @property
    def times(self) -> int:
        """For how many; 0: for ever."""
        ...


B = TypeVar("B", bound=Lasts)


class Steering(Generic[B]):
    """The server of a simulated platform."""

    def _steer(self, respond: Callable[[webhook_server.Request], webhook_server.Reply], well: B) -> None:
        """Make the server, which behaves `well` unless told otherwise: called by the simulator's `__init__`."""
        self._server = webhook_server.WebhookServer(respond)
        self._well = well
        self._behaviours: list[B] = []
        self._uses: dict[int, int] = {}
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._heard: dict[Hashable, list[simulator.Heard]] = {}

    def behave(self, *behaviours: B) -> None:
        """Answer like this from now on, the first that fits a request first; nothing: well."""
        self._behaviours, self._uses = list(behaviours), {}

    async def refuse_connections(self) -> None:
        """Be down: cut every connection and refuse new ones, until `accept_connections`."""
        await self._server.stop()

    async def accept_connections(self) -> None:
        """Be up again, under the same address."""
        await self._server.start()

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Wait until a condition, looked at after every request that arrives, holds. Raises TimeoutError."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        async with asyncio.timeout(timeout_s):
            await future

    def _next_behaviour(self, fits: Callable[[B], bool]) -> B:
        """How to answer a request now: the first behaviour that fits it and is not used up."""
        for index, one in enumerate(self._behaviours):
            uses = self._uses.get(index, 0)
            if fits(one) and (not one.times or uses < one.times):
                self._uses[index] = uses + 1
                return one
        return self._well

    def _note(self, conversation: Hashable, heard: simulator.Heard) -> None:
        """Penstock said or did something there."""
        self._heard.setdefault(conversation, []).append(heard)

    def _heard_in(self, conversation: Hashable) -> Sequence[simulator.Heard]:
        """What it said and did there, in order, at a cost that other conversations have no part in."""
        return list(self._heard.get(conversation, ()))

    def _wake(self) -> None:
        """A request was answered: look at every condition again."""
        for waiting in list(self._waiting):
            condition, future = waiting
            if future.done() or condition():
                self._waiting.remove(waiting)
                if not future.done():
                    future.set_result(None)
