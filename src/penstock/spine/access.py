"""The one table of who may do what on the bus: an account for the owner, one per role that runs apart, one per tenant.

Permissions would be no fence: nats-server does not check reply subjects, so whoever may ask for a message may have it
published anywhere. Between accounts nothing passes but what one exports and the other imports, answers included: a
reply subject means nothing outside the account of whoever asked. So the owner's account has JetStream and every
stream, and exports services; an account of another imports those that it needs, each for its own subjects only.

Whatever an account imports, it must be harmless in the hands of somebody hostile with any body, header and reply.
Hence no API that reads or makes things by what the *body* says: an app asks the core for that (`desk`).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

from penstock.base import errors, ids
from penstock.spine import consumer, stream, subject, suspects

OWNER: Final = "PENSTOCK"
"""The account that has JetStream: the core, the command line and whoever runs the platform."""

CONNECTIONS: Final = 1024
"""Of all apps of one tenant; a process has two. A server has room for 65,536."""
SUBSCRIPTIONS: Final = 50_000
"""Of all apps of one tenant; a process has about twenty."""

API_PREFIX: Final = "penstock.api"
"""What stands for `$JS.API` in the accounts of roles (`nats.api_prefix`)."""
_API: Final = "$JS.API"
_INBOUND: Final = stream.MESSAGES_INBOUND.name
_OUTBOUND: Final = stream.MESSAGES_OUTBOUND.name
_SUSPECTS: Final = f"KV_{suspects.BUCKET}"


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A service of the owner's account; `many`: one question may have several answers."""

    subject: str
    many: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Import:
    """What one account takes of an export: its subject, or a narrower one, under another name if `to` is set.

    Its own `$JS.API` answers every account that has no JetStream, before a service that it imports under that name.
    """

    export: Export
    subject: str
    to: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """One account beside the owner's, its only login, and all that it may do outside of itself.

    `connections` and `subscriptions` are the most that it may have; 0 leaves that to the server.
    """

    name: str
    login: str
    imports: tuple[Import, ...]
    connections: int = 0
    subscriptions: int = 0

    @property
    def exports(self) -> frozenset[Export]:
        """What the owner's account must export to it."""
        return frozenset(each.export for each in self.imports)


# What apps use. A tenant, or a consumer of a tenant, stands in every subject.
PULL: Final = Export(f"{_API}.CONSUMER.MSG.NEXT.{_INBOUND}.*", many=True)
SETTLE: Final = Export(f"$JS.ACK.{_INBOUND}.>")
SEND: Final = Export("tenant.*.messages.out.>")
JOIN: Final = Export("penstock.join.*")
DESK: Final = Export("penstock.desk.*.*.*")
HEARTBEAT: Final = Export("penstock.heartbeat.*.*")


def of_tenant(tenant: str, apps: Iterable[str] = ()) -> Account:
    """The account that all apps of one tenant share: `apps` are the names of those that have joined.

    They trust each other. Raises Rejected for a tenant or a name that is no slug.
    """
    owner = ids.tenant_id(tenant)
    imports = [
        Import(SEND, subject.of_tenant(stream.MESSAGES_OUTBOUND.subjects[0], owner)),
        Import(JOIN, subject.join(owner)),
    ]
    for app in sorted(set(apps)):
        imports += _of_app(owner, app)
    return Account(f"APPS_{owner}", f"apps-{owner}", tuple(imports), CONNECTIONS, SUBSCRIPTIONS)


def _of_app(tenant: str, app: str) -> list[Import]:
    """By exact names of durables: a name is one token, of which a pattern cannot match a part."""
    policy = consumer.of_app(tenant, app)
    names = [durable.name for durable in policy.durables()]
    return [
        Import(DESK, subject.desk(tenant, app, "*")),
        Import(HEARTBEAT, f"penstock.heartbeat.{policy.name}.*"),
        *(Import(PULL, f"{_API}.CONSUMER.MSG.NEXT.{_INBOUND}.{name}") for name in names),
        *(Import(SETTLE, f"$JS.ACK.{_INBOUND}.{name}.>") for name in names),
    ]


def _whole(*exports: Export) -> tuple[Import, ...]:
    return tuple(Import(each, each.subject, _renamed(each.subject)) for each in exports)


def _renamed(subject: str) -> str:
    """The name under which a role finds a part of JetStream's API; pulling is the one part that needs no other."""
    head, _, verb = subject.partition(f"{_API}.")
    return "" if head or verb.startswith("CONSUMER.MSG.NEXT.") else f"{API_PREFIX}.{verb}"


def _reads(*names: str) -> tuple[Import, ...]:
    """What streams, their durables and their messages are: what publishing without loss and doubting need.

    Not making durables, though a role needs some: one that pushes could be made to push into any API of the owner's.
    """
    verbs = ("STREAM.INFO.{}", "STREAM.MSG.GET.{}", "CONSUMER.INFO.{}.*")
    return _whole(*(Export(f"{_API}.{verb.format(name)}") for name in names for verb in verbs))


def _heartbeat(role: str) -> tuple[Import, ...]:
    return (Import(HEARTBEAT, f"penstock.heartbeat.{role}.*"),)


# Publishing the outbox of `channels`, which both roles write to: whoever holds its lease publishes for both.
_PUBLISHING: Final = (
    *_reads(_INBOUND, _OUTBOUND, stream.RECEIPTS.name),
    *_whole(
        Export(f"{_API}.STREAM.INFO.{stream.QUARANTINE.name}"),
        Export(f"{_API}.STREAM.INFO.{stream.ADVISORIES.name}"),
        Export(f"{_API}.STREAM.NAMES"),
        Export(stream.MESSAGES_INBOUND.subjects[0]),
        Export(stream.RECEIPTS.subjects[0]),
    ),
)
_SENDING: Final = _whole(
    Export(f"{_API}.CONSUMER.MSG.NEXT.{_OUTBOUND}.*", many=True),
    Export(f"{_API}.CONSUMER.UNPIN.{_OUTBOUND}.*"),
    Export(f"$JS.ACK.{_OUTBOUND}.>"),
    Export(subject.quarantine("acme", _OUTBOUND, consumer.OUTBOUND.name).replace("acme", "*", 1)),
    Export(f"{_API}.STREAM.INFO.{_SUSPECTS}"),
    Export(f"{_API}.STREAM.MSG.GET.{_SUSPECTS}"),
    Export(f"$KV.{suspects.BUCKET}.{consumer.OUTBOUND.name}.>"),
)

ROLES: Final = {
    "inbound": Account("ROLE_inbound", "role-inbound", (*_PUBLISHING, *_heartbeat("inbound"))),
    "outbound": Account("ROLE_outbound", "role-outbound", (*_PUBLISHING, *_SENDING, *_heartbeat("outbound"))),
}
"""Roles that can run apart from the owner. `state` makes streams and durables and answers apps: it is the owner."""


def exports(accounts: Sequence[Account]) -> dict[Export, tuple[str, ...]]:
    """What the owner's account exports, each with the names of the accounts that may import it.

    Raises Rejected `twin_account` for two accounts of one name or login.
    """
    for names in ([OWNER, *(account.name for account in accounts)], [account.login for account in accounts]):
        if len(set(names)) != len(names):
            raise twins()
    users: dict[Export, list[str]] = {}
    for account in accounts:
        for export in account.exports:
            users.setdefault(export, []).append(account.name)
    return {export: tuple(sorted(users[export])) for export in sorted(users, key=lambda each: each.subject)}


def twins() -> errors.Rejected:
    """The error for two accounts that nobody could tell apart."""
    return errors.Rejected("twin_account", "two accounts of the bus have one name or login", field="accounts")
