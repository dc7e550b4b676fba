"""A listener is called for one signal after the other, and holds no more than it may."""

import asyncio

import pytest

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.plane import listen
from penstock.spine.plane.message import Message
from tests.unit.spine.stage import until


class FakeLink:
    """A link whose one subscription is in the hands of the test."""

    def __init__(self) -> None:
        self.hear = None
        self.outages = 0
        self.closed = False

    def subscribe(self, pattern, receive, *, queue=""):
        self.hear = receive
        return self

    async def established(self, timeout_s):
        if self.outages:
            self.outages -= 1
            raise errors.Unavailable("disconnected", "gone")

    async def wait_connected(self, timeout_s):
        """It stands."""

    def close(self) -> None:
        self.closed = True

    def say(self, *bodies: bytes) -> None:
        for body in bodies:
            self.hear(Message("a", "", b"", body))


class Slow:
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.go = asyncio.Event()

    async def __call__(self, signal: ports.Signal) -> None:
        await self.go.wait()
        self.heard.append(signal.body)


async def test_what_waits_is_bounded_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "WAITING_LIMIT", 3)
    monkeypatch.setattr(listen, "WAITING_LIMIT_BYTES", 100)
    link, slow = FakeLink(), Slow()
    listener = listen.Listener(link, "a", slow, "")
    link.say(b"1", b"2", b"3", b"4", b"5")
    slow.go.set()
    await until(lambda: slow.heard == [b"1", b"2", b"3"])
    slow.go.clear()
    link.say(b"x" * 101, b"6")
    slow.go.set()
    await until(lambda: len(slow.heard) == 4)
    link.say(b"7")
    await until(lambda: slow.heard[3:] == [b"x" * 101, b"7"])
    await listener.close()


async def test_headers_take_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "WAITING_LIMIT_BYTES", 100)
    link, slow = FakeLink(), Slow()
    listener = listen.Listener(link, "a", slow, "")
    for body in (b"1", b"2", b"3"):
        link.hear(Message("a", "", b"NATS/1.0\r\nx: " + b"x" * 50 + b"\r\n\r\n", body))
    slow.go.set()
    await until(lambda: slow.heard == [b"1", b"2"])
    link.say(b"4")
    await until(lambda: slow.heard == [b"1", b"2", b"4"])
    await listener.close()


async def test_a_cancellation_of_its_own_does_not_end_it() -> None:
    link, heard = FakeLink(), list[bytes]()

    async def receive(signal: ports.Signal) -> None:
        heard.append(signal.body)
        if len(heard) == 1:
            raise asyncio.CancelledError

    listener = listen.Listener(link, "a", receive, "")
    link.say(b"1", b"2")
    await until(lambda: heard == [b"1", b"2"])
    link.say(b"3")
    await until(lambda: len(heard) == 3)
    await listener.close()


async def test_closing_ends_what_is_being_received_and_drops_what_waits() -> None:
    link, slow = FakeLink(), Slow()
    listener = listen.Listener(link, "a", slow, "")
    link.say(b"1", b"2")
    await asyncio.sleep(0)
    await listener.close()
    slow.go.set()
    await asyncio.sleep(0)
    assert (slow.heard, link.closed) == ([], True)


async def test_a_listener_may_close_itself() -> None:
    link, heard = FakeLink(), list[bytes]()

    async def receive(signal: ports.Signal) -> None:
        heard.append(signal.body)
        await listener.close()

    listener = listen.Listener(link, "a", receive, "")
    link.say(b"1", b"2")
    await until(lambda: heard == [b"1"])
    await asyncio.sleep(0)
    assert heard == [b"1"]


async def test_it_is_established_through_outages_but_not_for_ever() -> None:
    link = FakeLink()
    listener = listen.Listener(link, "a", Slow(), "")
    link.outages = 3
    await listener.established(5.0)
    link.outages = 10**9
    with pytest.raises(errors.Unavailable):
        await listener.established(0.02)
