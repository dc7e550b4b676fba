"""Show a terminal what apps said in its account's conversations: from any point on, live, and again after a break.

The truth is the command rows; a wake-up only says that looking is worth while now. What another process sent is found
by looking every `poll_s` anyway.
"""

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from typing import Final

from penstock.base import errors, telemetry
from penstock.channels import errors as channel_errors
from penstock.channels import ports
from penstock.channels.model import account as model
from penstock.channels.service import directory, stores
from penstock.channels.store import commands

BATCH: Final = 100

streams = telemetry.gauge(
    "penstock_terminal_streams",
    meaning="Terminals that are listening for replies.",
    remedy="More than there are people: some program reconnects without hanging up.",
)


Opened = tuple[ports.Account, ports.Credentials]
"""The account that a stream was opened for, and its live secrets at that time."""


class Follower:
    """One terminal's place in its account's replies."""

    def __init__(self, where: directory.Directory, rows: stores.ReadsReplies, opened: Opened, *, poll_s: float) -> None:
        self._where, self._rows, self._opened, self._poll_s = where, rows, opened, poll_s
        self._woken = asyncio.Event()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it should end: its terminal left, or this process is stopping."""
        return self._over

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    def end(self) -> None:
        """Let whoever waits return, and come no more."""
        self._over = True
        self._woken.set()

    async def after(self, sequence: int) -> Sequence[commands.Reply]:
        """What was said after `sequence`, in order; waits up to `poll_s` when that is nothing, and may then be empty.

        Raises Rejected once the account is disabled or gone, or a secret that was live at the beginning is not any
        more (it may be the one that opened the stream), Unavailable when Postgres is away or the tenant suspended.
        """
        account, opened_with = self._opened
        account, credentials = await self._where.accounts.find(account.channel, account.id)
        if account.disabled:
            raise channel_errors.account_disabled()
        if not set(opened_with.secrets) <= set(credentials.secrets):
            raise channel_errors.secret_retired()
        await self._where.require_active(account.tenant)
        self._woken.clear()
        found = await self._rows.replies(account.tenant, account.id, after=sequence, limit=BATCH)
        if not found and not self._over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
        return found


class Replies:
    """Reply streams of terminal accounts: who may open one, how many, and when they end."""

    def __init__(
        self, where: directory.Directory, rows: stores.ReadsReplies, *, most_per_account: int, poll_s: float
    ) -> None:
        self._where, self._rows, self._most, self._poll_s = where, rows, most_per_account, poll_s
        self._followers: dict[str, set[Follower]] = {}
        self._stopping = False

    async def authenticate(self, account_id: str, request: ports.WebhookRequest) -> Opened:
        """The terminal account that signed this request with its secret, as it signs what it sends.

        Raises what `Directory.verified` raises.
        """
        return await self._where.verified(self._where.channel(model.TERMINAL), account_id, request)

    async def latest(self, account: ports.Account) -> int:
        """The sequence of the account's last reply so far; 0 before the first. Raises Unavailable."""
        return await self._rows.latest(account.tenant, account.id)

    @contextlib.contextmanager
    def follow(self, opened: Opened) -> Generator[Follower]:
        """A place among the account's streams. Raises Unavailable when it has enough, or while stopping."""
        if self._stopping:
            raise errors.Unavailable("stopping", "this process is stopping", after_s=1.0)
        account, _ = opened
        mine = self._followers.setdefault(account.id, set())
        if len(mine) >= self._most:
            raise errors.Unavailable(
                "too_many_streams", f"this account has {self._most} streams open", after_s=5.0, throttled=True
            )
        follower = Follower(self._where, self._rows, opened, poll_s=self._poll_s)
        mine.add(follower)
        streams.inc()
        try:
            yield follower
        finally:
            streams.dec()
            mine.discard(follower)
            if not mine:
                self._followers.pop(account.id, None)

    def wake(self, account: str) -> None:
        """An account has a new reply."""
        for follower in self._followers.get(account, ()):
            follower.wake()

    def stop(self) -> None:
        """End every stream, so that the listener can drain; terminals come back to another process by sequence."""
        self._stopping = True
        for followers in self._followers.values():
            for follower in followers:
                follower.end()
