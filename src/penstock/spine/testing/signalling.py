"""Conformance: core NATS: listeners, queues, request and reply."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock.spine import ports
from penstock.spine.testing.bench import Bench, rejection, unavailability


def signal(subject: str, body: bytes = b"", **headers: str) -> ports.Signal:
    """A signal."""
    return ports.Signal(subject, headers, body)


class Ear:
    """A receiver that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[ports.Signal] = []

    async def __call__(self, heard: ports.Signal) -> None:
        self.heard.append(heard)

    async def hear(self, heard: ports.Signal) -> None:
        """The same, as a plain coroutine function."""
        self.heard.append(heard)

    @property
    def bodies(self) -> list[bytes]:
        """What was said, in order."""
        return [heard.body for heard in self.heard]


async def acquaint(bench: Bench, speaker: ports.Spine, listener: ports.Spine) -> None:
    """Wait until one client is heard wherever the other listens: that takes a moment from node to node of a cluster.

    What a client listened to before is known everywhere when something it listened to later is.
    """
    ear = Ear()
    listening = await listener.listen("acquaintance.probe", ear.hear)

    async def call_until_heard() -> None:
        while not ear.heard:
            await speaker.emit(signal("acquaintance.probe"))
            await bench.elapse(0.01)

    await bench.result(call_until_heard())
    await listening.close()


def echo(spine: ports.Spine) -> Callable[[ports.Signal], Awaitable[None]]:
    """A responder that answers with what it was asked."""

    async def answer(asked: ports.Signal) -> None:
        await spine.emit(ports.Signal(asked.reply, {"Answer-To": asked.headers.get("Question", "")}, asked.body))

    return answer


class Signalling:
    """At most once, to whoever listens now."""

    async def test_everybody_who_listens_hears(self, bench: Bench) -> None:
        spine, other = await bench.connect(), await bench.connect()
        ears = [Ear(), Ear(), Ear(), Ear()]
        await spine.listen("penstock.heartbeat.core.a1", ears[0].hear)
        await other.listen("penstock.heartbeat.*.*", ears[1].hear)
        await other.listen("penstock.>", ears[2].hear)
        await other.listen("penstock.tail.>", ears[3].hear)
        await acquaint(bench, spine, other)
        await spine.emit(signal("penstock.heartbeat.core.a1", b"here", **{"X-Case": "Kept"}))
        await bench.until(lambda: all(ear.heard for ear in ears[:3]))
        first = ears[1].heard[0]
        assert (first.subject, first.body) == ("penstock.heartbeat.core.a1", b"here")
        assert dict(first.headers) == {"X-Case": "Kept"}
        assert ears[3].heard == []

    async def test_nobody_listening_is_fine(self, bench: Bench) -> None:
        spine = await bench.connect()
        await spine.emit(signal("penstock.nobody"))
        assert spine.connected

    async def test_signals_are_received_one_at_a_time_and_in_order(self, bench: Bench) -> None:
        spine = await bench.connect()
        inside, most, bodies = 0, 0, list[bytes]()

        async def slow(heard: ports.Signal) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            bodies.append(heard.body)
            inside -= 1

        await spine.listen("penstock.order", slow)
        for number in range(100):
            await spine.emit(signal("penstock.order", str(number).encode()))
        await bench.until(lambda: len(bodies) == 100)
        assert bodies == [str(number).encode() for number in range(100)]
        assert most == 1

    async def test_members_of_a_queue_share(self, bench: Bench) -> None:
        clients = [await bench.connect() for _ in range(3)]
        ears = [Ear() for _ in clients]
        aside = Ear()
        for client, ear in zip(clients, ears, strict=True):
            await client.listen("penstock.work", ear.hear, queue="workers")
        await clients[0].listen("penstock.work", aside.hear, queue="others")
        for client in clients[1:]:
            await acquaint(bench, clients[0], client)
        for number in range(60):
            await clients[0].emit(signal("penstock.work", str(number).encode()))
        await bench.until(lambda: sum(len(ear.heard) for ear in ears) == 60 and len(aside.heard) == 60)
        assert sum(1 for ear in ears if ear.heard) >= 2
        assert sorted(body for ear in ears for body in ear.bodies) == sorted(aside.bodies)

    async def test_a_receiver_that_raises_hears_on(self, bench: Bench) -> None:
        spine = await bench.connect()
        ear = Ear()

        async def fail_first(heard: ports.Signal) -> None:
            await ear.hear(heard)
            if len(ear.heard) == 1:
                raise ValueError("the first one")

        await spine.listen("penstock.a", fail_first)
        await spine.emit(signal("penstock.a", b"1"))
        await spine.emit(signal("penstock.a", b"2"))
        await bench.until(lambda: len(ear.heard) == 2)

    async def test_paused_and_closed_listeners_hear_nothing(self, bench: Bench) -> None:
        spine = await bench.connect()
        ear, witness = Ear(), Ear()
        listening = await spine.listen("penstock.a", ear.hear)
        await spine.listen("penstock.a", witness.hear)

        async def say(body: bytes) -> None:
            await spine.emit(signal("penstock.a", body))
            await bench.until(lambda: body in witness.bodies)
            await bench.elapse(0.05)

        listening.pause()
        await say(b"1")
        listening.resume()
        await say(b"2")
        await listening.close()
        await listening.close()
        await say(b"3")
        assert ear.bodies == [b"2"]

    async def test_a_listener_made_before_an_outage_hears_after_it(self, bench: Bench) -> None:
        spine, other = await bench.connect(), await bench.connect()
        ear = Ear()
        await spine.listen("penstock.a", ear.hear)
        await bench.interrupt()
        await bench.restore()

        async def say_until_heard() -> None:
            while not ear.heard:
                await other.emit(signal("penstock.a", b"again"))
                await bench.elapse(0.05)

        await say_until_heard()
        assert ear.bodies[0] == b"again"

    async def test_a_request_gets_its_answer(self, bench: Bench) -> None:
        spine, other = await bench.connect(), await bench.connect()
        await other.listen("penstock.ask", echo(other))
        await acquaint(bench, spine, other)
        answer = await spine.request(signal("penstock.ask", b"\x00\xff", Question="why"), timeout_s=5)
        assert (answer.body, dict(answer.headers)) == (b"\x00\xff", {"Answer-To": "why"})

    async def test_many_requests_each_get_their_own_answer(self, bench: Bench) -> None:
        spine = await bench.connect()
        await spine.listen("penstock.ask", echo(spine), queue="askers")
        answers = await asyncio.gather(
            *(spine.request(signal("penstock.ask", str(n).encode()), timeout_s=5) for n in range(100))
        )
        assert [int(answer.body) for answer in answers] == list(range(100))

    async def test_an_empty_answer_is_an_answer(self, bench: Bench) -> None:
        spine = await bench.connect()

        async def answer(asked: ports.Signal) -> None:
            await spine.emit(signal(asked.reply))

        await spine.listen("penstock.ask", answer)
        assert (await spine.request(signal("penstock.ask"), timeout_s=5)).body == b""

    async def test_a_request_that_nobody_hears_fails_at_once(self, bench: Bench) -> None:
        spine = await bench.connect()
        assert (await unavailability(spine.request(signal("penstock.ask"), timeout_s=30))).code == "no_responders"

    async def test_a_request_that_nobody_answers_times_out(self, bench: Bench) -> None:
        spine = await bench.connect()
        ear = Ear()
        await spine.listen("penstock.ask", ear.hear)
        failed = await bench.result(unavailability(spine.request(signal("penstock.ask"), timeout_s=0.3)))
        assert failed.code == "timeout"
        assert len(ear.heard) == 1
        await spine.emit(signal(ear.heard[0].reply, b"too late"))

    async def test_a_request_in_an_outage_is_unavailable_in_time(self, bench: Bench) -> None:
        spine = await bench.connect(deadline_s=0.5)
        await spine.listen("penstock.ask", echo(spine))
        await bench.interrupt()
        failed = await bench.result(unavailability(spine.request(signal("penstock.ask"), timeout_s=0.3)))
        assert failed.code in {"disconnected", "timeout"}

    async def test_subjects_that_are_none_are_rejected(self, bench: Bench) -> None:
        spine = await bench.connect()
        ear = Ear()
        for subject in ("", "a b", "a..b", "penstock.*", "penstock.>", "a\r\nPUB b 0\r\n"):
            assert (await rejection(spine.emit(signal(subject)))).code == "bad_subject", subject
            assert (await rejection(spine.request(signal(subject), timeout_s=1))).code == "bad_subject", subject
        for pattern in ("", "a b", "a.>.b", "a*"):
            assert (await rejection(spine.listen(pattern, ear.hear))).code == "bad_subject", pattern
        assert (await rejection(spine.emit(signal("a", b"", note="b\nc")))).code == "bad_header"
        assert (await rejection(spine.emit(signal("a", b"x" * (2 << 20))))).code == "too_large"
