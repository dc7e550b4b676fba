"""What the channels room asks of the world, as Protocols in types of `base` and `messages`.

A channel adapter is pure where it can be (verifying and reading a request do no I/O, so that they can be fuzzed) and
asynchronous only where it calls its platform.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from penstock.base import errors, ids, settings
from penstock.messages.v1 import message_pb2, outbound_pb2


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """One of a tenant's accounts on one channel, without its secrets.

    `id` is globally unique and unguessable; `config` holds what this channel needs to know (a URL, a bot's name).
    """

    tenant: ids.TenantId
    id: ids.AccountId
    channel: ids.ChannelName
    name: str
    config: Mapping[str, str]
    disabled: bool = False


class SecretKind(enum.StrEnum):
    """What a secret of an account proves."""

    SIGNING = "signing"
    """That a request comes from the platform (and, where we sign what we send, that it comes from us)."""
    TOKEN = "token"
    """That a call of ours may be made: a bot's token."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """An account's live secrets by what they prove, newest first, at most two each (to rotate); never printed."""

    secrets: tuple[settings.Secret, ...]
    """Of the kind `signing`."""
    tokens: tuple[settings.Secret, ...] = ()
    """Of the kind `token`; empty for channels that sign what they send."""


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request of a platform, whole: header names in lower case, the body as the bytes that were signed."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a platform wants to hear back when it is not a plain 200: a challenge, say."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A verified event of a kind that this build does not know: kept as it came, so that a later one may read it.

    `event_id` is the platform's, or made of the body where it gives none; `body` is the event alone, or the request.
    """

    event_id: str
    kind: str
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What a verified request turned out to hold.

    `messages` are complete but for `tenant`, `channel`, `account` and `received_at`, which the service fills in (an
    adapter cannot choose its tenant). `ignored` names kinds of event that are known to be of no interest; `unknown`
    are those of kinds that nobody here has heard of, and are kept as they came. Both are counted.
    """

    messages: Sequence[message_pb2.Message] = ()
    answer: Answer = Answer()
    ignored: Sequence[str] = ()
    unknown: Sequence[UnknownEvent] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """The platform took it; `message_id` is its id for what was sent, empty when it gives none."""

    message_id: str = ""


class Ambiguous(errors.Unavailable):
    """The platform may or may not have taken it: the connection ended after the request was written."""


class Channel(Protocol):
    """A platform that people talk on."""

    @property
    def name(self) -> ids.ChannelName:
        """The slug in the registry."""
        ...

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """What can be sent; enforced before `send` is called."""
        ...

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected naming the field and the rule when an account's configuration cannot work."""
        ...

    def check_secret(self, kind: SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected `bad_secret`, never quoting it, when this channel cannot use such a secret."""
        ...

    def verify(self, request: WebhookRequest, credentials: Credentials) -> None:
        """Raise Rejected (status 401) unless a live secret of the account signed exactly this, recently.

        Called before anything else is done with the request; no secrets means no.
        """
        ...

    def read(self, request: WebhookRequest, account: Account) -> Reading:
        """The messages in a verified request. Raises Rejected (status 400) naming the field and the rule."""
        ...

    async def send(self, account: Account, credentials: Credentials, command: outbound_pb2.SendCommand) -> Sent:
        """Say it on the platform, once.

        Raises Rejected when the platform refuses it for good, Unavailable (with the platform's own `after_s`) when it
        certainly did not take it and may later, Ambiguous when that cannot be known.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Extension:
    """A channel of another distribution: its one entry as `registry.toml` has them, and its adapter."""

    registry: str
    channel: Channel


class MakesExtension(Protocol):
    """What `channels.adapters` names, as `module:factory`."""

    def __call__(self, *, timeout_s: float, tolerance_s: float) -> Extension:
        """Called once a process, with the seconds of `send_deadline_s` and `replay_window_s`."""
        ...


class Accounts(Protocol):
    """Where accounts and their secrets come from (the room's own store; a dictionary in tests)."""

    async def find(self, channel: str, account: str) -> tuple[Account, Credentials]:
        """An account by its global id, with its live secrets.

        May be up to 30 s old. Raises Rejected (status 404) when there is none on that channel.
        """
        ...


class Tenants(Protocol):
    """What this room asks the tenancy room."""

    async def require_active(self, tenant: ids.TenantId) -> None:
        """Raise Rejected (404 unknown, 403 suspended) unless the tenant may act."""
        ...
