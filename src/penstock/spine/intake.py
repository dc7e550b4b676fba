"""One durable as one process takes from it: what it holds, in an order that is safe to handle, and how it lets go.

With a gate (a durable with one owner at a time) nothing is handed on while an older message may be in other hands.
When a lease has certainly run out by our own clock, whatever was not begun is dropped without a word, because somebody
else has it or the server will deliver it again, and asking begins anew: what is on its way may be as old.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from penstock.base import errors, tasks, telemetry
from penstock.spine import consumer, gatekeeper, lease, origin, ports, reaction

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


class Intake:
    """This process's part in one durable.

    `hand_on` gets each message once, in order; `is_stuck` says of one whether it stands behind a pause; `pulse` when
    the process was awake.
    """

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        hand_on: gatekeeper.HandOn,
        *,
        window: int,
        is_stuck: Callable[[lease.Held], bool],
        pulse: lease.Pulse,
    ) -> None:
        self._spine, self.policy, self._hand_on = spine, policy, hand_on
        self._window, self._is_stuck, self._pulse = window, is_stuck, pulse
        self._name = consumer.consumer_of(policy.name)
        self._origin = origin.Origin(spine, policy.stream)
        self.held = lease.Holding(policy.ack_wait_s, self._origin, changed=self._changed, lapse=self.lapse)
        self._tasks = tasks.Tasks()
        self._keeper: gatekeeper.Gatekeeper | None = None
        if policy.pin_timeout_s:
            self._keeper = gatekeeper.Gatekeeper(spine, policy, hand_on, held=self.held, give_back=self._give_back_late)
        self._subscription: ports.Subscription | None = None
        self._settled = asyncio.Event()
        self._generation, self._asked_at_s = 0, 0.0
        self._wanted = self._renewing = self._paused = False

    @property
    def waiting(self) -> int:
        """Deliveries that wait behind the gate; none of a durable without one."""
        return len(self._keeper) if self._keeper is not None else 0

    async def start(self) -> None:
        """Ask for messages. Raises Rejected `no_stream` or `no_consumer`."""
        self._wanted = True
        await self._subscribe()

    async def _subscribe(self) -> None:
        self._generation += 1
        generation = self._generation

        def receive(delivery: ports.Delivery) -> None:
            self._receive(delivery, generation)

        self._asked_at_s = lease.now_s()
        made = await self._spine.consume(self.policy, receive, window=self._window)
        if not self._wanted or generation != self._generation:  # let go of, or begun anew, meanwhile
            await made.close()
            return
        self._subscription = made
        if self._paused:
            made.pause()

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
        session = (generation << 32) + delivery.session
        self._origin.arrive(session)
        if self.held.was_finished(delivery):
            redelivered.labels(self._name, "finished").inc()
            self._tasks.once(f"{self.policy.name} finished", delivery.ack())
            return
        item = self.held.add(delivery, max(self._pulse.awake_at_s, self._asked_at_s))
        if item is None:
            redelivered.labels(self._name, "held").inc()
        if self._keeper is not None:
            self._keeper.arrive(session, delivery, item)
        elif item is not None:
            self._hand_on(item)

    async def keep_leases(self) -> None:
        """Renew what has been held for a third of a lease. Nobody hears it while the connection is away."""
        # Those in doubt last, for asking about them takes time that the others may not have.
        for item in sorted(self.held.older_than(self.policy.ack_wait_s / 3), key=lambda item: item.doubtful):
            try:
                if self._spine.connected and (not item.doubtful or await item.is_kept()):
                    await item.extend()
            except errors.Unavailable as error:
                with reaction.told_of(item.delivery):
                    _log.info("lease not renewed", durable=self.policy.name, code=error.code)
                return

    def look_at_leases(self) -> None:
        """Notice what lapsed before it was begun, also while nobody takes it up."""
        if any(item.lapsed and not item.running for item in self.held.items):
            self.lapse()

    def lapse(self) -> None:
        """A lease has run out: drop all that was not begun, now, and ask anew."""
        ours = self._drop()
        if self._renewing or not self._wanted:
            self._tasks.once(f"{self.policy.name} give back", self._give_back(ours))
            return
        self._renewing = True
        self._generation += 1  # the old subscription's deliveries are none of ours from here on
        self._tasks.once(f"{self.policy.name} anew", self._renew(ours))

    def _drop(self) -> list[lease.Held]:
        """Nothing that was not begun shall be; returns what is still ours to give back."""
        if self._keeper is not None:
            self._keeper.clear()
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
            while self._wanted:
                try:
                    if self._subscription is not None:
                        await self._subscription.close()
                    return await self._subscribe()
                except Exception as error:  # noqa: BLE001 - a durable that nobody asks is ours for ever
                    failures += 1
                    _log.warning("cannot ask anew", durable=self.policy.name, error=f"{error}")
                    await asyncio.sleep(tasks.backoff_s(failures))
        finally:
            self._renewing = False

    async def stop_asking(self) -> int:
        """Take nothing new, until `start`; what waits for older messages goes back. Returns how many that were."""
        if self._keeper is not None and self._subscription is not None:
            self._subscription.pause()
            await self._keeper.opened(GATE_PATIENCE_S)
            self._keeper.stop()
        self._wanted = False
        self._generation += self._renewing  # what a renewed subscription may still bring is none of ours
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        return await self._give_back_waiting()

    async def _give_back_waiting(self) -> int:
        waiting = self._keeper.clear() if self._keeper is not None else []
        for item in waiting:
            item.dropped = True
            self.held.remove(item)
        await self._give_back(waiting)
        return len(waiting)

    def _give_back_late(self) -> None:
        self._tasks.once(f"{self.policy.name} give back", self._give_back_waiting())

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
                with reaction.told_of(item.delivery):
                    _log.info("not given back", durable=self.policy.name, code=error.code)

    async def close(self) -> None:
        """End what runs in the background."""
        if self._keeper is not None:
            await self._keeper.close()
        await self._tasks.stop()

    def _changed(self) -> None:
        self._settled.set()
