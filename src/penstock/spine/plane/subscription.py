"""What is listened to: told to the server anew on each connection, for as long as somebody wants it."""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from penstock.base import errors
from penstock.spine.plane import complaint
from penstock.spine.plane.connection import Connection
from penstock.spine.plane.message import Receive

ANSWERS: Final = b"1"
"""The number of the first subscription, which a link makes for the answers to its calls."""


class Subscription:
    """Interest in a subject; made by `Link.subscribe`. `refused` says why the server does not let us listen."""

    def __init__(self, table: "Subscriptions", number: bytes, pattern: str, queue: str) -> None:
        self._table = table
        self.number = number
        self.pattern, self.queue = pattern, queue
        self.refused: errors.PenstockError | None = None

    @property
    def command(self) -> bytes:
        """What tells a server."""
        queue = f" {self.queue}" if self.queue else ""
        return f"SUB {self.pattern}{queue} ".encode() + self.number

    async def established(self, timeout_s: float) -> None:
        """Return when the server knows of it.

        Raises Rejected `not_permitted`, Unavailable `too_many_subscriptions`, and as `Link.barrier` does.
        """
        if self.refused is None:
            await self._table.wait_for(self, timeout_s)
        if self.refused is not None:
            raise self.refused

    def stop_delivery(self) -> None:
        """Tell the server to send nothing more; what is on its way is still received until `close`."""
        self._table.stop(self)

    def close(self) -> None:
        """Receive nothing more. May be called twice."""
        self._table.stop(self)
        self._table.receivers.pop(self.number, None)


class Subscriptions:
    """All subscriptions of one link. `receivers` is what the connections dispatch by."""

    def __init__(self, barrier: Callable[[float], Awaitable[None]]) -> None:
        self._barrier = barrier
        self._waiting: list[Subscription] = []
        self.receivers: dict[bytes, Receive] = {}
        self._standing: dict[bytes, Subscription] = {}
        self._numbers = itertools.count(1)
        self._connection: Connection | None = None
        self._told: Mapping[bytes, Subscription] = {}

    def add(self, pattern: str, receive: Receive, *, queue: str = "") -> Subscription:
        """Listen from now on."""
        made = Subscription(self, b"%d" % next(self._numbers), pattern, queue)
        self.receivers[made.number] = receive
        self._standing[made.number] = made
        if self._connection is not None:
            self._connection.say(made.command)
        return made

    async def wait_for(self, subscription: Subscription, timeout_s: float) -> None:
        """Return when the server has taken or refused a subscription. Raises as the barrier does."""
        self._waiting.append(subscription)
        try:
            await self._barrier(timeout_s)
        finally:
            self._waiting.remove(subscription)

    def stop(self, subscription: Subscription) -> None:
        """Listen no more."""
        if self._standing.pop(subscription.number, None) is not None and self._connection is not None:
            self._connection.say(b"UNSUB " + subscription.number)

    def tell(self, connection: Connection) -> None:
        """Write all that stands to a new connection, which is not the one that carries us yet."""
        self._told = dict(self._standing)
        for one in self._told.values():
            one.refused = None
            connection.say(one.command)

    def move(self, connection: Connection | None) -> None:
        """From now on this connection carries us; what has changed since `tell` is made good."""
        self._connection = connection
        if connection is None:
            return
        for number, one in self._standing.items():
            if number not in self._told:
                connection.say(one.command)
        for number in self._told:
            if number not in self._standing:
                connection.say(b"UNSUB " + number)
        self._told = {}

    def leave(self, connection: Connection) -> None:
        """Ask a connection that carries us no more to send nothing but answers to what was asked on it."""
        for number in self._standing:
            if number != ANSWERS:
                connection.say(b"UNSUB " + number)

    def refuse_latest(self, said: complaint.Complaint) -> None:
        """The server takes no more subscriptions, and does not say which it means: those that are waited for."""
        for one in self._waiting:
            one.refused = errors.Unavailable("too_many_subscriptions", f"NATS says: {said.text}", after_s=10.0)

    def refuse(self, said: complaint.Complaint) -> list[Subscription]:
        """The server does not let us listen; returns those that are concerned."""
        concerned = [
            one
            for one in self._standing.values()
            if one.pattern == said.subject and (not said.queue or one.queue == said.queue)
        ]
        for one in concerned:
            one.refused = said.refusal()
        return concerned
