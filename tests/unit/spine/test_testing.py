"""The conformance suite lets the in-memory transport pass, and catches one that breaks any of its promises."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import (
    acceptance,
    memory_consumer,
    memory_keyvalue,
    memory_signals,
    memory_stream,
    spine_memory,
)
from penstock.spine.testing import conformance, memory


async def names_of_passed() -> list[str]:
    return [name async for name in conformance.check_spine(memory.memory_bench)]


async def test_the_suite_runs_without_a_test_framework() -> None:
    assert await names_of_passed() == sorted(name for name in dir(conformance.SpineConformance) if name[:5] == "test_")


async def forget(*_: Any, **__: Any) -> None:
    """Does nothing."""


def ignore(*_: Any, **__: Any) -> None:
    """Does nothing."""


async def later(delivery: memory_consumer.MemoryDelivery) -> None:
    await delivery.retry(0)


SABOTAGE: dict[str, tuple[Any, str, Any]] = {
    "acks are lost": (memory_consumer.MemoryDurable, "finish", ignore),
    "leases are not extended": (memory_consumer.MemoryDurable, "extend", ignore),
    "retries are lost": (memory_consumer.MemoryDurable, "retry", ignore),
    "what is terminated comes back": (memory_consumer.MemoryDelivery, "terminate", later),
    "the window is not kept": (memory_consumer.MemorySubscription, "free", True),
    "a pause pauses nothing": (memory_consumer.MemorySubscription, "pause", ignore),
    "what is said in an outage is lost": (
        memory_consumer.MemorySubscription,
        "go_online",
        lambda self: (setattr(self, "online", True), self._unsaid.clear(), self._durable.wake()),
    ),
    "nobody is pinned": (memory_consumer.MemoryDurable, "_pin", ignore),
    "a pin outlives its owner": (memory_consumer.MemoryDurable, "miss", ignore),
    "a pin cannot be released": (
        memory_consumer.MemoryDurable,
        "release",
        lambda self, owner=None, release=memory_consumer.MemoryDurable.release: release(self, owner) if owner else None,
    ),
    "whoever closes keeps the pin": (
        memory_consumer.MemoryDurable,
        "release",
        lambda self, owner=None, release=memory_consumer.MemoryDurable.release: None if owner else release(self),
    ),
    "a full window loses the pin": (
        memory_consumer.MemoryDurable,
        "_next_free",
        lambda self, next_free=memory_consumer.MemoryDurable._next_free: (
            self.release() if self._owner is not None and not self._owner.free else None,
            next_free(self),
        )[1],
    ),
    "sessions do not end with a pin": (
        memory_consumer.MemoryDurable,
        "_pin",
        lambda self, subscription: setattr(self, "_owner", subscription) if self.policy.pin_timeout_s else None,
    ),
    "sessions do not end with a connection": (
        memory_consumer.MemorySubscription,
        "go_online",
        lambda self, go_online=memory_consumer.MemorySubscription.go_online: (
            go_online(self),
            setattr(self, "session", 1),
        ),
    ),
    "each delivery is a session": (
        memory_consumer.MemorySubscription,
        "hand_over",
        lambda self, delivery, hand_over=memory_consumer.MemorySubscription.hand_over: (
            setattr(self, "session", self.session + 1),
            setattr(delivery, "session", self.session),
            hand_over(self, delivery),
        ),
    ),
    "holes do not hold the floor": (
        memory_consumer.MemoryDurable,
        "floor",
        property(lambda self: max(self._leases, default=self._position + 1) - 1),
    ),
    "only the first filter counts": (
        memory_stream.MemoryStream,
        "after",
        lambda self, sequence, filters, after=memory_stream.MemoryStream.after: after(self, sequence, filters[:1]),
    ),
    "a stream made again is the old one": (
        memory_stream.MemoryStream,
        "state",
        property(
            lambda self, state=memory_stream.MemoryStream.state: dataclasses.replace(
                state.__get__(self), created=datetime(2026, 1, 1, tzinfo=UTC)
            )
        ),
    ),
    "there is no backstop": (
        memory_consumer.MemoryDurable,
        "__init__",
        lambda self, policy, *others, init=memory_consumer.MemoryDurable.__init__: init(
            self, dataclasses.replace(policy, max_deliver=1000), *others
        ),
    ),
    "ids are not recognised": (
        memory_stream.MemoryStream,
        "store",
        lambda self, message, store=memory_stream.MemoryStream.store: store(
            self, dataclasses.replace(message, headers={k: v for k, v in message.headers.items() if k != "Nats-Msg-Id"})
        ),
    ),
    "nothing is too old": (memory_stream.MemoryStream, "expire", ignore),
    "nothing is too much": (memory_stream.MemoryStream, "_make_room", ignore),
    "anything may be sent": (acceptance, "_block", ignore),
    "conflicts are overwritten": (memory_keyvalue.MemoryBucket, "read", ignore),
    "deleted keys keep their value": (
        memory_keyvalue.MemoryBucket,
        "write",
        lambda self, key, value, write=memory_keyvalue.MemoryBucket.write: write(self, key, value or b""),
    ),
    "listeners stay": (memory_signals.MemoryListener, "close", forget),
    "everybody in a queue hears": (
        memory_signals.Exchange,
        "listen",
        lambda self, pattern, receive, queue, listen=memory_signals.Exchange.listen: listen(self, pattern, receive, ""),
    ),
    "streams are changed silently": (
        spine_memory.MemoryServer,
        "create_stream",
        lambda self, policy: self.streams.__setitem__(policy.name, memory_stream.MemoryStream(policy, self.clock)),
    ),
    "streams are never changed": (spine_memory.MemoryServer, "update_stream", ignore),
    "durables are never changed": (spine_memory.MemoryServer, "update_durable", ignore),
    "a lower limit drops nothing": (memory_stream.MemoryStream, "shrink", ignore),
    "every moment is the beginning": (memory_stream.MemoryStream, "first_since", lambda _self, _moment: 1),
}


@pytest.mark.parametrize("fault", SABOTAGE)
async def test_a_transport_that_breaks_a_promise_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement = SABOTAGE[fault]
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises((AssertionError, errors.PenstockError)):
        await names_of_passed()


async def test_a_browser_that_repeats_itself_is_caught() -> None:
    class Stutters(spine_memory.MemorySpine):
        async def browse(self, *arguments: Any, **options: Any) -> AsyncIterator[ports.Delivery]:
            async for delivery in super().browse(*arguments, **options):
                yield delivery
                yield delivery

    with pytest.raises(AssertionError):
        await passed_with(Stutters)


async def test_a_transport_that_does_not_wait_for_the_end_of_an_outage_is_caught() -> None:
    class Impatient(spine_memory.MemorySpine):
        async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
            if not self.connected:
                raise errors.Unavailable("disconnected", "the spine does not answer")
            return await super().publish(message, on=on)

    with pytest.raises((AssertionError, errors.Unavailable)):
        await passed_with(Impatient)


async def test_a_transport_that_publishes_on_whichever_connection_stands_is_caught() -> None:
    class Indifferent(spine_memory.MemorySpine):
        async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
            return await super().publish(message)

    with pytest.raises(AssertionError):
        await passed_with(Indifferent)


async def test_a_transport_that_cuts_bodies_short_is_caught() -> None:
    class Cuts(spine_memory.MemorySpine):
        async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
            return await super().publish(dataclasses.replace(message, body=message.body.rstrip(b"\0")), on=on)

    with pytest.raises(AssertionError):
        await passed_with(Cuts)


async def passed_with(client: Callable[..., spine_memory.MemorySpine]) -> None:
    class Bench(memory.MemoryBench):
        async def connect(self, *, deadline_s: float = 15.0) -> spine_memory.MemorySpine:
            made = client(self._server, deadline_s=deadline_s)
            self._clients.append(made)
            return made

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Bench]:
        bench = Bench()
        try:
            yield bench
        finally:
            await bench.close()

    async for _ in conformance.check_spine(opened):
        continue
