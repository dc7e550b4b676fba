"""Look into events of kinds that nobody here knows: what a platform has begun to send, and what it looked like."""

import dataclasses
from collections.abc import Sequence

from penstock.base import errors, ids
from penstock.channels import errors as channel_errors
from penstock.channels.model import account as accounts
from penstock.channels.model import unknown as model
from penstock.channels.service import stores

MOST = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """An unknown event without its body."""

    account: str
    event_id: str
    kind: str
    size_bytes: int
    received_at: str


class UnknownEvents:
    """A tenant's unknown events."""

    def __init__(self, store: stores.ReadsUnknown) -> None:
        self._store = store

    async def list(self, tenant: str, *, account: str = "", limit: int = 50) -> Sequence[Listed]:
        """The latest, newest first; of one account, or of all. Raises Rejected `bad_limit`, `no_account`."""
        if not 1 <= limit <= MOST:
            raise errors.Rejected("bad_limit", f"limit must be 1-{MOST}", field="limit")
        if account and not accounts.is_account_id(account):
            raise channel_errors.no_account()
        found = await self._store.latest(ids.tenant_id(tenant), account, limit)
        return [Listed(of, one.event_id, one.kind, one.size_bytes, one.received_at.isoformat()) for of, one in found]

    async def show(self, tenant: str, account: str, event_id: str) -> model.Kept:
        """One with its body. Raises Rejected `no_unknown_event` (404)."""
        found = None
        if accounts.is_account_id(account) and "\0" not in event_id:
            found = await self._store.find(ids.tenant_id(tenant), account, event_id)
        if found is None:
            raise errors.Rejected(
                "no_unknown_event",
                "this account has no unknown event of that id",
                hint="'penstock account unknown ls' lists them.",
                status=404,
                field="event_id",
            )
        return found
