"""What the use cases ask of the room's tables, so that a dictionary can stand in for Postgres in a test."""

from collections.abc import Sequence
from typing import Protocol

from penstock.base import ids
from penstock.channels import ports
from penstock.channels.model import account, command, event, unknown
from penstock.channels.store import accounts, commands, messages
from penstock.messages.v1 import outbound_pb2
from penstock.spine import ports as spine_ports


class FindsAccounts(Protocol):
    """See `store.accounts.AccountStore`."""

    async def find(self, account: str) -> accounts.FoundAccount | None:
        """An account by its global id, with its sealed live secrets."""
        ...


class KeepsAccounts(FindsAccounts, Protocol):
    """See `store.accounts.AccountStore`."""

    async def insert(self, account: ports.Account, secrets: Sequence[account.SealedSecret]) -> None:
        """Write a new account; Rejected `conflict` when its name is taken."""
        ...

    async def list(self, tenant: ids.TenantId) -> Sequence[account.AccountDetails]:
        """A tenant's accounts, by name."""
        ...

    async def details(self, tenant: ids.TenantId, account: str) -> account.AccountDetails | None:
        """One of a tenant's accounts."""
        ...

    async def add_secret(self, tenant: ids.TenantId, account: str, secret: account.SealedSecret) -> bool:
        """False when two of its kind are live."""
        ...

    async def retire_secret(self, tenant: ids.TenantId, account: str, secret: str) -> bool:
        """False when none of that id is live."""
        ...

    async def set_disabled(self, tenant: ids.TenantId, account: str, *, disabled: bool) -> bool:
        """False when there is no such account."""
        ...

    async def change(self, before: ports.Account, after: ports.Account) -> bool:
        """Another name and configuration; False when it is not as it was `before` any more."""
        ...


class KeepsMessages(Protocol):
    """See `store.messages.MessageStore`."""

    async def add(
        self,
        account: ports.Account,
        events: Sequence[event.Event],
        outgoing: Sequence[spine_ports.Outgoing],
        unknown: Sequence[unknown.Kept] = (),
    ) -> messages.Recorded:
        """Store the events that are new, what publishes them, and those of unknown kinds, all or nothing."""
        ...


class ReadsUnknown(Protocol):
    """See `store.unknown.UnknownStore`."""

    async def latest(self, tenant: ids.TenantId, account: str, limit: int) -> Sequence[tuple[str, unknown.Kept]]:
        """Accounts and their latest unknown events, without bodies, newest first."""
        ...

    async def find(self, tenant: ids.TenantId, account: str, event_id: str) -> unknown.Kept | None:
        """One with its body."""
        ...

    async def held(self, tenant: ids.TenantId, account: str) -> tuple[int, int]:
        """How many an account has, and how many bytes their bodies."""
        ...


class KeepsCommands(Protocol):
    """See `store.commands.CommandStore`."""

    async def claim(
        self, command: outbound_pb2.SendCommand, *, holder: str, sending: bool
    ) -> command.Claimed | command.Settled:
        """Take up a command before its platform is asked."""
        ...

    async def finish(
        self,
        command: outbound_pb2.SendCommand,
        outcome: command.Outcome,
        *,
        holder: str,
        receipt: spine_ports.Outgoing | None,
        numbered: bool,
    ) -> bool:
        """Store how an attempt ended, with its receipt; False when the row is no longer the holder's."""
        ...

    async def target(self, command: outbound_pb2.SendCommand) -> str:
        """The platform's id of what its target command said; empty when that was not sent."""
        ...


class ReadsReplies(Protocol):
    """See `store.commands.CommandStore`."""

    async def latest(self, tenant: ids.TenantId, account: str) -> int:
        """The last sequence given out for an account."""
        ...

    async def replies(self, tenant: ids.TenantId, account: str, *, after: int, limit: int) -> Sequence[commands.Reply]:
        """What apps said after a sequence, in order."""
        ...
