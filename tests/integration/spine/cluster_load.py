"""People who talk in several rooms at once over a cluster, a worker that hears them, and what both go through."""

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import secrets
from collections.abc import AsyncIterator, Callable

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2
from penstock.spine import consumer, ports, provision, route, stream, worker
from penstock.spine.adapters import spine_nats
from tests import cluster

ROOMS = 12
EACH_S = 0.04
"""From one message of a room to its next: 300 a second in all."""
COPIES = 3
SAYS, HEARS = "says", "hears"
HEARD_S = 60.0
WORK_S = 0.02
"""What a handler takes, so that messages are in its hands when something happens."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was said, and what became of it; stalls in seconds."""

    said: int
    lost: list[str]
    reordered: list[str]
    repeated: int
    publishing_stood_s: float
    handling_stood_s: float

    def row(self, what: str) -> list[str]:
        """As `stalls` prints it."""
        stood = (f"{seconds:.2f} s" for seconds in (self.publishing_stood_s, self.handling_stood_s))
        return [what, *stood, *map(str, (self.said, len(self.lost), len(self.reordered), self.repeated))]


class Load:
    """Rooms in which somebody says 0, 1, 2, ..., each once the one before is stored; and what a worker heard."""

    def __init__(self, publisher: ports.Spine, tenant: ids.TenantId, policy: consumer.ConsumerPolicy) -> None:
        self._publisher, self._tenant = publisher, tenant
        self.durables = [each.name for each in policy.durables()]
        self._said: collections.Counter[str] = collections.Counter()
        self._heard: dict[str, list[int]] = collections.defaultdict(list)
        self._seen: set[str] = set()
        self._repeated = 0
        self._stored_at: list[float] = []
        self._heard_at: list[float] = []
        self._talking: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    @property
    def heard(self) -> int:
        """Messages handled so far, each counted once."""
        return len(self._seen)

    @property
    def stored(self) -> int:
        """Messages that the cluster has confirmed."""
        return len(self._stored_at)

    def begin(self) -> None:
        """Begin to talk."""
        self._talking = [asyncio.create_task(self._talk(f"room-{number}")) for number in range(ROOMS)]

    async def _talk(self, room: str) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in itertools.count():
            with contextlib.suppress(TimeoutError):
                due = max(due + EACH_S, loop.time())
                async with asyncio.timeout_at(due):
                    await self._over.wait()
            if self._over.is_set():
                return
            await self._say(room, number)
            self._said[room] += 1
            self._stored_at.append(loop.time())

    async def _say(self, room: str, number: int) -> None:
        message = message_pb2.Message(
            event_id=f"{room}/{number}",
            tenant=self._tenant,
            channel="webhook",
            account="acc-1",
            conversation=room,
            message_id=f"{room}/{number}",
            text=str(number),
            sender=message_pb2.Sender(id="ann", kind=message_pb2.SENDER_KIND_PERSON),
        )
        outgoing = route.INBOUND.encode(contexts.start(self._tenant), message)
        while True:
            with contextlib.suppress(errors.Unavailable):
                await self._publisher.publish(outgoing)
                return

    async def handle(self, _: contexts.Context, delivery: ports.Delivery) -> None:
        """The worker's handler."""
        message = route.INBOUND.decode(delivery.headers, delivery.body)
        await asyncio.sleep(WORK_S)
        if message.event_id in self._seen:
            self._repeated += 1
            return
        self._seen.add(message.event_id)
        self._heard[message.conversation].append(int(message.text))
        self._heard_at.append(asyncio.get_running_loop().time())

    async def more(self, count: int, *, within_s: float = HEARD_S) -> None:
        """Return once so many more have been said and heard. Raises TimeoutError."""
        stored, heard = self.stored + count, self.heard + count
        await until(lambda: self.stored >= stored and self.heard >= heard, within_s=within_s)

    async def end(self) -> Verdict:
        """Stop talking, wait until everything was heard or time is over, and judge."""
        self._over.set()
        await asyncio.gather(*self._talking)
        said = sum(self._said.values())
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.heard >= said, within_s=HEARD_S)
        wanted = {f"{room}/{number}" for room, count in self._said.items() for number in range(count)}
        return Verdict(
            said,
            sorted(wanted - self._seen),
            [room for room, numbers in self._heard.items() if numbers != sorted(numbers)],
            self._repeated,
            longest(self._stored_at),
            longest(self._heard_at),
        )


async def trouble(duration_s: float) -> None:
    """Let what was done to the cluster last."""
    await asyncio.sleep(duration_s)


def longest(moments: list[float]) -> float:
    """The longest time between two moments."""
    return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)


async def until(condition: Callable[[], bool], *, within_s: float = HEARD_S) -> None:
    """Return when something is so. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def connect(held: cluster.Cluster, name: str) -> spine_nats.NatsSpine:
    """A client that knows all nodes."""
    return await spine_nats.NatsSpine.connect(held.address(name), wait_s=20, deadline_s=15)


@contextlib.asynccontextmanager
async def running(held: cluster.Cluster) -> AsyncIterator[Load]:
    """Talk over streams of three copies, heard by a worker of its own connection, as two processes would."""
    await held.settled()
    await held.delete_streams()
    tenant = ids.tenant_id(f"t-{secrets.token_hex(4)}")
    policy = consumer.of_app(tenant, "hears")
    publisher, hearer = await connect(held, SAYS), await connect(held, HEARS)
    try:
        await provision.streams(hearer, [stream.MESSAGES_INBOUND], replicas=COPIES)
        for durable in policy.durables():
            await provision.durable(hearer, durable)
        load = Load(publisher, tenant, policy)
        hears = worker.Worker(hearer, policy, load.handle, lane_of=lambda delivery: delivery.subject)
        await hears.start()
        load.begin()
        try:
            await load.more(ROOMS * 20)
            yield load
        finally:
            await load.end()
            await hears.drain(5)
    finally:
        await publisher.close()
        await hearer.close()
