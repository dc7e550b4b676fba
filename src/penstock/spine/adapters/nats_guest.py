"""An app's client of a server whose account lets it do little: what it may not do, it asks the core at the desk.

Taking messages, settling them, publishing and core NATS are the same as with the owner's login, directly and as fast.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from penstock.base import errors
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import consumer, desk, ports, stream, suspects
from penstock.spine.adapters import acceptance, nats_calls, nats_link, nats_policies, nats_publish, spine_nats
from penstock.spine.plane import consume
from penstock.spine.plane import link as links
from penstock.spine.plane.address import API_PREFIX, Address

NOT_ENABLED: Final = 10039
"""What the API answers in an account without JetStream of its own."""
ENVELOPE_BYTES: Final = 64
"""Most that asking at the desk adds to a record."""


@dataclasses.dataclass(frozen=True, slots=True)
class Where:
    """A message in its stream, as the core tells an app of it: without headers and body, which its delivery brought."""

    stream: str
    sequence: int
    subject: str
    at: datetime
    consumer: str = ""
    deliveries: int = 1
    session: int = 0
    body: bytes = b""

    @property
    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def ack(self) -> None:
        """Nothing: nobody holds it."""

    async def retry(self, delay_s: float) -> None:
        """Nothing: nobody holds it."""

    async def terminate(self) -> None:
        """Nothing: nobody holds it."""

    async def extend(self) -> None:
        """Nothing: nobody holds it."""


class _Calls(nats_calls.Calls):
    """The API that is not there: nobody to ask why a message was not taken, but to try again is right."""

    async def check_taken(self, subject: str, timeout_s: float) -> None:
        """Say nothing: an account takes a moment to learn what it may do, and a stream to find a leader."""


class GuestSpine(spine_nats.NatsSpine):
    """One app's client for one tenant; made by `enter`."""

    def __init__(self, plane: links.Link, control: nats_link.Link, who: desk.Who, *, deadline_s: float = 15.0) -> None:
        super().__init__(plane, control, deadline_s=deadline_s)
        self._publisher = nats_publish.Publisher(plane, _Calls(control, deadline_s), deadline_s)
        self.desk = desk.Desk(self, who)

    async def consume(
        self, policy: consumer.ConsumerPolicy, receive: Callable[[ports.Delivery], None], *, window: int
    ) -> ports.Subscription:
        """Hand deliveries of a durable to `receive`; whoever joined has its durables."""

        async def restore(seen: datetime | None) -> None:
            await self.desk.restore(policy.name, seen if policy.deliver_new else None)

        backing = consume.Backing(restore, self._keeps)
        group = nats_policies.PRIORITY_GROUP
        made = consume.Consumption(self._plane, policy, receive, window=window, backing=backing, group=group)
        self._receiving.add(made)
        return made

    async def _keeps(self, delivery: ports.Delivery) -> bool:
        found = await self.desk.place(delivery.stream, delivery.sequence)
        return found is not None and desk.nanoseconds(found[1]) == desk.nanoseconds(delivery.at)

    async def message(self, stream: str, sequence: int) -> ports.Delivery | None:
        """Where a message of the tenant is, and since when; its words are not told."""
        found = await self.desk.place(stream, sequence)
        return None if found is None else Where(stream, sequence, *found)

    async def floor(self, stream: str, name: str) -> int:  # noqa: ARG002 - apps take of one stream only
        """The sequence up to which everything of a durable of the app is settled."""
        return (await self.desk.standing(name))[0]

    async def backlog(self, stream: str, name: str) -> tuple[int, int]:  # noqa: ARG002
        """How many messages wait, and how many are un-acked."""
        _, waiting, held = await self.desk.standing(name)
        return waiting, held

    async def release(self, stream: str, name: str) -> None:  # noqa: ARG002
        """Have the pin of one of the app's durables taken from whoever has it."""
        await self.desk.release(name)

    async def key_value(
        self,
        bucket: str,
        *,
        history: int = 1,  # noqa: ARG002 - whoever made the bucket has decided
        max_age_s: float = 0,  # noqa: ARG002
    ) -> ports.KeyValue:
        """The app's part of the bucket of suspects; there is no other for an app."""
        if bucket != suspects.BUCKET:
            raise errors.Rejected("not_permitted", f"an app may not open the bucket {bucket}", status=403)
        return desk.SuspectBucket(self.desk)

    async def publish(self, message: ports.Outgoing, *, on: int | None = None) -> ports.Published:
        """Store a message in its stream; what is set aside goes by way of the core."""
        if message.stream != stream.QUARANTINE.name:
            return await self._publisher.publish(message, on)
        limit = self._plane.payload_limit_bytes - ENVELOPE_BYTES
        acceptance.message(message, limit)
        await self.desk.quarantine(quarantine_pb2.Quarantined.FromString(message.body), message.headers)
        return ports.Published(message.stream, 0, duplicate=False)


async def enter(where: Address, who: desk.Who, *, wait_s: float) -> spine_nats.NatsSpine:
    """Connect: as a guest when the account has no JetStream, else as somebody who may do everything.

    Raises as `NatsSpine.connect`.
    """
    plane, control = await spine_nats.opened(where, wait_s=wait_s)
    try:
        answer = await plane.call(f"{API_PREFIX}.INFO", b"", wait_s)
    except BaseException:
        await asyncio.gather(plane.close(), control.close())
        raise
    return GuestSpine(plane, control, who) if _is_guest(answer.body) else spine_nats.NatsSpine(plane, control)


def _is_guest(answer: bytes) -> bool:
    """Whether that is said to an account without JetStream. Whoever hears nothing is no guest, and waits by itself."""
    try:
        return json.loads(answer)["error"]["err_code"] == NOT_ENABLED
    except (ValueError, KeyError, TypeError):
        return False
