"""Just enough of a transport for a worker: it hands over what a test gives it, and remembers what was said."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.base import errors
from penstock.spine import ports


@dataclasses.dataclass
class FakeDelivery:
    """A delivery that remembers how it was settled."""

    sequence: int = 1
    subject: str = "tenant.acme.x"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b"body"
    settled: list[str] = dataclasses.field(default_factory=list)
    extended: int = 0
    stream: str = "S"
    consumer: str = "test"
    deliveries: int = 1
    session: int = 1
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    async def ack(self) -> None:
        self.settled.append("ack")

    async def retry(self, delay_s: float) -> None:
        self.settled.append(f"retry {delay_s:g}")

    async def terminate(self) -> None:
        self.settled.append("terminate")

    async def extend(self) -> None:
        self.extended += 1


class FakeSubscription:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    async def close(self) -> None:
        self.calls.append("close")


class FakeSpine:
    """Just enough transport for a worker: it hands over what the test gives it, and keeps what is published."""

    def __init__(self) -> None:
        self.published: list[ports.Outgoing] = []
        self.refuse: list[Exception] = []
        self.subscription = FakeSubscription()
        self.receive: Callable[[ports.Delivery], None] = lambda _: None
        self.window = 0
        self.connected = True
        self.connection = 1
        self.kept: dict[int, ports.Delivery] = {}

    async def consume(
        self, _policy: Any, receive: Callable[[ports.Delivery], None], *, window: int
    ) -> FakeSubscription:
        self.receive, self.window = receive, window
        return self.subscription

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        return self.kept.get(sequence)

    async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
        if on is not None and on != self.connection:
            raise errors.Unavailable("disconnected", "another connection stands")
        if self.refuse:
            raise self.refuse.pop(0)
        self.published.append(message)
        return ports.Published(message.stream, len(self.published), duplicate=False)


async def until(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.001)
