"""How much of unknown kinds is kept for one account: whoever may press a button must not be able to fill the disk.

Only requests that hold such an event come here. What an account has is asked of Postgres at most once in `FRESH_S` and
counted on in between, so a process may let in a little more than the settings say, and another one as much again; what
is over costs Postgres nothing.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Final

from penstock.base import clock as clocks
from penstock.base import telemetry
from penstock.channels import ports
from penstock.channels.model import unknown
from penstock.channels.service import stores

FRESH_S: Final = 60.0
"""Seconds for which a process counts by itself before it asks again what an account has."""

ACCOUNTS: Final = 1_000
"""Accounts that are counted at once; of others it is asked again when they come back."""

_log = telemetry.logger("channels.allowance")

not_kept = telemetry.counter(
    "penstock_inbound_unknown_not_kept_total",
    labels=("channel",),
    meaning="Verified events of kinds that this build does not know, answered 200 and not kept, since their account "
    "has as many as it may (channels.unknown_events_per_account, channels.unknown_bytes_per_account).",
    remedy="'penstock account unknown ls --account' shows what fills it: subscribe to fewer kinds of event at the "
    "platform, keep them for fewer days (channels.keep_unknown_events_days), or allow more.",
)


@dataclasses.dataclass(slots=True)
class _Held:
    events: int
    size_bytes: int
    until: float


class Allowance:
    """So many events, and bytes of them, for each account."""

    def __init__(self, store: stores.ReadsUnknown, *, clock: clocks.Clock, most_events: int, most_bytes: int) -> None:
        self._store, self._clock, self._most_events, self._most_bytes = store, clock, most_events, most_bytes
        self._held: collections.OrderedDict[str, _Held] = collections.OrderedDict()

    async def admit(self, account: ports.Account, events: Sequence[unknown.Kept]) -> list[unknown.Kept]:
        """Those of one request that there is room for; the others are counted as not kept. Raises Unavailable."""
        held = self._held.get(account.id)
        if held is None or held.until <= self._clock.monotonic():
            held = await self._looked(account)
        admitted: list[unknown.Kept] = []
        number, size_bytes = held.events, held.size_bytes
        for one in events:
            if number < self._most_events and size_bytes + len(one.body) <= self._most_bytes:
                number, size_bytes = number + 1, size_bytes + len(one.body)
                admitted.append(one)
        if len(admitted) < len(events):
            not_kept.labels(account.channel).inc(len(events) - len(admitted))
        return admitted

    def added(self, account: ports.Account, events: Sequence[unknown.Kept]) -> None:
        """These are stored now, and were not before."""
        held = self._held.get(account.id)
        if held is not None:
            held.events += len(events)
            held.size_bytes += sum(len(one.body) for one in events)

    async def _looked(self, account: ports.Account) -> _Held:
        """What the table says that an account has."""
        events, size_bytes = await self._store.held(account.tenant, account.id)
        held = self._held[account.id] = _Held(events, size_bytes, self._clock.monotonic() + FRESH_S)
        self._held.move_to_end(account.id)
        if len(self._held) > ACCOUNTS:
            self._held.popitem(last=False)
        if events >= self._most_events or size_bytes >= self._most_bytes:
            _log.warning("no room for events of unknown kinds", channel=account.channel, account=account.id)
        return held
