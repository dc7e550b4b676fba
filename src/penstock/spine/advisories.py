"""The backstop: what the server itself gave up delivering (`max_deliver`) ends in the same quarantine as all else.

The server says so once, as an advisory on core NATS, which the stream ADVISORIES keeps. The durable then delivers the
message no more, and it is not un-acked any longer; but the server goes on counting it as redelivered, and a work queue
goes on storing it, until somebody terminates it.

Advisory: https://github.com/nats-io/jsm.go/blob/main/schema_source/jetstream/advisory/v1/max_deliver.json
"""

import dataclasses
import json
from collections.abc import Mapping

from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.spine import consumer, ports, quarantine, subject

_log = telemetry.logger("spine.advisories")

given_up = telemetry.counter(
    "penstock_deliveries_given_up_total",
    labels=("consumer", "outcome"),
    meaning="Messages that the server stopped delivering at its own limit: quarantined, or nobodys (of no tenant that "
    "can still be told).",
    remedy="Something takes deliveries and settles none, far beyond the attempts of a handler: look at that consumer's "
    "processes and their log.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Advisory:
    """What the server says: which durable of which stream, which message, after how many deliveries."""

    stream: str
    consumer: str
    sequence: int
    deliveries: int

    @classmethod
    def read(cls, body: bytes) -> "Advisory":
        """As the server writes it. Raises Poisoned for anything else."""
        try:
            said = json.loads(body)
            return cls(str(said["stream"]), str(said["consumer"]), int(said["stream_seq"]), int(said["deliveries"]))
        except (ValueError, KeyError, TypeError):
            raise errors.Poisoned("undecodable", "this is no advisory about a message given up") from None


@dataclasses.dataclass(frozen=True, slots=True)
class GivenUp:
    """What is known of the message; without subject, headers and body when it is not in its stream any more."""

    stream: str
    consumer: str
    subject: str
    sequence: int
    headers: Mapping[str, str]
    body: bytes


class Advisories:
    """The handler of the consumer `advisories`."""

    def __init__(self, spine: ports.Spine) -> None:
        self._spine = spine

    async def handle(self, _: contexts.Context, delivery: ports.Delivery) -> None:
        """Record the message as quarantined, then free it. Raises Unavailable, Poisoned for what is no advisory."""
        said = Advisory.read(delivery.body)
        name = consumer.consumer_of(said.consumer)
        found = await self._spine.message(said.stream, said.sequence)
        tenant = await self._tenant(said, found)
        if tenant is None:
            given_up.labels(name, "nobodys").inc()
            _log.error("given up, of no known tenant", stream=said.stream, consumer=name, sequence=said.sequence)
        else:
            context = contexts.from_headers(tenant, found.headers) if found else contexts.start(tenant)
            with telemetry.bound(context):
                await self._set_aside(context, said, found)
                given_up.labels(name, "quarantined").inc()
                _log.warning("given up by the server", stream=said.stream, consumer=name, sequence=said.sequence)
        await self._free(said)

    async def _tenant(self, said: Advisory, found: ports.Delivery | None) -> ids.TenantId | None:
        """Of the message's subject; of a durable that belongs to one tenant when the message is gone."""
        if found is not None:
            subjects: tuple[str, ...] = (found.subject,)
        else:
            policy = await self._spine.describe_consumer(said.stream, said.consumer)
            subjects = policy.filters if policy is not None else ()
        for each in subjects:
            try:
                return subject.tenant_of(each)
            except errors.Rejected:
                continue
        return None

    async def _set_aside(self, context: contexts.Context, said: Advisory, found: ports.Delivery | None) -> None:
        detail = f"the server gave it up after {said.deliveries} deliveries without an answer"
        if found is None:
            detail += "; it is not in its stream any more"
        message = GivenUp(
            said.stream,
            said.consumer,
            found.subject if found is not None else "",
            said.sequence,
            found.headers if found is not None else {},
            found.body if found is not None else b"",
        )
        await quarantine.publish(
            self._spine, context, message, errors.Broken("max_deliveries", detail), said.deliveries
        )

    async def _free(self, said: Advisory) -> None:
        """Terminate it under the subject that an answer to its last delivery would have.

        Its place in the consumer's own count is left at 0: the advisory does not say it, and a wrong one could move
        the floor past a neighbour (nats-server 2.15, `processAckMsg`).
        """
        where = f"$JS.ACK.{said.stream}.{said.consumer}.{said.deliveries}.{said.sequence}.0.0.0"
        await self._spine.emit(ports.Signal(where, {}, b"+TERM"))
