"""The gate: what passes when, and the law of order over a played server whose owners die, sleep and come back."""

import dataclasses
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.spine import gate


def closed(*waiting: int) -> gate.Gate[str]:
    made: gate.Gate[str] = gate.Gate()
    assert made.see(1)
    for sequence in waiting:
        made.hold(sequence, f"m{sequence}")
    return made


def asked(made: gate.Gate[str], *held: int) -> gate.Question:
    question = made.ask(frozenset(held))
    assert question is not None
    return question


def test_only_the_first_delivery_of_a_session_closes_the_gate() -> None:
    made: gate.Gate[str] = gate.Gate()
    assert made.ask(frozenset()) is None
    assert [made.see(session) for session in (1, 1, 2, 2)] == [True, False, True, False]
    assert made.closed


def test_what_waited_passes_in_order_once_exactly_what_is_held_is_un_acked() -> None:
    made = closed(9, 5, 7)
    question = asked(made, 5, 7, 9)
    assert made.answer(question, held={5, 7, 9}, floor=2, un_acked=4) == []
    assert made.closed
    assert made.answer(question, held={5, 7, 9}, floor=2, un_acked=3) == ["m5", "m7", "m9"]
    assert not made.closed
    assert made.ask(frozenset()) is None


def test_what_came_after_the_question_does_not_stand_in_for_what_is_elsewhere() -> None:
    made = closed(8)
    question = asked(made, 8)
    made.hold(9, "m9")
    assert made.answer(question, held={8, 9}, floor=0, un_acked=2) == []


def test_what_the_worker_still_has_counts_as_held() -> None:
    made = closed(8)
    assert made.answer(asked(made, 5, 8), held={5, 8}, floor=4, un_acked=2) == ["m8"]


def test_what_was_settled_elsewhere_does_not_stand_in_for_what_is_missing() -> None:
    made = closed(5, 8)
    question = asked(made, 5, 8)
    assert made.answer(question, held={5, 8}, floor=6, un_acked=2) == []
    assert made.answer(question, held={5, 8}, floor=7, un_acked=1) == ["m5", "m8"]


def test_an_answer_of_an_earlier_session_opens_nothing() -> None:
    made = closed(5)
    question = asked(made, 5)
    made.see(2)
    assert made.answer(question, held={5}, floor=0, un_acked=1) == []
    assert not made.surplus(question, held={5}, floor=0, un_acked=0)


def test_more_held_than_un_acked_is_told() -> None:
    made = closed(5, 8)
    assert made.surplus(asked(made, 5, 8), held={5, 8}, floor=0, un_acked=1)


# What follows plays a durable with one owner at a time: messages of one range, a server that hands each of them out
# under a lease, and processes that each have a gate and lanes. Time is in ticks.

LEASE, PIN, MOST, KEYS, CLOSED_FOR_LONG = 4, 2, 6, 2, 15


@dataclasses.dataclass(eq=False)
class Item:
    sequence: int
    leased_at: int
    running: bool = False


class Process:
    """What `intake` and `worker` do with a gate, without their I/O."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.awake = self.connected = True
        self.session, self.awake_at, self.away = 1, 0, 0
        self.arriving: list[tuple[int, int]] = []
        self.begin_anew()
        self.question: gate.Question | None = None
        self.floor = self.un_acked = 0
        self.closed_for = 0
        self.finished: set[int] = set()

    def begin_anew(self) -> None:
        """As after a crash, or with a new subscription: nothing is known."""
        self.gate: gate.Gate[Item] = gate.Gate()
        self.held: dict[int, Item] = {}
        self.lanes: dict[int, list[Item]] = {key: [] for key in range(KEYS)}

    @property
    def asks(self) -> bool:
        return self.awake and self.connected


class World:
    """The server, the processes, and the order in which messages were first begun, by key."""

    def __init__(self) -> None:
        self.now = self.last = self.position = 0
        self.un_acked: dict[int, int] = {}
        self.again: list[int] = []
        self.owner: Process | None = None
        self.processes = [Process(name) for name in range(2)]
        self.begun: list[int] = []

    # What the server does.

    @property
    def floor(self) -> int:
        return min(self.un_acked, default=self.position + 1) - 1

    def deliver(self, process: Process) -> None:
        if self.owner is None and process.asks:
            self.owner = process
            process.session += 1
        if self.owner is not process or len(process.arriving) + len(process.held) >= 2 * MOST:
            return
        if self.again:
            sequence = self.again.pop(0)
        elif len(self.un_acked) < MOST and self.position < self.last:
            self.position = sequence = self.position + 1
        else:
            return
        self.un_acked[sequence] = self.now + LEASE
        if process.connected:
            process.arriving.append((sequence, process.session))

    def ack(self, sequence: int) -> None:
        self.un_acked.pop(sequence, None)
        if sequence in self.again:
            self.again.remove(sequence)

    def tick(self) -> None:
        self.now += 1
        for sequence, until in list(self.un_acked.items()):
            if until <= self.now and sequence not in self.again:
                self.again.append(sequence)
        for process in self.processes:
            process.away = 0 if process.asks else process.away + 1
            if process.awake:
                process.awake_at = self.now
            if process.asks:
                for item in process.held.values():
                    if not self.lapsed(item):
                        item.leased_at = self.now
                        if item.sequence in self.un_acked and item.sequence not in self.again:
                            self.un_acked[item.sequence] = self.now + LEASE
            process.closed_for = process.closed_for + 1 if process.asks and len(process.gate) else 0
            if process.closed_for > CLOSED_FOR_LONG:
                self.give_back(process)
        if self.owner is not None and self.owner.away >= PIN:
            self.owner = None

    # What processes do.

    def lapsed(self, item: Item) -> bool:
        return self.now - item.leased_at >= LEASE

    def sure(self, process: Process) -> frozenset[int]:
        return frozenset(sequence for sequence, item in process.held.items() if not self.lapsed(item))

    def read(self, process: Process) -> None:
        if not process.awake or not process.arriving:
            return
        sequence, session = process.arriving.pop(0)
        if sequence in process.finished:
            process.finished.discard(sequence)
            self.ack(sequence)
            return
        known = process.held.get(sequence)
        process.gate.see(session)
        if known is not None:
            known.leased_at = max(known.leased_at, process.awake_at)
            return
        item = process.held[sequence] = Item(sequence, process.awake_at)
        if process.gate.closed:
            process.gate.hold(sequence, item)
        else:
            process.lanes[sequence % KEYS].append(item)

    def ask(self, process: Process) -> None:
        """The question is put, and the floor read."""
        process.question = process.gate.ask(self.sure(process)) if process.asks else None
        process.floor, process.un_acked = self.floor, -1

    def count(self, process: Process) -> None:
        """The server counts, some time later."""
        process.un_acked = len(self.un_acked) if process.question is not None else -1

    def hear(self, process: Process) -> None:
        """The answer arrives, later still."""
        question, process.question = process.question, None
        if question is None or process.un_acked < 0 or not process.asks:
            return
        held, floor, un_acked = self.sure(process), process.floor, process.un_acked
        for item in process.gate.answer(question, held=held, floor=floor, un_acked=un_acked):
            process.lanes[item.sequence % KEYS].append(item)

    def begin(self, process: Process, key: int) -> None:
        lane = process.lanes[key]
        if not process.awake or not lane or lane[0].running:
            return
        if self.lapsed(lane[0]):
            self.lapse(process)
            return
        lane[0].running = True
        if lane[0].sequence not in self.begun:
            self.begun.append(lane[0].sequence)

    def lapse(self, process: Process) -> None:
        """Everything not begun is dropped, and asking begins anew."""
        running = [lane[0] for lane in process.lanes.values() if lane and lane[0].running]
        process.begin_anew()
        process.arriving.clear()
        process.session += 1
        for item in running:
            process.held[item.sequence] = item
            process.lanes[item.sequence % KEYS].append(item)

    def give_back(self, process: Process) -> None:
        """What waits for too long goes to the owner, who may be somebody else by now."""
        process.closed_for = 0
        for item in process.gate.clear():
            process.held.pop(item.sequence, None)
            if not self.lapsed(item) and item.sequence in self.un_acked and item.sequence not in self.again:
                self.again.append(item.sequence)

    def finish(self, process: Process, key: int) -> None:
        lane = process.lanes[key]
        if not process.awake or not lane or not lane[0].running:
            return
        item = lane.pop(0)
        if process.held.get(item.sequence) is item:
            del process.held[item.sequence]
        if self.lapsed(item):
            process.finished.add(item.sequence)
        elif process.connected:
            self.ack(item.sequence)

    # The same in larger steps, so that longer stories are told.

    def serve(self, process: Process) -> None:
        for _ in range(2):
            self.deliver(process)
            self.read(process)

    def look(self, process: Process) -> None:
        self.ask(process)
        self.count(process)
        self.hear(process)

    def work(self, process: Process, key: int) -> None:
        self.begin(process, key)
        self.finish(process, key)

    # What happens to processes.

    def sleep_or_wake(self, process: Process) -> None:
        process.awake = not process.awake
        if process.awake and self.now - process.awake_at >= LEASE:
            while process.arriving:  # read before anything else runs; `lease.Pulse` dates it before the sleep
                self.read(process)
            self.lapse(process)

    def cut_or_mend(self, process: Process) -> None:
        process.connected = not process.connected
        process.arriving.clear()
        process.session += process.connected

    def crash(self, process: Process) -> None:
        process.begin_anew()
        process.arriving.clear()
        process.finished.clear()
        process.awake = process.connected = True
        process.session += 1
        if self.owner is process:
            self.owner = None

    def release(self, _: Process) -> None:
        self.owner = None

    def publish(self) -> None:
        self.last += 1


ORDINARY = (
    "publish",
    "publish",
    "serve",
    "serve",
    "deliver",
    "read",
    "look",
    "look",
    "ask",
    "count",
    "hear",
    "work",
    "finish",
)
TROUBLE = ("tick", "begin", "sleep_or_wake", "cut_or_mend", "crash", "release")
ALONE = {"publish", "tick"}
KEYED = {"begin", "finish", "work"}


def step(world: World, what: str, who: int, key: int) -> None:
    arguments: list[object] = [] if what in ALONE else [world.processes[who]]
    getattr(world, what)(*arguments, *([key] if what in KEYED else []))


def assert_ordered(begun: Sequence[int]) -> None:
    for key in range(KEYS):
        of_key = [sequence for sequence in begun if sequence % KEYS == key]
        assert of_key == sorted(of_key)


def story(text: str) -> list[tuple[str, int, int]]:
    """`what` of the first process, `what/key`, or `what@who`."""
    steps: list[tuple[str, int, int]] = []
    for word in text.split():
        what, _, key = word.partition("/")
        what, _, who = what.partition("@")
        steps.append((what, int(who or 0), int(key or 0)))
    return steps


FIVE = "publish publish publish publish publish deliver read look begin/1 "
LOST_BEHIND_WHAT_IS_RUNNING = story(FIVE + "deliver deliver cut_or_mend cut_or_mend deliver read look work/0")
ONE_MORE_AFTER_THE_COUNT = story(
    "publish publish publish publish publish deliver cut_or_mend cut_or_mend deliver read ask count deliver read hear "
    "work/1"
)
TWO_WAIT_FOR_EACH_OTHER = story("publish publish deliver@1 release")


@example(LOST_BEHIND_WHAT_IS_RUNNING)
@example(ONE_MORE_AFTER_THE_COUNT)
@example(TWO_WAIT_FOR_EACH_OTHER)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ORDINARY + TROUBLE), st.integers(0, 1), st.integers(0, KEYS - 1)), max_size=250)
)
def test_law_first_times_are_in_order_whoever_owns_and_nothing_is_stuck(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for what, who, key in steps:
        step(world, what, who, key)
    assert_ordered(world.begun)
    for process in world.processes:
        if not process.awake:
            world.sleep_or_wake(process)
        if not process.connected:
            world.cut_or_mend(process)
    rounds = 0
    while world.un_acked or world.position < world.last:
        rounds += 1
        assert rounds < 500, "stuck"
        world.tick()
        for process in world.processes:
            for what in ("deliver",) * MOST + ("read",) * 2 * MOST + ("ask", "count", "hear"):
                step(world, what, process.name, 0)
            for key in range(KEYS):
                for _ in range(MOST):
                    world.begin(process, key)
                    world.finish(process, key)
    assert_ordered(world.begun)
    assert sorted(world.begun) == list(range(1, world.last + 1))
