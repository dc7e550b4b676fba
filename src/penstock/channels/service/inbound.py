"""Take in what people say: believe it, read it, store it with what publishes it, and only then answer.

The order is the promise. Nothing is done with a request before its signature holds; the platform hears "200" only
after message and outbox row are committed together; an event that comes again is answered the same and published once.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, telemetry
from penstock.channels import errors as channel_errors
from penstock.channels import ports
from penstock.channels.model import event, unknown
from penstock.channels.service import allowance, directory, stores
from penstock.spine import route

_log = telemetry.logger("channels.inbound")

received = telemetry.counter(
    "penstock_inbound_messages_total",
    labels=("channel",),
    meaning="Events stored for the first time, each published once.",
    remedy="Flat while people talk: look at penstock_inbound_refused_total, then at the platform's own delivery log.",
)
duplicates = telemetry.counter(
    "penstock_inbound_duplicates_total",
    labels=("channel", "body"),
    meaning="Events that came again and were answered 200 without publishing; body is same or changed.",
    remedy="same: the platform repeats what we answered too late (look at penstock_inbound_seconds). changed: the "
    "platform reuses ids for different events; the first one stands; report it with the adapter's name.",
)
ignored = telemetry.counter(
    "penstock_inbound_ignored_total",
    labels=("channel",),
    meaning="Verified events of kinds that are known to carry no message.",
    remedy="Most of the traffic: subscribe to fewer kinds of event at the platform.",
)
unknown_kinds = telemetry.counter(
    "penstock_inbound_unknown_total",
    labels=("channel",),
    meaning="Verified events of kinds that this build does not know, each kept once, as it came.",
    remedy="'penstock account unknown ls' lists them: a platform has begun to send something new. Subscribe to fewer "
    "kinds of event, or report the kind with the adapter's name.",
)
refused = telemetry.counter(
    "penstock_inbound_refused_total",
    labels=("channel", "code"),
    meaning="Webhooks refused, by stable code.",
    remedy="wrong_signature, stale_signature: secrets or clocks differ. no_account: a platform calls an old address. "
    "tenant_suspended, intake_closed and database codes: platforms try again, nothing is lost yet.",
)
seconds = telemetry.histogram(
    "penstock_inbound_seconds",
    labels=("channel",),
    meaning="Seconds from a whole request to its answer, refused ones included.",
    remedy="Above 0.5: Postgres is slow to commit (look at its disk), or this process lacks CPU.",
)


@dataclasses.dataclass(slots=True)
class Caller:
    """Whom a request says it comes from, before anybody has believed it."""

    label: str
    channel: ports.Channel
    account: ports.Account
    credentials: ports.Credentials


class Inbound:
    """Webhooks of platforms become messages on the spine. `intake_open` is asked each time and must not block."""

    def __init__(
        self,
        where: directory.Directory,
        messages: stores.KeepsMessages,
        intake_open: Callable[[], bool],
        unknown_allowed: allowance.Allowance,
    ) -> None:
        self._where, self._messages, self._intake_open = where, messages, intake_open
        self._unknown_allowed = unknown_allowed

    async def caller(self, channel: str, account_id: str) -> Caller:
        """Who may be calling, before a stranger's body is read. Raises Rejected (404) without such an account."""
        label = self._where.label(channel)
        try:
            found = self._where.channel(channel)
            return Caller(label, found, *await self._where.accounts.find(found.name, account_id))
        except errors.PenstockError as error:
            refused.labels(label, error.code).inc()
            raise

    async def receive(self, caller: Caller, request: ports.WebhookRequest) -> ports.Answer:
        """Answer one webhook; when this returns, what it held is stored.

        Raises Rejected (400 unreadable, 401 not signed by the account, 403 disabled) and Unavailable (suspended tenant,
        closed intake, Postgres away or too busy): the platform tries again and nothing is lost.
        """
        begun = time.perf_counter()
        try:
            # Also of what is refused: its log lines, here and at the edge, say whose account it was for.
            context = contexts.from_lowered(caller.account.tenant, request.headers)
            telemetry.bind(context)
            await self._where.believe(caller.channel, caller.account, caller.credentials, request)
            if not self._intake_open():
                raise channel_errors.intake_closed()
            if not telemetry.tracing():
                return await self._take(context, caller, request)
            names = {"channel": caller.account.channel, "account": caller.account.id}
            with telemetry.span("webhook receive", context, "server", **names) as inner:
                return await self._take(inner, caller, request)
        except errors.PenstockError as error:
            refused.labels(caller.label, error.code).inc()
            raise
        finally:
            _seconds(caller.label).observe(time.perf_counter() - begun)

    async def _take(self, context: contexts.Context, caller: Caller, request: ports.WebhookRequest) -> ports.Answer:
        reading = caller.channel.read(request, caller.account)
        if reading.ignored:
            ignored.labels(caller.account.channel).inc(len(reading.ignored))
        if reading.messages or reading.unknown:
            await self._store(context, caller.account, reading, request)
        return reading.answer

    async def _store(
        self,
        context: contexts.Context,
        account: ports.Account,
        reading: ports.Reading,
        request: ports.WebhookRequest,
    ) -> None:
        complete = [event.complete(message, account, request.received_at) for message in reading.messages]
        events = event.distinct(complete) if len(complete) > 1 else complete
        outgoing = [route.INBOUND.encode(context, e.message) for e in events]
        kept: Sequence[unknown.Kept] = ()
        if reading.unknown:
            kept = await self._unknown_allowed.admit(account, unknown.kept(reading.unknown, request.received_at))
            if not kept and not events:
                return
        if telemetry.tracing():
            with telemetry.span("message store", context, channel=account.channel, events=len(events)):
                recorded = await self._messages.add(account, events, outgoing, kept)
        else:
            recorded = await self._messages.add(account, events, outgoing, kept)
        if recorded.unknown:
            self._unknown_allowed.added(account, kept)
            unknown_kinds.labels(account.channel).inc(recorded.unknown)
        _received(account.channel).inc(len(recorded.new))
        if repeated := len(complete) - len(recorded.new) - len(recorded.changed):
            duplicates.labels(account.channel, "same").inc(repeated)
        if recorded.changed:
            duplicates.labels(account.channel, "changed").inc(len(recorded.changed))
            _log.warning("event id reused", channel=account.channel, account=account.id)


_received: Final = functools.cache(received.labels)
_seconds: Final = functools.cache(seconds.labels)
