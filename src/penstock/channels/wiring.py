"""Settings become a running room: adapters, stores and services joined, and the pieces that roles are made of."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from penstock.base import clock as clocks
from penstock.base import context as contexts
from penstock.channels import consumers, ports, registry, settings
from penstock.channels.adapters import (
    channel_cliq,
    channel_slack,
    channel_telegram,
    channel_terminal,
    channel_webhook,
    extension,
)
from penstock.channels.entrypoints import terminal, webhooks
from penstock.channels.service import accounts, allowance, directory, inbound, lookup, outbound, replies, unknown
from penstock.channels.store import accounts as account_rows
from penstock.channels.store import commands as command_rows
from penstock.channels.store import messages as message_rows
from penstock.channels.store import unknown as unknown_rows
from penstock.database import pool
from penstock.sealing import sealer as sealing
from penstock.spine import ports as spine_ports

lane_of = consumers.lane_of


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the room gets from the process that it runs in. `intake_open` must not block."""

    database: pool.Database
    sealer: sealing.Sealer
    tenants: ports.Tenants
    intake_open: Callable[[], bool] = lambda: True
    clock: clocks.Clock = dataclasses.field(default_factory=clocks.SystemClock)


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelsRoom:
    """The room's pieces: ASGI applications for the edge, a handler for the durable `outbound`, and accounts."""

    webhooks: webhooks.Webhooks
    terminal: terminal.Terminal
    outbound: Callable[[contexts.Context, spine_ports.Delivery], Awaitable[None]]
    accounts: accounts.Accounts
    channels: Mapping[str, ports.Channel]
    unknown: unknown.UnknownEvents
    replies: replies.Replies
    known: lookup.AccountLookup
    messages: message_rows.MessageStore

    def forget(self, account: str) -> None:
        """An account has changed: look at it again, and let its reply streams find out now."""
        self.known.forget(account)
        self.replies.wake(account)

    def forget_all(self) -> None:
        """Any account may have changed."""
        self.known.forget_all()

    def stop(self) -> None:
        """End what would keep the listener from draining (reply streams). Call it when draining begins."""
        self.replies.stop()

    async def close(self) -> None:
        """Wait for what is being stored, and let go of the platforms' connections."""
        self.stop()
        await self.messages.close()
        for channel in self.channels.values():
            await channel.close()


def adapters(limits: settings.ChannelsSettings) -> dict[str, ports.Channel]:
    """Every channel that ships with Penstock, by slug."""
    window_s = limits.replay_window_s
    shipped: list[ports.Channel] = [
        channel_webhook.WebhookChannel(timeout_s=limits.send_deadline_s, tolerance_s=window_s),
        channel_terminal.TerminalChannel(tolerance_s=window_s),
        channel_telegram.TelegramChannel(timeout_s=limits.send_deadline_s),
        channel_slack.SlackChannel(timeout_s=limits.send_deadline_s, tolerance_s=window_s),
        channel_cliq.CliqChannel(timeout_s=limits.send_deadline_s),
    ]
    return {channel.name: channel for channel in shipped}


def extended(limits: settings.ChannelsSettings) -> tuple[registry.Registry, dict[str, ports.Channel]]:
    """The registry and the adapters, with those of other distributions. Raises Rejected `bad_adapter` naming one."""
    found = [
        extension.load(name, timeout_s=limits.send_deadline_s, tolerance_s=limits.replay_window_s)
        for name in extension.names(limits.adapters)
    ]
    known = registry.load().joined(*(own for own, _ in found))
    return known, {**adapters(limits), **{channel.name: channel for _, channel in found}}


def build(
    limits: settings.ChannelsSettings, around: Surroundings, channels: Mapping[str, ports.Channel] | None = None
) -> ChannelsRoom:
    """Join the room. `channels` stand in for the shipped adapters in a test."""
    known, found = extended(limits) if channels is None else (registry.load(), channels)
    clock = around.clock
    account_store = account_rows.AccountStore(around.database)
    command_store = command_rows.CommandStore(around.database)
    cached = lookup.AccountLookup(
        account_store,
        around.sealer,
        channels=known,
        clock=clock,
        fresh_s=limits.account_cache_s,
        missing_s=limits.missing_cache_s,
    )
    where = directory.Directory(known, found, cached, around.tenants, limits.suspended_retry_s)
    told = replies.Replies(
        where, command_store, most_per_account=limits.terminal_streams, poll_s=limits.terminal_poll_s
    )
    sending = outbound.Outbound(where, command_store, limits=limits, clock=clock, said=told.wake)
    messages = message_rows.MessageStore(around.database)
    unknown_store = unknown_rows.UnknownStore(around.database)
    unknown_allowed = allowance.Allowance(
        unknown_store,
        clock=clock,
        most_events=limits.unknown_events_per_account,
        most_bytes=limits.unknown_bytes_per_account,
    )
    receiving = inbound.Inbound(where, messages, around.intake_open, unknown_allowed)
    return ChannelsRoom(
        webhooks.Webhooks(
            receiving,
            clock=clock,
            bounds=webhooks.Bounds(limits.body_limit_bytes, limits.body_deadline_s, limits.requests_per_account),
        ),
        terminal.Terminal(told, clock=clock),
        consumers.OutboundConsumer(sending).handle,
        accounts.Accounts(where, account_store, around.sealer, cached),
        found,
        unknown.UnknownEvents(unknown_store),
        told,
        cached,
        messages,
    )
