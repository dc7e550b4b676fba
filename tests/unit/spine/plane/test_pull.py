"""Pulling asks for what fits and no more, whatever the server says, and owns a pinned durable as long as it may."""

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.plane import pinning, pull
from penstock.spine.plane.message import Message
from tests.unit.spine.stage import until

NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.c"


class FakeSubscription:
    def __init__(self, link: "FakeLink", pattern: str, receive: Callable[[Message], None]) -> None:
        self.link, self.inbox, self.receive = link, pattern.removesuffix(".*"), receive

    def stop_delivery(self) -> None:
        """Nothing more comes."""

    def close(self) -> None:
        if self.link.listening is self:
            self.link.listening = None


class FakeLink:
    """A link to a server that is played by the test."""

    inbox = "_INBOX.me"

    def __init__(self) -> None:
        self.connected = True
        self.congested = False
        self.listening: FakeSubscription | None = None
        self.asked: list[dict[str, object]] = []
        self.kept: list[dict[str, object]] = []
        self.settled: list[tuple[str, bytes]] = []
        self.called: list[str] = []
        self.late: Message | None = None
        self.ups: list[Callable[[int], None]] = []
        self.downs: list[Callable[[int], None]] = []

    def on_up(self, tell):
        self.ups.append(tell)
        return lambda: tell in self.ups and self.ups.remove(tell)

    def on_down(self, tell):
        self.downs.append(tell)
        return lambda: tell in self.downs and self.downs.remove(tell)

    def subscribe(self, pattern, receive, *, queue=""):
        self.listening = FakeSubscription(self, pattern, receive)
        return self.listening

    def publish(self, subject, body, *, reply="", headers_block=b"", keep=False):
        if not self.connected:
            raise errors.Unavailable("disconnected", "gone")
        if self.congested:
            raise errors.Unavailable("congested", "full")
        if subject != NEXT:
            self.settled.append((subject, body))
        elif reply.endswith(pinning.KEEP):
            self.kept.append(json.loads(body))
        else:
            self.asked.append(json.loads(body) | {"reply": reply})

    async def call(self, subject, body, timeout_s):
        self.called.append(subject)
        if self.late is not None and self.listening is not None:
            self.listening.receive(self.late)
        assert self.settled == [], "given back while the server may still hand it to us again"

    async def barrier(self, timeout_s):
        if not self.connected:
            raise errors.Unavailable("disconnected", "gone")

    def lose(self) -> None:
        self.connected = False
        for tell in list(self.downs):
            tell(1)

    def find(self) -> None:
        self.connected = True
        for tell in list(self.ups):
            tell(2)

    @property
    def batches(self) -> list[object]:
        return [request["batch"] for request in self.asked]

    def say(self, code: str, *, to: str = "", pending: int | None = None) -> None:
        """A status, to a request or to the latest."""
        pending_line = f"Nats-Pending-Messages: {pending}\r\n" if pending is not None else ""
        reply = to or str(self.asked[-1]["reply"])
        assert self.listening is not None
        self.listening.receive(Message(reply, "", f"NATS/1.0 {code} Because\r\n{pending_line}\r\n".encode(), b""))

    def say_to_keep(self, code: str) -> None:
        assert self.listening is not None
        self.say(code, to=f"{self.listening.inbox}.{pinning.KEEP}")

    def hand(self, number: int, *, pin: str = "") -> None:
        """A message."""
        block = f"NATS/1.0\r\nNats-Pin-Id: {pin}\r\n\r\n".encode() if pin else b""
        assert self.listening is not None
        self.listening.receive(Message("a", f"$JS.ACK.S.c.1.{number}.{number}.0.0", block, b""))


class Stage:
    def __init__(self, *, window: int = 10, pinned: bool = False) -> None:
        self.link = FakeLink()
        self.taken: list[int] = []
        self.sessions: list[int] = []
        self.lost: list[str] = []
        pin = pinning.Pin(("S", "c"), group="owner", timeout_s=60.0) if pinned else None
        self.puller = pull.Puller(self.link, ("S", "c"), self.take, window=window, lost=self.lost.append, pin=pin)
        self.puller.start()

    def take(self, message: Message, session: int) -> None:
        self.taken.append(int(message.reply.split(".")[5]))
        self.sessions.append(session)


@pytest.fixture
async def stage():
    made = Stage()
    yield made
    await made.puller.close()


@pytest.fixture
async def owner():
    made = Stage(pinned=True)
    yield made
    await made.puller.close()


async def test_it_asks_for_a_window_and_again_when_half_of_it_is_free(stage: Stage) -> None:
    assert stage.link.batches == [10]
    for number in range(10):
        stage.link.hand(number)
    for _ in range(4):
        stage.puller.done()
    assert stage.link.batches == [10]
    stage.puller.done()
    assert stage.link.batches == [10, 5]
    assert stage.taken == list(range(10))


async def test_a_trickle_is_asked_for_when_nothing_is_on_its_way(stage: Stage) -> None:
    for number in range(10):
        stage.link.hand(number)
    stage.puller.done()
    await until(lambda: len(stage.link.asked) == 2)
    assert stage.link.batches == [10, 1]


async def test_a_request_that_expires_is_asked_again_for_what_it_still_waited_for(stage: Stage) -> None:
    for number in range(3):
        stage.link.hand(number)
    stage.link.say("408", pending=7)
    assert stage.link.batches == [10, 7]
    assert stage.lost == []


async def test_heartbeats_mean_nothing_more(stage: Stage) -> None:
    stage.link.say("100")
    assert (stage.link.batches, stage.lost) == ([10], [])


@pytest.mark.parametrize("code", ["409", "503", "400", "404"])
async def test_a_request_that_ends_without_a_count_is_told_once(stage: Stage, code: str) -> None:
    stage.link.say(code)
    stage.link.say(code)
    assert stage.lost == [f"{code} Because"]
    assert stage.link.batches == [10]
    stage.puller.start()
    assert stage.link.batches == [10, 10]


async def test_requests_that_hear_nothing_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(pull, "SILENCE_S", 0.02)
    stage = Stage()
    await until(lambda: bool(stage.lost))
    assert stage.lost == ["silence"]
    await stage.puller.close()


async def test_what_comes_for_an_inbox_that_was_left_goes_back(stage: Stage) -> None:
    left = stage.link.listening
    assert left is not None
    stage.puller.start()
    left.receive(Message("a", "$JS.ACK.S.c.1.7.7.0.0", b"", b""))
    left.receive(Message(f"{left.inbox}.1", "", b"NATS/1.0 408 x\r\n\r\n", b""))
    assert stage.link.settled == [("$JS.ACK.S.c.1.7.7.0.0", b"-NAK")]
    assert stage.taken == []


async def test_each_connection_has_an_inbox_and_a_session_of_its_own(stage: Stage) -> None:
    first = stage.link.listening
    stage.link.hand(1)
    stage.link.lose()
    assert stage.link.listening is None
    stage.link.find()
    assert stage.link.listening is not None
    assert first is not None
    assert stage.link.listening.inbox != first.inbox
    # The one that is still held keeps its room.
    assert stage.link.batches == [10, 9]
    stage.link.hand(2)
    assert stage.sessions[1] > stage.sessions[0]


async def test_a_pause_asks_for_nothing_and_ends(stage: Stage) -> None:
    stage.puller.pause()
    for number in range(10):
        stage.link.hand(number)
        stage.puller.done()
    assert stage.link.batches == [10]
    stage.puller.resume()
    await until(lambda: stage.link.batches == [10, 10])


async def test_what_could_not_be_asked_is_asked_later(stage: Stage) -> None:
    for number in range(10):
        stage.link.hand(number)
    stage.link.congested = True
    for _ in range(10):
        stage.puller.done()
    assert stage.link.batches == [10]
    stage.link.congested = False
    await until(lambda: stage.link.batches == [10, 10])


async def test_nothing_is_asked_after_close(stage: Stage) -> None:
    await stage.puller.close()
    stage.link.find()
    stage.puller.start()
    assert stage.link.batches == [10]
    assert stage.link.ups == stage.link.downs == []


async def test_an_owner_asks_as_anybody_until_it_is_told_its_pin(owner: Stage) -> None:
    assert "id" not in owner.link.asked[0]
    assert owner.link.asked[0]["group"] == "owner"
    for number in range(5):
        owner.link.hand(number, pin="p1")
        owner.puller.done()
    assert owner.link.asked[1]["id"] == "p1"
    assert owner.link.kept[0] == {"batch": 1, "max_bytes": 1, "no_wait": True, "group": "owner", "id": "p1"}
    assert owner.sessions == [owner.sessions[0]] * 5


async def test_never_more_than_one_request_as_anybody(owner: Stage) -> None:
    for number in range(10):
        owner.link.hand(number, pin="p1")
    owner.link.say_to_keep("423")
    assert owner.link.batches == [10]
    for _ in range(3):
        owner.puller.done()
    await until(lambda: len(owner.link.asked) == 2)
    for _ in range(7):
        owner.puller.done()
    assert owner.link.batches == [10, 3]
    owner.link.hand(11, pin="p2")
    assert owner.link.batches == [10, 3, 7]
    assert owner.link.asked[2]["id"] == "p2"


@pytest.mark.parametrize("code", ["404", "408", "409"])
async def test_what_cannot_be_served_keeps_the_pin(owner: Stage, code: str) -> None:
    owner.link.hand(1, pin="p1")
    owner.link.say_to_keep(code)
    owner.puller.done()
    for number in range(2, 7):
        owner.link.hand(number, pin="p1")
        owner.puller.done()
    assert owner.link.asked[-1]["id"] == "p1"
    assert owner.lost == []


async def test_a_lost_pin_voids_what_was_asked_under_it(owner: Stage) -> None:
    owner.link.hand(1, pin="p1")
    first = str(owner.link.asked[0]["reply"])
    owner.link.say_to_keep("423")
    assert "id" not in owner.link.asked[-1]
    assert owner.link.batches == [10, 9]
    # The server says so of each request too, when it gets there: that changes nothing.
    owner.link.say("423", to=first, pending=9)
    owner.link.say("408", to=first, pending=9)
    assert owner.link.batches == [10, 9]
    owner.link.hand(2, pin="p2")
    assert owner.sessions[1] > owner.sessions[0]


async def test_a_request_that_names_a_wrong_pin_is_made_anew(owner: Stage) -> None:
    owner.link.hand(1, pin="p1")
    owner.link.say("423", pending=9)
    assert owner.link.batches == [10, 9]
    assert "id" not in owner.link.asked[-1]


async def test_an_owner_comes_back_under_its_pin_and_lets_go_of_it_in_the_end(owner: Stage) -> None:
    owner.link.hand(1, pin="p1")
    owner.link.lose()
    owner.link.find()
    assert owner.link.asked[-1]["id"] == "p1"
    await owner.puller.close()
    assert owner.link.called == ["$JS.API.CONSUMER.UNPIN.S.c", NEXT]
    await owner.puller.close()
    assert len(owner.link.called) == 2


async def test_what_comes_to_an_owner_that_closes_goes_back_as_soon_as_it_is_none(owner: Stage) -> None:
    owner.link.hand(1, pin="p1")
    owner.link.late = Message("a", "$JS.ACK.S.c.1.7.7.0.0", b"", b"")
    await owner.puller.close()
    assert owner.link.settled == [(owner.link.late.reply, b"-NAK")] * 2
    assert owner.taken == [1]


async def test_whoever_owns_nothing_releases_nothing(owner: Stage) -> None:
    await owner.puller.close()
    assert owner.link.called == []


steps = st.lists(
    st.sampled_from(["hand", "hand", "done", "done", "expire", "lose", "find", "pause", "resume", "unpin", "rest"]),
    max_size=80,
)


@given(st.integers(1, 9), steps, st.booleans())
async def test_law_nothing_is_asked_for_that_does_not_fit(window: int, steps: list[str], pinned: bool) -> None:
    stage = Stage(window=window, pinned=pinned)
    link, number, held, pins = stage.link, 0, 0, 1
    waiting: list[tuple[str, int, str | None]] = []

    def look() -> None:
        """Requests as the server has them: who names another pin than the one that stands is never served."""
        for request in link.asked:
            pin = str(request["id"]) if "id" in request else None
            waiting.append((str(request["reply"]), int(str(request["batch"])), pin))
        link.asked.clear()

    for step in steps:
        look()
        if step == "hand" and waiting and link.connected:
            reply, batch, pin = waiting.pop(0)
            if pinned and pin not in (None, f"p{pins}"):
                link.say("423", to=reply, pending=batch)
            else:
                number, held = number + 1, held + 1
                if batch > 1:
                    waiting.insert(0, (reply, batch - 1, f"p{pins}" if pinned else None))
                link.hand(number, pin=f"p{pins}" if pinned else "")
        elif step == "done" and held:
            held -= 1
            stage.puller.done()
        elif step == "expire" and waiting and link.connected:
            reply, batch, _ = waiting.pop(0)
            link.say("408", to=reply, pending=batch)
        elif step == "unpin":
            pins += 1
        elif step == "lose" and link.connected:
            link.lose()
            waiting.clear()
        elif step == "find" and not link.connected:
            link.find()
        elif step == "pause":
            stage.puller.pause()
        elif step == "resume":
            stage.puller.resume()
        elif step == "rest":
            await asyncio.sleep(0)
        look()
        servable = [batch for _, batch, pin in waiting if not pinned or pin in (None, f"p{pins}")]
        assert held + sum(servable) <= window
        assert not waiting or link.connected
    await stage.puller.close()
