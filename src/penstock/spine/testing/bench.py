"""The bench that the conformance suite works on: clients of one server, time, and an outage when asked for."""

import abc
import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from penstock.base import errors
from penstock.spine import consumer, ports, provision, stream

T = TypeVar("T")

POLL_S: Final = 0.02
WITHIN_S: Final = 15.0

STREAM: Final = stream.StreamPolicy(
    "LETTERS", ("tenant.*.letters.>",), "what the conformance suite writes", max_age_s=600.0, max_bytes=64 << 20
)
CONSUMER: Final = consumer.ConsumerPolicy("reader", "LETTERS", "tenant.*.letters.>", ack_wait_s=30.0)


class Bench(abc.ABC):
    """One server and its clients; one bench per test. Whoever makes it closes it."""

    gives_back_at_once = True
    """What is on its way to a subscription that closes goes back at once; else, when its lease is over at the latest.

    In a cluster, the node that hands out may hear of the close later than the client's own, which drops what comes.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    @abc.abstractmethod
    async def connect(self, *, deadline_s: float = 15.0) -> ports.Spine:
        """Another client of the server. Calls of it wait `deadline_s` for an outage to end."""

    @abc.abstractmethod
    async def elapse(self, duration_s: float) -> None:
        """Let time pass, as the server and its clients measure it."""

    @abc.abstractmethod
    async def interrupt(self) -> None:
        """No client reaches the server any more; returns when the clients have noticed."""

    @abc.abstractmethod
    async def restore(self) -> None:
        """The server may be reached again; clients need a moment to notice."""

    @abc.abstractmethod
    async def connect_apart(self) -> ports.Spine:
        """A client with a line of its own to the server, which `cut` and `mend` are about."""

    @abc.abstractmethod
    async def cut(self, client: ports.Spine) -> None:
        """A client that `connect_apart` made does not reach the server any more; returns when it has noticed."""

    @abc.abstractmethod
    async def mend(self, client: ports.Spine) -> None:
        """The line of a client is whole again; it needs a moment to notice."""

    @abc.abstractmethod
    async def delete_stream(self, name: str) -> None:
        """Somebody deletes a stream with all that it holds, its durables included."""

    async def until(self, condition: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
        """Let time pass until something is so. Raises AssertionError when it takes too long."""
        waited_s, step_s = 0.0, 0.001
        while not condition():
            assert waited_s < within_s, f"waited {within_s:g} s in vain"
            await self.elapse(step_s)
            waited_s += step_s
            step_s = min(2 * step_s, POLL_S)

    async def expect_backlog(self, spine: ports.Spine, durable: str, waiting: int, held: int) -> None:
        """Let time pass until the durable has these: in a cluster, who counts may be behind who stores."""
        waited_s, found = 0.0, await spine.backlog(STREAM.name, durable)
        while found != (waiting, held):
            assert waited_s < WITHIN_S, f"the backlog is {found}, not {(waiting, held)}"
            await self.elapse(POLL_S)
            waited_s += POLL_S
            found = await spine.backlog(STREAM.name, durable)

    async def result(self, work: Coroutine[Any, Any, T], *, within_s: float = WITHIN_S) -> T:
        """What a call that needs time to pass returns or raises."""
        task = self.start(work)
        await self.until(task.done, within_s=within_s)
        return await task

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something beside the test; it is cancelled with the bench."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    async def close(self) -> None:
        """Stop what `start` started. A bench that made clients closes them too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def letters(
        self, policy: consumer.ConsumerPolicy | None = CONSUMER, **changes: Any
    ) -> tuple[ports.Spine, consumer.ConsumerPolicy]:
        """A client, the stream LETTERS, and a durable on it (with `changes`; none when `policy` is None)."""
        spine = await self.connect()
        await provision.streams(spine, [STREAM])
        made = dataclasses.replace(policy or CONSUMER, **changes)
        if policy is not None:
            await provision.durable(spine, made)
        return spine, made


def letter(number: int, *, tenant: str = "acme", topic: str = "a", body: bytes | None = None) -> ports.Outgoing:
    """A message for the stream LETTERS; its id and its body are its number."""
    return ports.Outgoing(
        STREAM.name,
        f"tenant.{tenant}.letters.{topic}",
        f"{tenant}/{topic}",
        {"Nats-Msg-Id": f"{tenant}:{topic}:{number}"},
        str(number).encode() if body is None else body,
    )


async def write(spine: ports.Spine, numbers: Sequence[int], *, tenant: str = "acme", topic: str = "a") -> None:
    """Publish letters in order."""
    for number in numbers:
        await spine.publish(letter(number, tenant=tenant, topic=topic))


class Inbox:
    """A receiver that keeps every delivery it is handed."""

    def __init__(self) -> None:
        self.deliveries: list[ports.Delivery] = []

    def __call__(self, delivery: ports.Delivery) -> None:
        self.deliveries.append(delivery)

    def __len__(self) -> int:
        return len(self.deliveries)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the letters, in the order in which they came."""
        return [int(delivery.body) for delivery in self.deliveries]

    async def ack_all(self) -> None:
        """Acknowledge everything that came."""
        for delivery in self.deliveries:
            await delivery.ack()


async def rejection(work: Coroutine[Any, Any, Any]) -> errors.Rejected:
    """The Rejected that a call raises."""
    return await _raised(work, errors.Rejected)


async def unavailability(work: Coroutine[Any, Any, Any]) -> errors.Unavailable:
    """The Unavailable that a call raises."""
    return await _raised(work, errors.Unavailable)


Raised = TypeVar("Raised", bound=errors.PenstockError)


async def _raised(work: Coroutine[Any, Any, Any], kind: type[Raised]) -> Raised:
    try:
        returned = await work
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {returned!r}")
