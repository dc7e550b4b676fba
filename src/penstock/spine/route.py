"""The one table of publish routes: which message travels in which stream, under which subject, key and id.

An author of code never assembles a subject or a header: `route.encode(context, message)` does. Every route has a
golden in `tests/golden/routes`, which pins subject, headers, message id and body.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from google.protobuf import message as protobuf

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import heartbeat_pb2, membership_pb2, message_pb2, outbound_pb2, quarantine_pb2
from penstock.spine import ports, stream, subject

M = TypeVar("M", bound=protobuf.Message)


@dataclasses.dataclass(frozen=True)
class Route(Generic[M]):
    """How one kind of message travels.

    `subject_of`, `id_of` and `key_of` read the message. Ids start with the tenant (the stream drops a second message
    with the same id within its duplicate window); `key` orders. A route without a stream is core NATS.
    """

    name: str
    message_type: type[M]
    stream: stream.StreamPolicy | None
    subject_of: Callable[[M], str]
    id_of: Callable[[M], str]
    key_of: Callable[[M], str]

    @functools.cached_property
    def type_name(self) -> str:
        """The full name of the message's type, which a header says."""
        return self.message_type.DESCRIPTOR.full_name

    def encode(self, context: contexts.Context, message: M) -> ports.Outgoing:
        """The message ready to publish. Raises Broken when it belongs to another tenant than the context."""
        subject_text = self.subject_of(message)
        if not subject_text.startswith((f"tenant.{context.tenant}.", "penstock.")):
            raise errors.Broken("foreign_tenant", f"route {self.name}: the message is not of the bound tenant")
        headers = contexts.to_headers(context, outsiders=self.stream is not None and self.stream.outsiders)
        headers[contexts.MESSAGE_ID] = self.id_of(message)
        headers[contexts.MESSAGE_TYPE] = self.type_name
        return ports.Outgoing(
            self.stream.name if self.stream else "",
            subject_text,
            self.key_of(message),
            headers,
            message.SerializeToString(deterministic=True),
        )

    def decode(self, headers: Mapping[str, str], body: bytes) -> M:
        """The typed body. Unknown fields are kept; a body that does not parse or says another type is Poisoned."""
        declared = headers.get(contexts.MESSAGE_TYPE, "")
        expected = self.type_name
        if declared and declared != expected:
            raise errors.Poisoned("wrong_type", f"expected {expected}, the header says {declared[:100]}")
        return parsed(self.message_type, body)


def parsed(message_type: type[M], body: bytes) -> M:
    """A message from its bytes. Raises Poisoned `undecodable`."""
    try:
        return message_type.FromString(body)
    except protobuf.DecodeError:
        raise errors.Poisoned("undecodable", f"the body is not a {message_type.DESCRIPTOR.full_name}") from None


def at_span(context: contexts.Context, outgoing: ports.Outgoing) -> ports.Outgoing:
    """The same message, published inside the span that `context` stands for: its `traceparent` names that span."""
    return dataclasses.replace(outgoing, headers={**outgoing.headers, contexts.TRACEPARENT: context.traceparent})


def conversation_key(tenant: str, account: str, conversation: str) -> str:
    """The ordering key of everything in one conversation."""
    return f"{tenant}/{account}/{conversation}"


INBOUND: Final = Route(
    "inbound",
    message_pb2.Message,
    stream.MESSAGES_INBOUND,
    lambda m: subject.inbound(m.tenant, m.channel, m.account, m.conversation),
    lambda m: f"{m.tenant}:{m.account}:{ids.encode_token(m.event_id)}",
    lambda m: conversation_key(m.tenant, m.account, m.conversation),
)
OUTBOUND: Final = Route(
    "outbound",
    outbound_pb2.SendCommand,
    stream.MESSAGES_OUTBOUND,
    lambda m: subject.outbound(m.tenant, m.channel, m.account, m.conversation),
    lambda m: f"{m.tenant}:{ids.encode_token(m.command_id)}",
    lambda m: conversation_key(m.tenant, m.account, m.conversation),
)
RECEIPT: Final = Route(
    "receipt",
    outbound_pb2.Receipt,
    stream.RECEIPTS,
    lambda m: subject.receipts(m.tenant, m.account, m.conversation),
    lambda m: f"{m.tenant}:{ids.encode_token(m.command_id)}:{int(m.status)}",
    lambda m: conversation_key(m.tenant, m.account, m.conversation),
)
QUARANTINED: Final = Route(
    "quarantined",
    quarantine_pb2.Quarantined,
    stream.QUARANTINE,
    lambda m: subject.quarantine(m.tenant, m.stream, m.consumer),
    lambda m: f"{m.tenant}:{m.stream}:{m.consumer}:{m.sequence}",
    lambda m: f"{m.tenant}/{m.stream}/{m.consumer}",
)
HEARTBEAT: Final = Route(
    "heartbeat",
    heartbeat_pb2.Heartbeat,
    None,
    lambda m: subject.heartbeat(m.component, m.instance),
    lambda m: f"penstock:{m.component}:{m.instance}:{m.at.ToNanoseconds()}",
    lambda m: f"{m.component}/{m.instance}",
)
MEMBERSHIP: Final = Route(
    "membership",
    membership_pb2.Membership,
    None,
    lambda m: subject.membership(m.consumer, m.instance),
    lambda m: f"penstock:{m.consumer}:{m.instance}",
    lambda m: f"{m.consumer}/{m.instance}",
)

ROUTES: Final = (INBOUND, OUTBOUND, RECEIPT, QUARANTINED, HEARTBEAT, MEMBERSHIP)
