"""What an operator may set of the channels room."""

import dataclasses

from penstock.base import errors
from penstock.state import settings as state_settings

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class ChannelsSettings:
    """Webhooks, accounts, sending, and the terminal."""

    body_limit_bytes: int = MIB
    """Largest body of a webhook; beyond it the answer is 413, before the body has been read."""

    body_deadline_s: float = 10.0
    """Seconds in which a webhook's body must have arrived whole; then the answer is 408."""

    requests_per_account: int = 64
    """Webhooks of one account handled at once by one process; beyond that the answer is 503 with Retry-After."""

    replay_window_s: float = 300.0
    """Seconds by which a signature's time may differ from our clock, either way."""

    account_cache_s: float = 10.0
    """Seconds for which another process may still see an account as it was (disabled, a retired secret). At most 30."""

    missing_cache_s: float = 2.0
    """Seconds for which an account that was not found is not looked for again."""

    send_deadline_s: float = 30.0
    """Seconds a platform may take to answer; after that nobody knows whether it took the message."""

    resends: int = 1
    """How often a command is sent again when nobody knows whether the platform took it. Each is marked ambiguous."""

    suspended_retry_s: float = 30.0
    """Seconds after which what belongs to a suspended tenant is tried again."""

    terminal_streams: int = 4
    """Reply streams that one terminal account may hold open at once."""

    terminal_poll_s: float = 1.0
    """Seconds after which a reply stream looks by itself for what another process has sent."""

    keep_messages_days: int = 0
    """Days for which what people said is kept; then its rows are removed. 0: for ever; else at least 8, as in
    streams."""

    keep_commands_days: int = 0
    """Days for which what apps said is kept; then its rows are emptied. 0: for ever. No longer than what is
    answered."""

    keep_unknown_events_days: int = 90
    """Days for which events of unknown kinds are kept; then their rows are removed. 0: for ever. At least 8."""

    unknown_events_per_account: int = 10_000
    """Events of unknown kinds that are kept for one account, about; what is over is answered 200 and only counted."""

    unknown_bytes_per_account: int = 64 * MIB
    """Bytes of them, likewise."""

    adapters: str = ""
    """Channels of other distributions that this installation runs, as `module:factory`, separated by commas. Whatever
    is named here runs inside the core, with all that the core may do: name only what you would also install as it."""

    def __post_init__(self) -> None:
        for field in ("keep_messages_days", "keep_commands_days", "keep_unknown_events_days"):
            state_settings.check_days(f"channels.{field}", getattr(self, field), least=8)
        if self.keep_messages_days and not 0 < self.keep_commands_days <= self.keep_messages_days:
            raise errors.Rejected(
                "bad_setting",
                "channels.keep_commands_days must be 8 to channels.keep_messages_days: without what it answers, nobody "
                "can tell to whom something was said",
                field="channels.keep_commands_days",
            )
        for field, least, most in (
            ("body_limit_bytes", 1024, 64 * MIB),
            ("body_deadline_s", 0.1, 300),
            ("requests_per_account", 1, 100_000),
            ("replay_window_s", 1, 3600),
            ("account_cache_s", 0, 30),
            ("missing_cache_s", 0, 30),
            ("send_deadline_s", 0.1, 240),
            ("resends", 0, 100),
            ("suspended_retry_s", 1, 600),
            ("terminal_streams", 1, 1000),
            ("terminal_poll_s", 0.05, 60),
            ("unknown_events_per_account", 0, 1_000_000),
            ("unknown_bytes_per_account", 0, 1 << 40),
        ):
            if not least <= getattr(self, field) <= most:
                raise errors.Rejected(
                    "bad_setting", f"channels.{field} must be between {least} and {most}", field=f"channels.{field}"
                )
