"""Send what apps say, once: claim the command, ask the platform, store how it ended with its receipt.

Between asking and storing lies the moment that no protocol can close: a process that dies there leaves a row that says
"sending", and the next one can only say that nobody knows. Everything else is exact: what was certainly not sent is
sent later, what was certainly sent is never sent again, and there is one receipt.
"""

import asyncio
import dataclasses
from collections.abc import Callable

from penstock.base import clock as clocks
from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.channels import errors as channel_errors
from penstock.channels import ports, settings
from penstock.channels.model import account as accounts
from penstock.channels.model import command as model
from penstock.channels.service import directory, stores
from penstock.messages.v1 import outbound_pb2
from penstock.spine import route

_log = telemetry.logger("channels.outbound")

ended = telemetry.counter(
    "penstock_outbound_commands_total",
    labels=("channel", "outcome"),
    meaning="Commands that came to an end (sent, rejected, expired, unknown), came again (duplicate, conflict), or "
    "were ended by somebody else meanwhile (superseded).",
    remedy="unknown: see penstock_outbound_ambiguous_total. conflict: an app uses one command_id for two things. "
    "superseded, growing: leases run out; the process lacks CPU or stalls.",
)
refused = telemetry.counter(
    "penstock_outbound_refused_total",
    labels=("channel", "code"),
    meaning="Commands not sent for good, by the code in their receipt.",
    remedy="unsupported: the app asks what the channel cannot do. no_account: it answers for an account that is not "
    "its tenant's. Platform codes: look the code up in the platform's documentation.",
)
ambiguous = telemetry.counter(
    "penstock_outbound_ambiguous_total",
    labels=("channel",),
    meaning="Commands whose receipt says ambiguous: a process died while sending, or the platform did not answer.",
    remedy="A steady rate: the platform is slow (raise channels.send_deadline_s) or processes are being killed.",
)
retries = telemetry.counter(
    "penstock_outbound_retries_total",
    labels=("channel", "reason"),
    meaning="Attempts that will be made again: unavailable (certainly not sent), ambiguous, unsaved (sent or not, its "
    "end could not be stored yet and nothing is sent meanwhile).",
    remedy="unavailable: the platform limits or fails. unsaved: Postgres is away.",
)
seconds = telemetry.histogram(
    "penstock_outbound_seconds",
    labels=("channel",),
    meaning="Seconds from a command's creation by its app to the platform's acceptance.",
    remedy="Growing with a short queue: the platform is slow. With a long one: one conversation or account gets more "
    "than it takes (penstock_lane_depth).",
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Way:
    """How a command gets out: through whom, for whom, and as which words."""

    channel: ports.Channel
    account: ports.Account
    credentials: ports.Credentials
    asked: outbound_pb2.SendCommand


class Outbound:
    """Commands become messages on platforms. One object per process: it remembers what it asked and could not store."""

    def __init__(
        self,
        where: directory.Directory,
        commands: stores.KeepsCommands,
        *,
        limits: settings.ChannelsSettings,
        clock: clocks.Clock,
        said: Callable[[str], None],
    ) -> None:
        """`said(account)` is called when a reply can be read by a terminal."""
        self._where, self._commands, self._limits, self._clock, self._said = where, commands, limits, clock, said
        self._holder = ids.new_id()
        # Never more than were being sent when Postgres went away: without it nothing new is claimed.
        self._unsaved: dict[tuple[str, str], tuple[outbound_pb2.SendCommand, model.Outcome]] = {}

    async def perform(self, context: contexts.Context, command: outbound_pb2.SendCommand) -> None:
        """Bring a command to its end; when this returns, its row is final and its receipt committed.

        Raises Unavailable to be called again with the same command (the platform or Postgres cannot now), Poisoned
        when not even a receipt could be stored, and Rejected `command_conflict`.
        """
        model.check_storable(command)
        outcome = self._remembered(command)
        if outcome is None:
            outcome = await self._attempt(context, command)
            if outcome is None:
                return
        await self._save(context, command, outcome)
        if outcome.state is model.State.WAITING:
            raise errors.Unavailable(outcome.code, "not sent yet", after_s=outcome.after_s)

    def _remember(self, command: outbound_pb2.SendCommand, outcome: model.Outcome) -> None:
        self._unsaved[command.tenant, command.command_id] = (command, outcome)

    def _remembered(self, command: outbound_pb2.SendCommand) -> model.Outcome | None:
        """How asking for these very words ended: others under the same id are a conflict, which claiming finds out."""
        asked, outcome = self._unsaved.get((command.tenant, command.command_id), (command, None))
        return outcome if asked is command or model.fingerprint(asked) == model.fingerprint(command) else None

    async def _attempt(self, context: contexts.Context, command: outbound_pb2.SendCommand) -> model.Outcome | None:
        """Claim and, unless something speaks against it, ask the platform; None when it had ended before."""
        way = await self._way(command)
        sending = isinstance(way, _Way)
        claimed = await self._commands.claim(command, holder=self._holder, sending=sending)
        if isinstance(claimed, model.Settled):
            ended.labels(self._where.label(command.channel), "duplicate" if claimed.same else "conflict").inc()
            if not claimed.same:
                raise channel_errors.command_conflict()
            return None
        refusal = None if isinstance(way, _Way) else way
        outcome = model.before_sending(command, claimed, refusal, resends=self._limits.resends)
        if outcome is None and isinstance(way, _Way):
            outcome = await self._ask(context, command, way, claimed)
        if outcome is not None:
            self._remember(command, outcome)
        return outcome

    async def _way(self, command: outbound_pb2.SendCommand) -> _Way | model.Refusal:
        """Who sends it for whom, or why it will not be sent. Raises Unavailable when that cannot be known now."""
        try:
            channel = self._where.channel(command.channel)
            account, credentials = await self._where.accounts.find(channel.name, command.account)
            if account.tenant != command.tenant:
                # Told like an account that does not exist: whose else it is, is nobody's business.
                raise channel_errors.no_account()
            if account.disabled:
                raise channel_errors.account_disabled()
            if not credentials.secrets:
                raise channel_errors.no_secret()
            refusal = model.expired(command, self._clock.now()) or model.unsupported(command, channel.capabilities)
            if refusal is not None:
                return refusal
            await self._where.require_active(account.tenant)
            asked: outbound_pb2.SendCommand | model.Refusal = command
            if model.aims_at_a_command(command):
                asked = model.aimed(command, await self._commands.target(command))
        except errors.Rejected as error:
            return model.Refusal(model.State.REJECTED, error.code, error.detail)
        return asked if isinstance(asked, model.Refusal) else _Way(channel, account, credentials, asked)

    async def _ask(
        self, context: contexts.Context, command: outbound_pb2.SendCommand, way: _Way, claimed: model.Claimed
    ) -> model.Outcome:
        """Ask the platform once. Whatever happens, how it ended is known to this process afterwards."""
        answer: ports.Sent | errors.PenstockError
        try:
            names = {"channel": way.account.channel, "account": way.account.id}
            # Bound, so that an adapter may tell its platform where in the trace it is.
            with telemetry.span("channel send", context, "client", **names) as inner, telemetry.bound(inner):
                # The adapter keeps the deadline and knows what its end means; this one is for an adapter that hangs.
                async with asyncio.timeout(self._limits.send_deadline_s * 1.25):
                    answer = await way.channel.send(way.account, way.credentials, way.asked)
        except errors.PenstockError as error:
            answer = error
        except TimeoutError:
            answer = ports.Ambiguous("no_answer", "the platform did not answer in time")
        except asyncio.CancelledError:
            answer = ports.Ambiguous("interrupted", "sending was interrupted")
            self._remember(command, self._judge(command, claimed, answer))
            raise
        except Exception as error:  # noqa: BLE001 - a bug in an adapter must not send a message five times
            _log.error("adapter failed", channel=way.account.channel, exc_info=error)
            answer = ports.Ambiguous("adapter_failed", f"the adapter raised {type(error).__name__}")
        return self._judge(command, claimed, answer)

    def _judge(
        self, command: outbound_pb2.SendCommand, claimed: model.Claimed, answer: ports.Sent | errors.PenstockError
    ) -> model.Outcome:
        return model.after_sending(command, claimed, answer, resends=self._limits.resends)

    async def _save(self, context: contexts.Context, command: outbound_pb2.SendCommand, outcome: model.Outcome) -> None:
        """Store the end of an attempt; what cannot be stored now stays remembered, so that it is not sent again."""
        label, now = self._where.label(command.channel), self._clock.now()
        final, sent = outcome.state.final, outcome.state is model.State.SENT
        receipt = route.RECEIPT.encode(context, model.receipt(command, outcome, now)) if final else None
        numbered = sent and label == accounts.TERMINAL
        try:
            ours = await self._commands.finish(
                command, outcome, holder=self._holder, receipt=receipt, numbered=numbered
            )
        except errors.Unavailable:
            retries.labels(label, "unsaved").inc()
            raise
        self._unsaved.pop((command.tenant, command.command_id), None)
        if ours:
            self._count(label, command, outcome)
        else:
            # Either an earlier try did commit, or another process took the command up and tells how it ended.
            ended.labels(label, "superseded").inc()
        if numbered:
            self._said(command.account)

    def _count(self, label: str, command: outbound_pb2.SendCommand, outcome: model.Outcome) -> None:
        state = outcome.state
        if state is model.State.WAITING:
            retries.labels(label, "ambiguous" if outcome.uncertain else "unavailable").inc()
        else:
            ended.labels(label, state.value).inc()
            if outcome.ambiguities:
                ambiguous.labels(label).inc()
        if state is model.State.SENT and command.HasField("created_at"):
            age_s = self._clock.now().timestamp() - command.created_at.ToNanoseconds() / 1e9
            seconds.labels(label).observe(max(0.0, age_s))
        elif state.final and state is not model.State.SENT:
            refused.labels(label, outcome.code).inc()
