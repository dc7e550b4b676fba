"""Setting a delivery aside: it is published whole to the QUARANTINE stream before its consumer lets go of it.

The stream carries; the row that `state` keeps is what people list and redrive.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from penstock.base import context as contexts
from penstock.base import errors
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import consumer, ports, route, subject

CODE_LENGTH: Final = 100
DETAIL_LENGTH: Final = 1000


class Evidence(Protocol):
    """What a record says about a message: a delivery knows it, and so does whoever finds one that was given up."""

    @property
    def stream(self) -> str:
        """The stream it was stored in."""
        ...

    @property
    def consumer(self) -> str:
        """The consumer that gave up, or one of its durables."""
        ...

    @property
    def subject(self) -> str:
        """The subject it was published under; empty when nobody knows it any more."""
        ...

    @property
    def sequence(self) -> int:
        """Its position in the stream."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    @property
    def body(self) -> bytes:
        """Its body."""
        ...


def unbound(delivery: ports.Delivery) -> contexts.Context:
    """A fresh context for a delivery whose own headers cannot be trusted; its subject still names the tenant.

    Raises Broken for a subject without a valid tenant, which no stream of ours takes.
    """
    try:
        return contexts.start(subject.tenant_of(delivery.subject))
    except errors.Rejected:
        raise errors.Broken("no_tenant", "a delivery without a tenant in its subject") from None


def describe(
    context: contexts.Context, delivery: Evidence, error: Exception, failures: int
) -> quarantine_pb2.Quarantined:
    """The quarantine's record of one delivery. A foreign exception is named by its class, never quoted."""
    known = isinstance(error, errors.PenstockError)
    message = quarantine_pb2.Quarantined(
        tenant=context.tenant,
        stream=delivery.stream,
        consumer=consumer.consumer_of(delivery.consumer),
        subject=delivery.subject,
        sequence=delivery.sequence,
        headers=[quarantine_pb2.Header(name=name, value=value) for name, value in delivery.headers.items()],
        body=delivery.body,
        reason=_reason(error),
        code=_sayable(error.code if known else "handler_failed", CODE_LENGTH),
        detail=_sayable(error.detail if known else f"the handler raised {type(error).__name__}", DETAIL_LENGTH),
        attempts=max(failures, 1),
    )
    message.at.GetCurrentTime()
    return message


def _sayable(text: str, length: int) -> str:
    """An error's own words, as they can travel: what says too much must not keep its message from leaving."""
    return text.encode("utf-8", "replace").decode()[:length]


def _reason(error: Exception) -> quarantine_pb2.QuarantineReason.ValueType:
    if isinstance(error, errors.Poisoned):
        return quarantine_pb2.QUARANTINE_REASON_POISONED
    if isinstance(error, errors.Rejected):
        return quarantine_pb2.QUARANTINE_REASON_REJECTED
    return quarantine_pb2.QUARANTINE_REASON_EXHAUSTED


async def publish(
    spine: ports.Spine, context: contexts.Context, delivery: Evidence, error: Exception, failures: int
) -> None:
    """Publish the record; a body too large to travel twice stays behind in its stream and is named only.

    Raises Unavailable when the quarantine stream cannot take it now.
    """
    message = describe(context, delivery, error, failures)
    try:
        await spine.publish(route.QUARANTINED.encode(context, message))
    except errors.Rejected as refused:
        if refused.code != "too_large":
            raise errors.Unavailable("quarantine_refused", refused.detail, after_s=5.0) from refused
        message.body = b""
        message.detail += " (the body was too large to be kept here; it is in its stream)"
        await spine.publish(route.QUARANTINED.encode(context, message))
