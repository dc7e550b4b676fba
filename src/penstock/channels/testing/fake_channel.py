"""A channel in memory, for tests of what uses one: no sockets, every failure at will, and the same promises kept.

Requests are signed with HMAC-SHA256 over timestamp and body; bodies are JSON, `{"messages": [...], "other": [...],
"unknown": [...]}`, with messages as protobuf's JSON mapping writes them, and names of kinds in the other two.
"""

import asyncio
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from google.protobuf import json_format

from penstock.base import errors, ids, settings
from penstock.channels import ports
from penstock.messages.v1 import message_pb2, outbound_pb2

NAME: Final = ids.ChannelName("fake")
TOLERANCE_S: Final = 300.0
BODY_BYTES: Final = 256 * 1024

EVERYTHING: Final = outbound_pb2.Capabilities(
    reply=True, thread=True, edit=True, deletion=True, reaction=True, attachment=True
)


class FakeChannel:
    """A `ports.Channel` whose platform is the list `taken`; it knows a command that comes again by its id.

    `script` holds what the next sends do, first one first: an error is raised, anything else is the answer; when it is
    empty, sends succeed. An Ambiguous is taken before it is raised if `takes_ambiguous`. While `gate` is not set, sends
    wait; `attempts` shows them already.
    """

    def __init__(self, *, name: ids.ChannelName = NAME, capabilities: outbound_pb2.Capabilities = EVERYTHING) -> None:
        self._name, self._capabilities = name, capabilities
        self.taken: list[outbound_pb2.SendCommand] = []
        self.attempts: list[outbound_pb2.SendCommand] = []
        self.script: list[ports.Sent | errors.PenstockError] = []
        self.takes_ambiguous = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    @property
    def name(self) -> ids.ChannelName:
        """`fake`, unless told otherwise."""
        return self._name

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins, unless told otherwise."""
        return self._capabilities

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected for the field `broken`."""
        if "broken" in config:
            raise errors.Rejected("bad_config", "config.broken must not be there", field="config.broken")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected for an empty one, and for one that does not sign."""
        if kind is not ports.SecretKind.SIGNING or not secret.reveal():
            raise errors.Rejected("bad_secret", "a secret must sign and not be empty", field="secret")

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless a live secret signed it within 300 s."""
        timestamp, offered = request.headers.get("fake-timestamp", ""), request.headers.get("fake-signature", "")
        good = [_signature(secret, timestamp, request.body) for secret in credentials.secrets]
        if not any(
            hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), expected.encode()) for expected in good
        ):
            raise errors.Rejected("wrong_signature", "no live secret signed this", status=401)
        if abs(request.received_at.timestamp() - float(timestamp)) > TOLERANCE_S:
            raise errors.Rejected("stale_signature", "the timestamp is too far from now", status=401)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The messages. Raises Rejected (400, 413, 415)."""
        del account
        if request.headers.get("content-type") != "application/json":
            raise errors.Rejected("wrong_content_type", "content-type must be JSON", status=415, field="content-type")
        if len(request.body) > BODY_BYTES:
            raise errors.Rejected("too_large", "the body is too large", status=413, field="body")
        try:
            document = cast("dict[str, Any]", json.loads(request.body.decode("utf-8")))
            messages = [_message(item) for item in cast("Sequence[object]", document["messages"])]
            ignored = [str(item) for item in cast("Sequence[object]", document.get("other", ()))]
            kinds = [str(item) for item in cast("Sequence[object]", document.get("unknown", ()))]
        except RecursionError:
            raise errors.Rejected("too_deep", "the body is nested too deeply", field="body") from None
        except (ValueError, LookupError, TypeError, AttributeError, json_format.ParseError):
            raise errors.Rejected("bad_json", "the body is not what a fake platform sends", field="body") from None
        digest = hashlib.sha256(request.body).hexdigest()
        unknown = [ports.UnknownEvent(f"{digest}.{at}", kind, request.body) for at, kind in enumerate(kinds)]
        return ports.Reading(messages, ignored=ignored, unknown=unknown)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Do what the script says, else take it."""
        del account
        if not credentials.secrets:
            raise errors.Rejected("no_secret", "the account has no secret")
        self.attempts.append(command)
        await self.gate.wait()
        step = self.script.pop(0) if self.script else ports.Sent(message_id_of(command))
        if isinstance(step, ports.Sent) or (isinstance(step, ports.Ambiguous) and self.takes_ambiguous):
            self._take(command)
        if isinstance(step, errors.PenstockError):
            raise step
        return step

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _take(self, command: outbound_pb2.SendCommand) -> None:
        if all(taken.command_id != command.command_id for taken in self.taken):
            self.taken.append(command)


def message_id_of(command: outbound_pb2.SendCommand) -> str:
    """The id that the fake platform gives to what it takes."""
    return f"fake-{ids.derive_id(command.command_id)}"


def body_of(*messages: message_pb2.Message, other: Sequence[str] = (), unknown: Sequence[str] = ()) -> bytes:
    """The body that carries these messages, kinds of event that are of no interest, and kinds that nobody knows."""
    items = [json_format.MessageToDict(message) for message in messages]
    document = {"messages": items, "other": list(other), "unknown": list(unknown)}
    return json.dumps(document, ensure_ascii=False).encode()


def signed(body: bytes, secret: settings.Secret, at: datetime) -> ports.WebhookRequest:
    """A request as the fake platform makes it."""
    timestamp = str(int(at.timestamp()))
    headers = {
        "content-type": "application/json",
        "fake-timestamp": timestamp,
        "fake-signature": _signature(secret, timestamp, body),
    }
    return ports.WebhookRequest("POST", "/webhooks/fake/acc", "", headers, body, at)


def said(conversation: str, text: str, *, event_id: str = "", at: datetime | None = None) -> message_pb2.Message:
    """Somebody said something, as `read` returns it."""
    message = message_pb2.Message(event_id=event_id or ids.new_id(), conversation=conversation, text=text)
    message.message_id = f"m-{message.event_id}"
    message.sender.id, message.sender.kind = "ann", message_pb2.SENDER_KIND_PERSON
    message.sent_at.FromDatetime(at or datetime(2026, 1, 1, tzinfo=UTC))
    return message


@dataclasses.dataclass
class FakeAccounts:
    """`ports.Accounts` over a dictionary by account id."""

    by_id: dict[str, tuple[ports.Account, ports.Credentials]] = dataclasses.field(
        default_factory=dict[str, tuple[ports.Account, ports.Credentials]]
    )

    def add(self, account: ports.Account, *secrets: settings.Secret) -> None:
        """Let it be found with these live secrets, newest first."""
        self.by_id[account.id] = (account, ports.Credentials(secrets))

    async def find(self, channel: str, account: str) -> tuple[ports.Account, ports.Credentials]:
        """The account on that channel. Raises Rejected (404)."""
        found = self.by_id.get(account)
        if found is None or found[0].channel != channel:
            raise errors.Rejected("no_account", "there is no such account on that channel", status=404)
        return found


@dataclasses.dataclass
class FakeTenants:
    """`ports.Tenants` over two sets."""

    active: set[str]
    suspended: set[str] = dataclasses.field(default_factory=set[str])

    async def require_active(self, tenant: ids.TenantId) -> None:
        """Raise Rejected: 403 when suspended, 404 when unknown."""
        if tenant in self.suspended:
            raise errors.Rejected("tenant_suspended", "the tenant is suspended", status=403)
        if tenant not in self.active:
            raise errors.Rejected("no_tenant", "there is no such tenant", status=404)


def _message(item: object) -> message_pb2.Message:
    message = json_format.ParseDict(cast("dict[str, Any]", item), message_pb2.Message(), ignore_unknown_fields=True)
    if not message.event_id or not message.conversation or "\\u0000" in json_format.MessageToJson(message):
        raise ValueError("an event needs an id and a conversation, and no NUL")
    return message


def _signature(secret: settings.Secret, timestamp: str, body: bytes) -> str:
    content = timestamp.encode("utf-8", "surrogatepass") + b"\n" + body
    return hmac.new(secret.reveal().encode(), content, hashlib.sha256).hexdigest()
