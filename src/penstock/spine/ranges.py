"""One process's share of a consumer: which of its durables it asks for, and how it comes by them and lets them go.

A consumer without ranges is one durable that everybody asks for. One with ranges is several, each with one owner at a
time (`ConsumerPolicy.durables`): the processes tell each other about once a second which of them they ask for, and
each does its part to even that out (`balance`). Letting go means: stop asking, finish what is held, give back what
cannot be finished soon, release the pin, tell the others.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from penstock.base import errors, ids, tasks, telemetry
from penstock.messages.v1 import membership_pb2
from penstock.spine import balance, consumer, lease, ports, route, subject
from penstock.spine.gatekeeper import HandOn
from penstock.spine.intake import Intake

ANNOUNCED_EVERY_S: Final = 1.0
ROLL_CALL_S: Final = 0.5
"""How long a newcomer waits for the first of the others to say so."""

GATHERED_S: Final = 0.15
"""How long it gives the rest of them, after that."""

PATIENCE_S: Final = 10.0
"""How long what is held of a range may take, when it is let go of for balance, before the rest is given back."""

COPIES: Final = 2
"""Room for each message of a range to arrive once more while it is held. Without ranges nobody waits for an older
message; with them, whatever the server may hand out un-acked (`max_ack_pending`) must find room here at any time."""

_log = telemetry.logger("spine.ranges")

owned = telemetry.gauge(
    "penstock_ranges_owned",
    labels=("consumer",),
    meaning="Ranges of a consumer that this process asks for. Over all processes they add up to its ranges.",
    remedy="A process with none is spare (more processes than ranges). A sum that stays too low: look for processes "
    "that hang; too high: they do not hear each other (core NATS, permissions on penstock.membership.>).",
)


class Share:
    """This process's share.

    `hand_on` gets each message that may be handled; `is_stuck` says of one whether it stands behind a pause; `window`
    is how much to hold of a consumer without ranges.
    """

    def __init__(
        self,
        spine: ports.Spine,
        policy: consumer.ConsumerPolicy,
        hand_on: HandOn,
        *,
        window: int,
        is_stuck: Callable[[lease.Held], bool],
    ) -> None:
        self._spine, self._policy = spine, policy
        self._pulse = lease.Pulse(policy.ack_wait_s / 20)
        self._intakes = [
            Intake(
                spine,
                durable,
                hand_on,
                window=COPIES * durable.max_ack_pending if policy.ranges else window,
                is_stuck=is_stuck,
                pulse=self._pulse,
            )
            for durable in policy.durables()
        ]
        self._instance = ids.new_id()
        self._balance = balance.Balance(self._instance, policy.ranges, lease.now_s())
        self._listening: list[ports.Subscription] = []
        self._news = asyncio.Event()
        self._tasks, self._leaving = tasks.Tasks(), False
        self._owned = owned.labels(policy.name)

    def __len__(self) -> int:
        return sum(len(intake.held) for intake in self._intakes)

    @property
    def behind_gates(self) -> int:
        """How many of those wait until older ones are settled."""
        return sum(intake.waiting for intake in self._intakes)

    @property
    def ranges(self) -> frozenset[int]:
        """The numbers of the ranges that it asks for, or still holds something of."""
        return self._balance.mine

    async def start(self) -> None:
        """Begin to ask. With others there, that may be for nothing yet: they are told, and let go of something.

        Raises Rejected `no_stream` or `no_consumer`, Unavailable; it can be called again then.
        """
        if self._policy.ranges:
            await self._join()
        else:
            await self._intakes[0].start()
        name = self._policy.name
        self._tasks.forever(f"{name} pulse", self._beat)
        self._tasks.forever(f"{name} lease", self._keep_leases)
        if self._policy.ranges:
            self._tasks.forever(f"{name} members", self._see_to)

    async def _join(self) -> None:
        """Hear who is there, then take what nobody has. Nobody answers at once when nobody is there."""
        name = self._policy.name
        try:
            if not self._listening:
                self._listening.append(await self._spine.listen(subject.memberships(name), self._hear))
            try:
                call = ports.Signal(subject.roll_call(name), {}, self._membership())
                self._note(await self._spine.request(call, timeout_s=ROLL_CALL_S))
                await asyncio.sleep(GATHERED_S)
            except errors.Unavailable as error:
                _log.debug("alone", consumer=name, code=error.code)
            if len(self._listening) == 1:
                self._listening.append(await self._spine.listen(subject.roll_call(name), self._answer))
            await self._act(strict=True)
        except BaseException:
            await self._hang_up()
            raise

    async def _hang_up(self) -> None:
        while self._listening:
            await self._listening.pop().close()

    async def _hear(self, signal: ports.Signal) -> None:
        self._note(signal)

    def _note(self, signal: ports.Signal) -> None:
        try:
            said = route.MEMBERSHIP.decode(signal.headers, signal.body)
        except errors.Poisoned as error:
            _log.info("not a membership", consumer=self._policy.name, code=error.code)
            return
        if said.consumer == self._policy.name and said.instance != self._instance:
            now_s = lease.now_s()
            if self._balance.hear(said.instance, said.ranges, leaves=said.leaving, now_s=now_s):
                self._news.set()

    async def _answer(self, signal: ports.Signal) -> None:
        """Somebody has just begun: it hears us at once, and so does everybody else."""
        self._note(signal)
        await self._spine.emit(ports.Signal(signal.reply, {}, self._membership()))
        await self._say()

    def _membership(self) -> bytes:
        return membership_pb2.Membership(
            consumer=self._policy.name,
            instance=self._instance,
            ranges=sorted(self._balance.claims),
            leaving=self._leaving,
        ).SerializeToString(deterministic=True)

    async def _say(self) -> None:
        self._owned.set(len(self._balance.mine))
        if self._spine.connected:
            where = subject.membership(self._policy.name, self._instance)
            await self._spine.emit(ports.Signal(where, {}, self._membership()))

    async def _see_to(self) -> None:
        """Once a second, and at once when others say something new: even out, and say so."""
        self._news.clear()
        if self._spine.connected and not self._leaving:
            await self._act(strict=False)
        await self._say()
        try:
            async with asyncio.timeout(ANNOUNCED_EVERY_S):
                await self._news.wait()
        except TimeoutError:
            return

    async def _act(self, *, strict: bool) -> None:
        plan = self._balance.plan(lease.now_s(), lambda number: len(self._intakes[number].held))
        for number in plan.let_go:
            self._balance.lets_go(number)
            self._tasks.once(f"{self._policy.name} lets go of {number}", self._let_go(number))
        for number in plan.take:
            try:
                await self._intakes[number].start()
            except errors.PenstockError as error:
                if strict:
                    raise
                _log.warning("range not taken", consumer=self._policy.name, number=number, code=error.code)
                continue
            self._balance.took(number)
        if plan.take or plan.let_go:
            members = self._balance.members(lease.now_s())
            _log.info("ranges", consumer=self._policy.name, take=plan.take, let_go=plan.let_go, members=members)

    async def _let_go(self, number: int) -> None:
        intake = self._intakes[number]
        await intake.stop_asking()
        await intake.idle(PATIENCE_S)
        await intake.finish()
        await self._release(number)

    async def _release(self, number: int) -> None:
        if number not in self._balance.mine:
            return
        policy = self._intakes[number].policy
        try:
            if self._spine.connected:
                await self._spine.release(policy.stream, policy.name)
        except errors.PenstockError as error:
            _log.info("not released", durable=policy.name, code=error.code)
        self._balance.gone(number, lease.now_s())
        await self._say()

    def pause(self) -> None:
        """Ask for nothing more."""
        for intake in self._intakes:
            intake.pause()

    def resume(self) -> None:
        """Ask again."""
        for intake in self._intakes:
            intake.resume()

    async def drain(self, patience_s: float) -> int:
        """Take nothing new, let what is held be finished, give back the rest but what is being handled.

        Each range goes to the next owner as soon as nothing is left of it. Returns how many were given back.
        """
        self._leaving = True
        self._news.set()
        numbers = self._balance.mine if self._policy.ranges else range(len(self._intakes))
        return sum(await asyncio.gather(*(self._drain(number, patience_s) for number in sorted(numbers))))

    async def _drain(self, number: int, patience_s: float) -> int:
        intake = self._intakes[number]
        waiting = await intake.stop_asking()
        if not await intake.idle(patience_s) and intake.held:
            _log.warning("drain ran out of time", durable=intake.policy.name, left=len(intake.held))
        given_back = waiting + await intake.give_back(running=False)
        if self._policy.ranges and not intake.held:
            await self._release(number)
        return given_back

    async def close(self) -> int:
        """After every handler has ended: give back what was left to them, and be gone. Returns how many that were."""
        await self._tasks.stop()
        given_back = 0
        for intake in self._intakes:
            given_back += await intake.stop_asking() + await intake.give_back(running=True)
        if self._policy.ranges:
            for number in sorted(self._balance.mine):
                await self._release(number)
        await self._hang_up()
        for intake in self._intakes:
            await intake.close()
        self._owned.set(0)
        return given_back

    async def _beat(self) -> None:
        await asyncio.sleep(self._pulse.every_s)
        self._pulse.beat()
        for intake in self._intakes:
            intake.look_at_leases()

    async def _keep_leases(self) -> None:
        await asyncio.sleep(self._policy.ack_wait_s / 6)
        # At once: one that the server does not answer about must not cost the others their leases.
        await asyncio.gather(*(intake.keep_leases() for intake in self._intakes))
