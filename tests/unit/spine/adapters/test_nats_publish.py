"""Publishing keeps to its window, tries again what a lost connection leaves open, and on one connection only once."""

import asyncio
import collections
from collections.abc import AsyncIterator

import pytest

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import nats_publish
from penstock.spine.plane.message import Message
from tests.unit.spine.stage import until


class FakeLink:
    """A link whose answers are in the hands of the test."""

    def __init__(self) -> None:
        self.connection = 1
        self.has_room = True
        self.payload_limit_bytes = 1 << 20
        self.calls: list[tuple[str, bytes, bytes]] = []
        self.waiting: collections.deque[asyncio.Future[Message]] = collections.deque()
        self.changed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self.connection > 0

    def call(self, subject, body, timeout_s, *, headers_block=b""):
        if not self.connected:
            raise errors.Unavailable("disconnected", "gone")
        self.calls.append((subject, body, headers_block))
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def wait_connected(self, timeout_s):
        await self._wait(lambda: self.connected, timeout_s, "disconnected")

    async def room(self, timeout_s):
        await self._wait(lambda: self.has_room, timeout_s, "congested")

    async def _wait(self, condition, timeout_s, code):
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self.changed.wait()
        except TimeoutError:
            raise errors.Unavailable(code, "not in time") from None

    def change(self, *, connection: int | None = None, has_room: bool | None = None) -> None:
        self.connection = self.connection if connection is None else connection
        self.has_room = self.has_room if has_room is None else has_room
        if not self.connected:
            while self.waiting:
                self.waiting.popleft().set_exception(errors.Unavailable("disconnected", "gone"))
        self.changed.set()
        self.changed.clear()

    def answer(self, body: bytes = b'{"stream":"S","seq":1}', block: bytes = b"") -> None:
        self.waiting.popleft().set_result(Message("i", "", block, body))


class FakeCalls:
    async def check_taken(self, subject: str, timeout_s: float) -> None:
        if subject == "stray":
            raise errors.Rejected("no_stream", "no stream takes it")


@pytest.fixture
async def link() -> AsyncIterator[FakeLink]:
    made = FakeLink()
    yield made
    for waiting in made.waiting:
        waiting.cancel()


def publisher(link: FakeLink, *, deadline_s: float = 5.0) -> nats_publish.Publisher:
    return nats_publish.Publisher(link, FakeCalls(), deadline_s)  # type: ignore[arg-type]


def message(number: int = 1, *, subject: str = "a", body: bytes = b"") -> ports.Outgoing:
    return ports.Outgoing("S", subject, "k", {"Nats-Msg-Id": str(number)}, body or str(number).encode())


async def start(publishing: nats_publish.Publisher, numbers: range) -> list[asyncio.Task[ports.Published]]:
    tasks = [asyncio.create_task(publishing.publish(message(number), None)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_no_more_than_the_window_is_unanswered_and_turns_are_kept(
    link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_publish, "WINDOW", 3)
    tasks = await start(publisher(link), range(50))
    seen = 0
    while seen < 50:
        await until(lambda: bool(link.waiting))
        assert len(link.waiting) <= 3
        link.answer()
        seen += 1
    await asyncio.gather(*tasks)
    assert [int(body) for _, body, _ in link.calls] == list(range(50))


async def test_the_window_is_bounded_by_bytes_too_but_lets_one_through(
    link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_publish, "WINDOW_BYTES", 1000)
    publishing = publisher(link)
    large = [asyncio.create_task(publishing.publish(message(n, body=b"x" * 5000), None)) for n in range(3)]
    for _ in range(3):
        await until(lambda: bool(link.waiting))
        await asyncio.sleep(0)
        assert len(link.waiting) == 1
        link.answer()
    await asyncio.gather(*large)
    small = await start(publishing, range(4))
    assert len(link.waiting) == 4
    while link.waiting:
        link.answer()
    await asyncio.gather(*small)


async def test_who_gets_no_turn_is_told(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_publish, "WINDOW", 1)
    publishing = publisher(link, deadline_s=0.05)
    first, second, third = await start(publishing, range(3))
    third.cancel()
    with pytest.raises(errors.Unavailable) as refused:
        await second
    assert refused.value.code == "congested"
    with pytest.raises(asyncio.CancelledError):
        await third
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    (later,) = await start(publishing, range(1))
    link.waiting.popleft()
    link.answer()
    assert (await later).sequence == 1


async def test_what_a_lost_connection_leaves_open_is_sent_again_with_the_same_id(link: FakeLink) -> None:
    (task,) = await start(publisher(link), range(1))
    link.change(connection=0)
    await asyncio.sleep(0.01)
    link.change(connection=2)
    await until(lambda: bool(link.waiting))
    link.answer(b'{"stream":"S","seq":7,"duplicate":true}')
    assert await task == ports.Published("S", 7, duplicate=True)
    assert link.calls[0] == link.calls[1]
    assert b"Nats-Msg-Id: 0\r\n" in link.calls[0][2]


async def test_the_deadline_ends_it(link: FakeLink) -> None:
    publishing = publisher(link, deadline_s=0.05)
    link.change(connection=0)
    with pytest.raises(errors.Unavailable) as away:
        await publishing.publish(message(), None)
    assert away.value.code == "disconnected"
    link.change(connection=1, has_room=False)
    with pytest.raises(errors.Unavailable) as full:
        await publishing.publish(message(), None)
    assert full.value.code == "congested"


@pytest.mark.parametrize("on", [0, 1, 3])
async def test_another_connection_than_the_one_that_was_named_is_not_used(link: FakeLink, on: int) -> None:
    link.change(connection=2)
    with pytest.raises(errors.Unavailable) as gone:
        await publisher(link).publish(message(), on)
    assert (gone.value.code, link.calls) == ("disconnected", [])


async def test_on_one_connection_it_is_one_attempt(link: FakeLink) -> None:
    publishing = publisher(link)
    task = asyncio.create_task(publishing.publish(message(), 1))
    await asyncio.sleep(0)
    link.change(connection=0)
    link.change(connection=2)
    with pytest.raises(errors.Unavailable):
        await task
    assert len(link.calls) == 1


async def test_a_connection_that_changes_while_there_is_no_room_is_noticed(link: FakeLink) -> None:
    link.change(has_room=False)
    task = asyncio.create_task(publisher(link).publish(message(), 1))
    await asyncio.sleep(0)
    link.change(connection=2, has_room=True)
    with pytest.raises(errors.Unavailable):
        await task
    assert link.calls == []


async def test_nobody_who_takes_it_is_a_stream_that_is_missing_or_one_without_a_leader(link: FakeLink) -> None:
    nobody = b"NATS/1.0 503\r\n\r\n"
    publishing = publisher(link)
    stray = asyncio.create_task(publishing.publish(message(subject="stray"), None))
    for _ in range(2):
        await until(lambda: bool(link.waiting))
        link.answer(b"", nobody)
        await asyncio.sleep(0)
        if stray.done():
            break
    with pytest.raises(errors.Rejected) as refused:
        await stray
    assert refused.value.code == "no_stream"
    away = asyncio.create_task(publishing.publish(message(), None))
    for _ in range(2):
        await until(lambda: bool(link.waiting))
        link.answer(b"", nobody)
    await until(lambda: bool(link.waiting))
    link.answer()
    assert (await away).sequence == 1


async def test_a_stream_that_is_full_is_told_at_once(link: FakeLink) -> None:
    (task,) = await start(publisher(link), range(1))
    link.answer(b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}')
    with pytest.raises(errors.Unavailable) as full:
        await task
    assert (full.value.code, len(link.calls)) == ("stream_full", 1)
