"""Keeps the gate of one durable: asks the server what is un-acked, until it is what is held here (`gate` says why).

Asks at once when a session begins, and then at growing intervals; again at once when older messages arrive.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from penstock.base import tasks, telemetry
from penstock.spine import consumer, gate, lease, ports

FIRST_QUESTION_S: Final = 0.005
LAST_QUESTION_S: Final = 1.0
LONG_S: Final = 20.0
"""A gate that is closed for longer than a lease, and some, is worth a line in the log."""

_log = telemetry.logger("spine.gatekeeper")

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


class Gatekeeper:
    """Between the deliveries of one durable and `hand_on`, which gets each message once, in order.

    `held` is everything held of the durable. `give_back` is called when what waits here has waited for longer than any
    handler may take.
    """

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        hand_on: HandOn,
        *,
        held: lease.Holding,
        give_back: Callable[[], None],
    ) -> None:
        self._spine, self._policy, self._hand_on = spine, policy, hand_on
        self._held, self._give_back = held, give_back
        self._gate: gate.Gate[lease.Held] = gate.Gate()
        self._name = consumer.consumer_of(policy.name)
        self._tasks = tasks.Tasks()
        self._asking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._closed_at_s = self._surplus_since_s = 0.0

    def __len__(self) -> int:
        return len(self._gate)

    def arrive(self, session: int, delivery: ports.Delivery, item: lease.Held | None) -> None:
        """A delivery; `item` is None when its message is held already."""
        if self._gate.see(session):
            self._close()
        if delivery.deliveries > 1:
            self._hurry.set()
        if item is None:
            return
        if self._gate.closed:
            self._gate.hold(delivery.sequence, item)
        else:
            self._hand_on(item)

    def clear(self) -> list[lease.Held]:
        """Take out everything that waits, in the order of the stream."""
        return self._gate.clear()

    async def opened(self, patience_s: float) -> None:
        """Return when the gate is open, or after `patience_s`."""
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=patience_s)

    def stop(self) -> None:
        """Ask no more until the next session: nothing arrives any more."""
        if self._asking is not None:
            self._asking.cancel()

    async def close(self) -> None:
        """End what runs in the background."""
        await self._tasks.stop()

    def _close(self) -> None:
        self._hurry.set()
        if self._asking is None or self._asking.done() or self._asking.cancelling():
            self._closed_at_s = self._surplus_since_s = time.monotonic()
            closed.labels(self._name).inc()
            self._asking = self._tasks.once(f"{self._policy.name} gate", self._ask_until_open())
            self._asking.add_done_callback(self._asked)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        if self._asking is asking:
            self._asking = None
        closed.labels(self._name).dec()
        waited.labels(self._name).observe(time.monotonic() - self._closed_at_s)

    async def _ask_until_open(self) -> None:
        pause_s, said, given_back_at_s = FIRST_QUESTION_S, False, time.monotonic()
        while (question := self._gate.ask(self._held.sequences)) is not None:
            self._hurry.clear()
            await self._ask(question)
            if not self._gate.closed:
                return
            now_s = time.monotonic()
            if not said and now_s - self._closed_at_s > max(LONG_S, 2 * self._policy.ack_wait_s):
                said = True
                _log.warning("older messages are in other hands", durable=self._policy.name, held=len(self._held))
            if now_s - given_back_at_s > self._policy.deadline_s:
                # No handler can be at it for so long: whoever else asks for this range waits for what waits here.
                given_back_at_s = now_s
                self._give_back()
            pause_s = await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> float:
        """Wait, less when older messages or a session arrive; returns how long to wait the next time."""
        await asyncio.sleep(FIRST_QUESTION_S)
        try:
            async with asyncio.timeout(pause_s - FIRST_QUESTION_S):
                await self._hurry.wait()
        except TimeoutError:
            return min(2 * pause_s, LAST_QUESTION_S)
        return FIRST_QUESTION_S

    async def _ask(self, question: gate.Question) -> None:
        stream, name = self._policy.stream, self._policy.name
        try:
            await self._held.verify()
            floor = await self._spine.floor(stream, name)
            _, un_acked = await self._spine.backlog(stream, name)
        except Exception as error:  # noqa: BLE001 - a gate for which nobody asks stays closed for ever
            _log.warning("gate cannot ask", durable=name, error=f"{error}")
            return
        held, now_s = self._held.sequences, time.monotonic()
        for item in self._gate.answer(question, held=held, floor=floor, un_acked=un_acked):
            self._hand_on(item)
        if not self._gate.surplus(question, held=held, floor=floor, un_acked=un_acked):
            self._surplus_since_s = now_s
        elif now_s - self._surplus_since_s > self._policy.ack_wait_s / 2:
            self._held.lapse()
