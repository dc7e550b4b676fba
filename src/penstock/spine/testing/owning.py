"""Conformance: a durable with one owner at a time, who that is, and which deliveries tell that it may have changed."""

from penstock.spine import consumer, ports, provision
from penstock.spine.testing.bench import STREAM, Bench, Inbox, letter, rejection, write

PIN_TIMEOUT_S = 0.6
OWNED = consumer.ConsumerPolicy(
    "owned", STREAM.name, "tenant.*.letters.>", ack_wait_s=60.0, pin_timeout_s=PIN_TIMEOUT_S
)


class Member:
    """One client's subscription to a durable, acknowledging what it is handed while `acks`."""

    def __init__(self, bench: Bench, spine: ports.Spine, *, acks: bool = True) -> None:
        self.spine, self.inbox, self.acks = spine, Inbox(), acks
        self._bench = bench
        self.subscription: ports.Subscription

    async def join(self, policy: consumer.ConsumerPolicy, *, window: int = 10) -> "Member":
        """Ask for deliveries."""
        self.subscription = await self.spine.consume(policy, self._receive, window=window)
        return self

    def _receive(self, delivery: ports.Delivery) -> None:
        self.inbox(delivery)
        if self.acks:
            self._bench.start(delivery.ack())

    def __len__(self) -> int:
        return len(self.inbox)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the letters that it was handed."""
        return self.inbox.numbers

    @property
    def sessions(self) -> list[int]:
        """The sessions of its deliveries, in the order in which they came."""
        return [delivery.session for delivery in self.inbox.deliveries]


async def pair(bench: Bench, policy: consumer.ConsumerPolicy = OWNED, *, acks: bool = True) -> tuple[Member, Member]:
    """Two clients of one durable; the first was handed letter 0 before the other asked, so it is the owner."""
    spine, _ = await bench.letters(None)
    await provision.durable(spine, policy)
    owner = await Member(bench, await bench.connect_apart(), acks=acks).join(policy)
    await write(spine, [0])
    await bench.until(lambda: len(owner) == 1)
    return owner, await Member(bench, spine).join(policy)


class Owning:
    """Pins and sessions."""

    async def test_one_owner_is_handed_everything_while_it_lives(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        for number in range(1, 40):
            await other.spine.publish(letter(number))
        await bench.until(lambda: len(owner) == 40)
        await bench.elapse(2.5 * PIN_TIMEOUT_S)
        await write(other.spine, range(40, 60))
        await bench.until(lambda: len(owner) == 60)
        assert owner.numbers == list(range(60))
        assert other.numbers == []

    async def test_two_durables_may_have_two_owners(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        second = consumer.ConsumerPolicy("second", STREAM.name, OWNED.filter, pin_timeout_s=PIN_TIMEOUT_S)
        await provision.durable(other.spine, second)
        theirs = await Member(bench, other.spine).join(second)
        await write(other.spine, [1])
        await bench.until(lambda: len(theirs) == 2 and len(owner) == 2)
        assert theirs.numbers == owner.numbers == [0, 1]

    async def test_another_follows_an_owner_that_closes(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        await owner.subscription.close()
        await write(other.spine, range(1, 30))
        await bench.until(lambda: len(other) == 29, within_s=PIN_TIMEOUT_S + 10)
        assert other.numbers == list(range(1, 30))
        assert owner.numbers == [0]

    async def test_an_owner_that_closes_while_letters_come_keeps_none_from_the_next(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        writing = bench.start(write(other.spine, range(1, 200)))
        await bench.until(lambda: len(owner) > 10)
        await owner.subscription.close()
        got = len(owner)
        await bench.until(writing.done)
        # Long before a lease runs out.
        await bench.until(lambda: len(owner) + len(other) == 200)
        assert len(owner) == got
        assert sorted(owner.numbers + other.numbers) == list(range(200))

    async def test_another_follows_an_owner_that_is_gone(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        await bench.cut(owner.spine)
        await write(other.spine, range(1, 30))
        await bench.until(lambda: len(other) == 29, within_s=PIN_TIMEOUT_S + 10)
        assert other.numbers == list(range(1, 30))
        await bench.mend(owner.spine)
        await bench.until(lambda: owner.spine.connected)
        await write(other.spine, range(30, 40))
        await bench.until(lambda: len(other) == 39)
        assert owner.numbers == [0]

    async def test_what_an_owner_that_is_gone_held_goes_to_the_next(self, bench: Bench) -> None:
        short = consumer.ConsumerPolicy("short", STREAM.name, OWNED.filter, ack_wait_s=1.5, pin_timeout_s=PIN_TIMEOUT_S)
        owner, other = await pair(bench, short, acks=False)
        await write(other.spine, [1])
        await bench.until(lambda: len(owner) == 2)
        await bench.cut(owner.spine)
        await bench.until(lambda: len(other) == 2, within_s=10)
        assert sorted(other.numbers) == [0, 1]
        assert [delivery.deliveries for delivery in other.inbox.deliveries] == [2, 2]

    async def test_a_release_moves_the_pin(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        await owner.spine.release(STREAM.name, OWNED.name)
        await write(owner.spine, range(1, 20))
        await bench.until(lambda: len(other) == 19)
        assert owner.numbers == [0]
        await other.spine.release(STREAM.name, OWNED.name)
        await write(owner.spine, range(20, 40))
        await bench.until(lambda: len(owner) == 21)
        assert other.numbers == list(range(1, 20))

    async def test_whoever_is_alone_owns_again_what_is_released(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await provision.durable(spine, OWNED)
        alone = await Member(bench, spine).join(OWNED)
        for number in range(4):
            await write(spine, [number])
            await bench.until(lambda number=number: len(alone) == number + 1)
            await spine.release(STREAM.name, OWNED.name)
        assert alone.numbers == [0, 1, 2, 3]
        assert alone.sessions == sorted(set(alone.sessions))

    async def test_a_release_of_what_nobody_owns_does_nothing(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await provision.durable(spine, OWNED)
        await spine.release(STREAM.name, OWNED.name)
        await spine.release(STREAM.name, policy.name)
        assert (await rejection(spine.release(STREAM.name, "nobody"))).code == "no_consumer"
        assert (await rejection(spine.release("NOWHERE", "nobody"))).code == "no_stream"
        member = await Member(bench, spine).join(OWNED)
        await write(spine, [1])
        await bench.until(lambda: len(member) == 1)

    async def test_a_window_that_is_full_for_long_keeps_the_pin(self, bench: Bench) -> None:
        owner, other = await pair(bench, acks=False)
        await write(other.spine, range(1, 30))
        await bench.until(lambda: len(owner) == 10)
        await bench.elapse(4 * PIN_TIMEOUT_S)
        assert owner.numbers == list(range(10))
        assert other.numbers == []
        owner.acks = True
        await owner.inbox.ack_all()
        await bench.until(lambda: len(owner) == 30)
        assert owner.numbers == list(range(30))
        assert set(owner.sessions) == {owner.sessions[0]}

    async def test_a_durable_that_holds_all_it_may_keeps_its_owner(self, bench: Bench) -> None:
        policy = consumer.ConsumerPolicy(
            "few", STREAM.name, OWNED.filter, concurrency=2, max_ack_pending=3, pin_timeout_s=PIN_TIMEOUT_S
        )
        owner, other = await pair(bench, policy, acks=False)
        await write(other.spine, range(1, 9))
        await bench.until(lambda: len(owner) == 3)
        await bench.elapse(3 * PIN_TIMEOUT_S)
        assert (owner.numbers, other.numbers) == ([0, 1, 2], [])
        owner.acks = True
        await owner.inbox.ack_all()
        await bench.until(lambda: len(owner) == 9)
        assert owner.numbers == list(range(9))

    async def test_a_paused_owner_keeps_the_pin_until_it_is_released(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        owner.subscription.pause()
        await write(other.spine, range(1, 30))
        await bench.elapse(2.5 * PIN_TIMEOUT_S)
        assert other.numbers == []
        had = len(owner)
        await owner.spine.release(STREAM.name, OWNED.name)
        await bench.until(lambda: len(other) == 30 - had)
        assert owner.numbers + other.numbers == list(range(30))

    async def test_the_window_of_an_owner_is_never_exceeded(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await provision.durable(spine, OWNED)
        member = await Member(bench, spine, acks=False).join(OWNED, window=3)
        await write(spine, range(20))
        for handed in range(3, 20, 2):
            await bench.until(lambda handed=handed: len(member) == handed)
            await bench.elapse(0.5 * PIN_TIMEOUT_S)
            assert len(member) == handed
            for delivery in member.inbox.deliveries[handed - 3 : handed - 1]:
                await delivery.ack()
        assert member.numbers == list(range(19))

    async def test_a_session_ends_with_its_owner_and_not_before(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        await write(other.spine, range(1, 25))
        await bench.until(lambda: len(owner) == 25)
        owner.subscription.pause()
        await bench.elapse(2 * PIN_TIMEOUT_S)
        owner.subscription.resume()
        await write(other.spine, [25])
        await bench.until(lambda: len(owner) == 26)
        assert set(owner.sessions) == {owner.sessions[0]}
        await other.spine.release(STREAM.name, OWNED.name)
        await write(other.spine, range(26, 30))
        await bench.until(lambda: len(other) == 4)
        await other.spine.release(STREAM.name, OWNED.name)
        await write(other.spine, [30])
        await bench.until(lambda: len(owner) == 27)
        assert owner.sessions[-1] > owner.sessions[0]
        assert set(other.sessions) == {other.sessions[0]}

    async def test_redelivery_begins_no_session(self, bench: Bench) -> None:
        for policy in (consumer.ConsumerPolicy("plain", STREAM.name, OWNED.filter), OWNED):
            spine, _ = await bench.letters(None)
            await provision.durable(spine, policy)
            member = await Member(bench, spine, acks=False).join(policy)
            await write(spine, [1])
            await bench.until(lambda member=member: len(member) == 1)
            await member.inbox.deliveries[0].retry(0)
            await bench.until(lambda member=member: len(member) == 2)
            assert member.sessions[0] == member.sessions[1] > 0
            await member.subscription.close()

    async def test_an_outage_begins_a_session(self, bench: Bench) -> None:
        # The second is handed what was written for the first, too: so each waits for numbers of its own.
        for number, policy in ((1, consumer.ConsumerPolicy("plain", STREAM.name, OWNED.filter)), (3, OWNED)):
            spine, _ = await bench.letters(None)
            await provision.durable(spine, policy)
            member = await Member(bench, spine).join(policy)
            await _hand_over(bench, member, letter(number))
            await bench.interrupt()
            await bench.restore()
            await _hand_over(bench, member, letter(number + 1))
            assert member.sessions[-1] > member.sessions[0]
            await member.subscription.close()

    async def test_what_keeps_the_pin_does_not_show_in_the_headers(self, bench: Bench) -> None:
        owner, other = await pair(bench)
        await write(other.spine, [1])
        await bench.until(lambda: len(owner) == 2)
        assert [dict(delivery.headers) for delivery in owner.inbox.deliveries] == [
            {"Nats-Msg-Id": "acme:a:0"},
            {"Nats-Msg-Id": "acme:a:1"},
        ]


async def _hand_over(bench: Bench, member: Member, message: ports.Outgoing) -> None:
    await bench.result(member.spine.publish(message))
    await bench.until(lambda: int(message.body) in member.numbers)
