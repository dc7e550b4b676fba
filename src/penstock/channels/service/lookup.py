"""Accounts by id, fast: a bounded cache, one look at the tables per account at a time, and cheap to scan against.

An id that has not the form of one is refused without a look. Ids that were not found are remembered briefly, in a
small table of their own, and only few unknown ids are looked for at once: a flood of made-up ids costs neither memory
nor the pool, and does not push known accounts out.
"""

import asyncio
import collections
import dataclasses
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors, settings, telemetry
from penstock.channels import errors as channel_errors
from penstock.channels import ports, registry
from penstock.channels.model import account as model
from penstock.channels.service import stores
from penstock.channels.store import accounts
from penstock.sealing import sealer as sealing

PURPOSE: Final = "channel-secret"

KNOWN: Final = 10_000
MISSING: Final = 1_000
UNKNOWN_AT_ONCE: Final = 3
UNKNOWN_WAITING: Final = 300


looked = telemetry.counter(
    "penstock_account_lookups_total",
    labels=("outcome",),
    meaning="Looks at the tables for an account that was not known, or not fresh, here: found, missing, busy (refused, "
    "because too many unknown ones are looked for), failed.",
    remedy="missing or busy in numbers: somebody tries made-up ids; block them in front. failed: Postgres is away, or "
    "a secret does not open (the answer's code says which).",
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    account: ports.Account
    credentials: ports.Credentials
    until: float


class AccountLookup:
    """`ports.Accounts` over the room's tables. What it answers is at most `fresh_s` old."""

    def __init__(
        self,
        store: stores.FindsAccounts,
        sealer: sealing.Sealer,
        *,
        channels: registry.Registry,
        clock: clocks.Clock,
        fresh_s: float,
        missing_s: float,
    ) -> None:
        self._store, self._sealer, self._channels, self._clock = store, sealer, channels, clock
        self._fresh_s, self._missing_s = fresh_s, missing_s
        self._known: collections.OrderedDict[str, _Entry] = collections.OrderedDict()
        self._missing: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._loading: dict[str, asyncio.Task[_Entry | None]] = {}
        self._unknown = asyncio.Semaphore(UNKNOWN_AT_ONCE)

    async def find(self, channel: str, account: str) -> tuple[ports.Account, ports.Credentials]:
        """An account on a channel (its slug or an earlier one). Raises Rejected `no_account`, Unavailable."""
        if not model.is_account_id(account):
            raise channel_errors.no_account()
        entry = self._known.get(account)
        if entry is None or entry.until <= self._clock.monotonic():
            entry = await self._refreshed(account)
        if entry is None or entry.account.channel != self._channels.resolve(channel):
            raise channel_errors.no_account()
        return entry.account, entry.credentials

    def forget(self, account: str) -> None:
        """Look again next time: something about the account has changed."""
        if account in self._known:
            self._known[account] = _emptied(self._known[account])
        self._missing.pop(account, None)
        self._loading.pop(account, None)

    def forget_all(self) -> None:
        """Look again for each: some changes may not have been heard of."""
        for account, entry in self._known.items():
            self._known[account] = _emptied(entry)
        self._missing.clear()
        self._loading.clear()

    async def _refreshed(self, account: str) -> _Entry | None:
        if self._missing.get(account, 0.0) > self._clock.monotonic():
            return None
        task = self._loading.get(account)
        if task is None:
            if len(self._loading) >= UNKNOWN_WAITING and account not in self._known:
                looked.labels("busy").inc()
                raise errors.Unavailable("lookups_busy", "too many unknown accounts are being looked for", after_s=1.0)
            task = self._loading[account] = asyncio.create_task(self._load(account), name="account lookup")
            task.add_done_callback(_heard)
        # Shielded: the caller who came first may leave, the others still want the answer.
        return await asyncio.shield(task)

    async def _load(self, account: str) -> _Entry | None:
        outcome = "failed"
        try:
            entry = await self._looked_up(account)
            outcome = "missing" if entry is None else "found"
            return entry
        finally:
            looked.labels(outcome).inc()

    async def _looked_up(self, account: str) -> _Entry | None:
        until = self._clock.monotonic() + self._fresh_s
        try:
            if account in self._known:
                found = await self._store.find(account)
            else:
                async with self._unknown:
                    found = await self._store.find(account)
            entry = await self._opened(found, until) if found else None
            if self._loading.get(account) is asyncio.current_task():
                self._remember(account, entry)
            return entry
        finally:
            if self._loading.get(account) is asyncio.current_task():
                del self._loading[account]

    def _remember(self, account: str, entry: _Entry | None) -> None:
        if entry is None:
            self._known.pop(account, None)
            self._missing[account] = self._clock.monotonic() + self._missing_s
            while len(self._missing) > MISSING:
                self._missing.popitem(last=False)
            return
        self._known[account] = entry
        self._known.move_to_end(account)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    async def _opened(self, found: accounts.FoundAccount, until: float) -> _Entry:
        account = dataclasses.replace(found.account, channel=self._channels.resolve(found.account.channel))
        live: dict[ports.SecretKind, list[settings.Secret]] = {kind: [] for kind in ports.SecretKind}
        for secret in found.secrets:
            live[secret.kind].append(await self._open(account, secret))
        credentials = ports.Credentials(tuple(live[ports.SecretKind.SIGNING]), tuple(live[ports.SecretKind.TOKEN]))
        return _Entry(account, credentials, until)

    async def _open(self, account: ports.Account, secret: model.SealedSecret) -> settings.Secret:
        try:
            plain = await self._sealer.open(account.tenant, PURPOSE, owner(account.id, secret.id), secret.bytes)
        except errors.Rejected as error:
            # This process lacks the key. That is not the platform's fault: it shall ask again, not give up.
            raise errors.Unavailable(error.code, error.detail, hint=error.hint, after_s=30.0) from None
        return settings.Secret(plain.decode())


def owner(account: str, secret: str) -> str:
    """What a sealed secret is bound to besides its tenant: in another row it does not open."""
    return f"{account}/{secret}"


def _emptied(entry: _Entry) -> _Entry:
    """What is left of an account that must be looked at again: that there is one, so it queues behind no stranger."""
    return dataclasses.replace(entry, credentials=ports.Credentials(()), until=float("-inf"))


def _heard(task: asyncio.Task[_Entry | None]) -> None:
    """Everybody who waited may have left; an error that nobody hears then is no news."""
    if not task.cancelled():
        task.exception()
