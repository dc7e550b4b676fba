"""One durable as one process takes from it: what it holds, in an order that is safe to handle, and how it lets go.

With a gate (a durable with one owner at a time) nothing is handed on while an older message may be in other hands.
When a lease has certainly run out by our own clock, whatever was not begun is dropped without a word, because somebody
else has it or the server will deliver it again, and asking begins anew: what is on its way may be as old.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from penstock.base import errors, tasks, telemetry
from penstock.spine import consumer, gate, lease, ports

FIRST_QUESTION_S: Final = 0.005
LAST_QUESTION_S: Final = 1.0
LONG_S: Final = 20.0
"""A gate that is closed for longer than a lease, and some, is worth a line in the log."""

GATE_PATIENCE_S: Final = 0.5
"""How long whoever lets go waits for a gate to open: longer than to ask once, shorter than anybody's lease."""

_log = telemetry.logger("spine.intake")

redelivered = telemetry.counter(
    "penstock_deliveries_again_total",
    labels=("consumer", "how"),
    meaning="Deliveries that needed no handler: held (the message is here already), finished (it was done here, too "
    "late to say so), lapsed (its lease ran out before it was begun).",
    remedy="Leases run out: the process stalls (a handler that blocks the event loop, a machine that sleeps), or NATS "
    "was away.",
)
closed = telemetry.gauge(
    "penstock_gates_closed",
    labels=("consumer",),
    meaning="Ranges that hold newer messages back because older ones may be in other hands.",
    remedy="For seconds after a take-over: nothing. For longer: a former owner still works on what it had (look for "
    "its slow handler), or the process cannot ask the server (look at NATS and at permissions).",
)
waited = telemetry.histogram(
    "penstock_gate_seconds",
    labels=("consumer",),
    meaning="Seconds for which a range held newer messages back.",
    remedy="About ack_wait_s after a crash is as good as it gets; after an orderly stop it should be milliseconds.",
)

HandOn = Callable[[lease.Held], None]


class Intake:
    """This process's part in one durable.

    `hand_on` gets each message once, in order; `is_stuck` says of one whether it stands behind a pause; `pulse` when
    the process was awake.
    """

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        hand_on: HandOn,
        *,
        window: int,
        is_stuck: Callable[[lease.Held], bool],
        pulse: lease.Pulse,
    ) -> None:
        self._spine, self.policy, self._hand_on = spine, policy, hand_on
        self._window, self._is_stuck, self._pulse = window, is_stuck, pulse
        self._name = consumer.consumer_of(policy.name)
        self.held = lease.Holding(policy.ack_wait_s, changed=self._changed, lapse=self.lapse)
        self._gate: gate.Gate[lease.Held] | None = gate.Gate() if policy.pin_timeout_s else None
        self._subscription: ports.Subscription | None = None
        self._tasks = tasks.Tasks()
        self._settled = asyncio.Event()
        self._generation, self._asked_at_s, self._closed_at_s = 0, 0.0, 0.0
        self._surplus_since_s = 0.0
        self._questions: asyncio.Task[None] | None = None
        self._renewing = self._paused = False

    @property
    def gated(self) -> bool:
        """Whether messages wait here because older ones may be in other hands."""
        return self._gate is not None and len(self._gate) > 0

    async def start(self) -> None:
        """Ask for messages. Raises Rejected `no_stream` or `no_consumer`."""
        self._generation += 1
        generation = self._generation

        def receive(delivery: ports.Delivery) -> None:
            self._receive(delivery, generation)

        self._asked_at_s = time.monotonic()
        self._subscription = await self._spine.consume(self.policy, receive, window=self._window)
        if self._paused:
            self._subscription.pause()

    def pause(self) -> None:
        """Ask for nothing more."""
        self._paused = True
        if self._subscription is not None:
            self._subscription.pause()

    def resume(self) -> None:
        """Ask again."""
        self._paused = False
        if self._subscription is not None:
            self._subscription.resume()

    def _receive(self, delivery: ports.Delivery, generation: int) -> None:
        if generation != self._generation:
            return  # nobody counts on it: what its subscription brought was dropped
        if self.held.was_finished(delivery):
            redelivered.labels(self._name, "finished").inc()
            self._tasks.once(f"{self.policy.name} finished", delivery.ack())
            return
        item = self.held.add(delivery, max(self._pulse.awake_at_s, self._asked_at_s))
        if self._gate is not None and self._gate.see((generation << 32) + delivery.session):
            self._close()
        if item is None:
            redelivered.labels(self._name, "held").inc()
        elif self._gate is not None and self._gate.closed:
            self._gate.hold(delivery.sequence, item)
        else:
            self._hand_on(item)

    def _close(self) -> None:
        """A session has begun: ask the server what is un-acked, until it is what is held here."""
        if self._questions is None:
            self._closed_at_s = self._surplus_since_s = time.monotonic()
            closed.labels(self._name).inc()
            self._questions = self._tasks.once(f"{self.policy.name} gate", self._question())
            self._questions.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Task[None]) -> None:
        self._questions = None
        closed.labels(self._name).dec()
        waited.labels(self._name).observe(time.monotonic() - self._closed_at_s)

    async def _question(self) -> None:
        pause_s, said, given_back_at_s = FIRST_QUESTION_S, False, time.monotonic()
        while self._gate is not None and (question := self._gate.ask(self.held.sequences)) is not None:
            if self._subscription is None:
                return  # let go of: what comes after a new start begins a session
            await self._ask(self._gate, question)
            if not self._gate.closed:
                return
            now_s = time.monotonic()
            if not said and now_s - self._closed_at_s > max(LONG_S, 2 * self.policy.ack_wait_s):
                said = True
                _log.warning("older messages are in other hands", durable=self.policy.name, held=len(self.held))
            if now_s - given_back_at_s > self.policy.deadline_s:
                # No handler can be at it for so long: whoever else asks for this range waits for what waits here.
                given_back_at_s = now_s
                await self._give_back_waiting()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_QUESTION_S)

    async def _ask(self, closed_gate: gate.Gate[lease.Held], question: gate.Question) -> None:
        stream, name = self.policy.stream, self.policy.name
        try:
            floor = await self._spine.floor(stream, name)
            _, un_acked = await self._spine.backlog(stream, name)
        except Exception as error:  # noqa: BLE001 - a gate for which nobody asks stays closed for ever
            _log.warning("gate cannot ask", durable=name, error=f"{error}")
            return
        held, now_s = self.held.sequences, time.monotonic()
        for item in closed_gate.answer(question, held=held, floor=floor, un_acked=un_acked):
            self._hand_on(item)
        if not closed_gate.surplus(question, held=held, floor=floor, un_acked=un_acked):
            self._surplus_since_s = now_s
        elif now_s - self._surplus_since_s > self.policy.ack_wait_s / 2:
            self.lapse()

    async def keep_leases(self) -> None:
        """Renew what has been held for a third of a lease. Nobody hears it while the connection is away."""
        for item in self.held.older_than(self.policy.ack_wait_s / 3):
            if self._spine.connected:
                await item.extend()

    def look_at_leases(self) -> None:
        """Notice what lapsed before it was begun, also while nobody takes it up."""
        if any(item.lapsed and not item.running for item in self.held.items):
            self.lapse()

    def lapse(self) -> None:
        """A lease has run out: drop all that was not begun, now, and ask anew."""
        ours = self._drop()
        if self._renewing or self._subscription is None:
            self._tasks.once(f"{self.policy.name} give back", self._give_back(ours))
            return
        self._renewing = True
        self._generation += 1  # the old subscription's deliveries are none of ours from here on
        self._tasks.once(f"{self.policy.name} anew", self._renew(ours))

    def _drop(self) -> list[lease.Held]:
        """Nothing that was not begun shall be; returns what is still ours to give back."""
        if self._gate is not None:
            self._gate.clear()
        dropped = [item for item in self.held.items if not item.running]
        for item in dropped:
            item.dropped = True
            self.held.remove(item)
        ours = [item for item in dropped if not item.lapsed]
        redelivered.labels(self._name, "lapsed").inc(len(dropped) - len(ours))
        return ours

    async def _renew(self, given_back: list[lease.Held]) -> None:
        _log.warning("leases ran out", durable=self.policy.name, given_back=len(given_back))
        failures = 0
        try:
            await self._give_back(given_back)
            while self._subscription is not None:
                try:
                    await self._subscription.close()
                    await self.start()
                    return
                except errors.PenstockError as error:
                    failures += 1
                    _log.warning("cannot ask anew", durable=self.policy.name, code=error.code)
                    await asyncio.sleep(tasks.backoff_s(failures))
        finally:
            self._renewing = False

    async def stop_asking(self) -> int:
        """Take nothing new, until `start`; what waits for older messages goes back. Returns how many that were."""
        if self._questions is not None and self._subscription is not None:
            self._subscription.pause()
            await asyncio.wait({self._questions}, timeout=GATE_PATIENCE_S)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        return await self._give_back_waiting()

    async def _give_back_waiting(self) -> int:
        waiting = self._gate.clear() if self._gate is not None else []
        for item in waiting:
            item.dropped = True
            self.held.remove(item)
        await self._give_back(waiting)
        return len(waiting)

    async def idle(self, patience_s: float) -> bool:
        """Wait until nothing is held, or only what stands behind a pause; False when that took too long."""
        try:
            async with asyncio.timeout(patience_s):
                while not all(self._is_stuck(item) for item in self.held.items):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def finish(self) -> None:
        """Give back what no handler has, and wait for those that have something."""
        while len(self.held):
            self._settled.clear()
            await self.give_back(running=False)
            if len(self.held):
                await self._settled.wait()

    async def give_back(self, *, running: bool) -> int:
        """Let others have what is held, and what is being handled too if `running`; returns how many that were."""
        left = [item for item in self.held.items if running or not item.running]
        for item in left:
            item.dropped = True
            self.held.remove(item)
        await self._give_back(left)
        return len(left)

    async def _give_back(self, items: list[lease.Held]) -> None:
        for item in items:
            try:
                await item.give_back()
            except errors.PenstockError as error:
                _log.info("not given back", durable=self.policy.name, code=error.code)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._tasks.stop()

    def _changed(self) -> None:
        self._settled.set()
