"""The one table of durable consumers: how long a lease is, how often and how fast to try again, how much to hold.

Durable names are stable across replicas (which is how they share the work) and free of collisions: the parts are
slugs, and `_` joins them.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Final

from penstock.base import errors, ids
from penstock.spine import stream, subject

RANGES: Final = 8
PIN_TIMEOUT_S: Final = 2.0

_RANGE = re.compile(r"_r[0-9]+$")


@dataclasses.dataclass(frozen=True, slots=True)
class ConsumerPolicy:
    """How one durable consumer fetches, holds and retries.

    `filter` is one or several patterns, joined by blanks. `ack_wait_s` is the lease; `attempts` how often a handler may
    fail before quarantine, waiting `backoff_s` (the last one repeats) between; `concurrency` handlers run at once in
    each process and `max_ack_pending` messages are held at most, in all of them together.
    """

    name: str
    stream: str
    filter: str
    concurrency: int = 32
    max_ack_pending: int = 256
    ack_wait_s: float = 10.0
    attempts: int = 5
    backoff_s: tuple[float, ...] = (0.1, 1.0, 5.0, 30.0)
    deadline_s: float = 300.0
    max_deliver: int = 1000
    """The server's own backstop, far above `attempts`: a redelivery after a crash is not a failure of the message."""
    deliver_new: bool = False
    """Start with what comes after the consumer was made, instead of with everything the stream still holds."""
    of_server: bool = False
    """Its messages are the server's own and of no tenant: a handler's context is nobody's, and none is quarantined."""
    ranges: int = 0
    """How many durables, each with one owner at a time, share the partitions, so that order per key holds across
    processes; 0: one durable that whoever pulls shares, in no order."""
    watched_from: int = 2
    """From which time on that the server hands a message out it is written down that a handler has it (`suspects`): a
    process that dies of it leaves that behind, and then it runs alone. Costs two writes to a bucket."""
    pin_timeout_s: float = 0.0
    """With one owner at a time: after how long without a word from it the server gives the durable to another."""

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= self.max_ack_pending:
            raise errors.Rejected(
                "bad_consumer",
                f"consumer {self.name}: concurrency {self.concurrency} must be between 1 and max_ack_pending "
                f"{self.max_ack_pending}",
                field="concurrency",
            )
        if self.ranges and (ids.PARTITIONS % self.ranges or not self.filter.endswith(".>") or " " in self.filter):
            raise errors.Rejected(
                "bad_consumer",
                f"consumer {self.name}: ranges divide {ids.PARTITIONS} partitions of one pattern that ends in '.>'",
                field="ranges",
            )
        if self.attempts < 1 or not self.backoff_s or min(self.backoff_s) < 0 or self.ack_wait_s < 1:
            raise errors.Rejected(
                "bad_consumer",
                f"consumer {self.name}: attempts >= 1, ack_wait_s >= 1 and a backoff are needed",
                field="attempts",
            )

    @property
    def filters(self) -> tuple[str, ...]:
        """The patterns of `filter`."""
        return tuple(self.filter.split())

    def durables(self) -> tuple["ConsumerPolicy", ...]:
        """The durables that this consumer is made of: itself, or one per range, `<name>_r<number>`.

        Range n of eight has the partitions 8n to 8n+7. The partition is the first token that `>` of the filter stands
        for. What may be held is divided evenly among them.
        """
        if not self.ranges:
            return (self,)
        size = ids.PARTITIONS // self.ranges
        most = max(1, self.max_ack_pending // self.ranges)
        stem = self.filter.removesuffix(">")
        return tuple(
            dataclasses.replace(
                self,
                name=f"{self.name}_r{number}",
                filter=" ".join(f"{stem}{ids.partition_token(number * size + place)}.>" for place in range(size)),
                concurrency=min(self.concurrency, most),
                max_ack_pending=most,
                ranges=0,
                pin_timeout_s=PIN_TIMEOUT_S,
            )
            for number in range(self.ranges)
        )

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after failure number `failures` (from 1)."""
        return self.backoff_s[min(failures, len(self.backoff_s)) - 1]


# Much is held un-acked, because what waits for a platform that asked for patience waits here.
OUTBOUND: Final = ConsumerPolicy(
    "outbound", "MESSAGES_OUTBOUND", "tenant.*.messages.out.>", concurrency=64, max_ack_pending=2048, ranges=RANGES
)
QUARANTINE: Final = ConsumerPolicy("quarantine", "QUARANTINE", "tenant.*.quarantine.>", concurrency=8)
ADVISORIES: Final = ConsumerPolicy(
    "advisories", "ADVISORIES", stream.ADVISORIES.subjects[0], concurrency=4, of_server=True
)

CONSUMERS: Final[tuple[ConsumerPolicy, ...]] = (OUTBOUND, QUARANTINE, ADVISORIES)


def consumer_of(durable: str) -> str:
    """The consumer that a durable belongs to: `outbound` for `outbound_r3`."""
    return _RANGE.sub("", durable)


def of_app(tenant: str, app: str, *, concurrency: int = 32, max_ack_pending: int = 256) -> ConsumerPolicy:
    """The consumer that the replicas of one tenant's app share: `app_<tenant>_<app>`, in ranges."""
    name = f"app_{ids.tenant_id(tenant)}_{ids.slug(app, 'app')}"
    return ConsumerPolicy(
        name,
        stream.MESSAGES_INBOUND.name,
        subject.of_tenant(stream.MESSAGES_INBOUND.subjects[0], tenant),
        concurrency=concurrency,
        max_ack_pending=max_ack_pending,
        deliver_new=True,
        ranges=RANGES,
    )


def differences(policy: ConsumerPolicy, found: ConsumerPolicy) -> Iterator[stream.Difference]:
    """Every field in which an existing durable is not what the policy asks."""
    for field in ("stream", "filter", "max_ack_pending", "ack_wait_s", "max_deliver", "pin_timeout_s"):
        if getattr(policy, field) != getattr(found, field):
            yield stream.Difference(policy.name, field, str(getattr(policy, field)), str(getattr(found, field)))
