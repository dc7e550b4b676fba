"""How the process of an app runs: `PENSTOCK_SDK__<FIELD>` in the environment."""

import dataclasses

from penstock.base import errors


@dataclasses.dataclass(frozen=True)
class SdkSettings:
    """One app's process."""

    connect_s: float = 10.0
    """Seconds to wait for the bus when the app starts; once connected, it is waited for without end."""

    drain_s: float = 25.0
    """Seconds that handlers get to finish after SIGTERM; what is left then is handled by another replica."""

    heartbeat_s: float = 5.0
    """Seconds between two heartbeats."""

    probe_port: int = 0
    """Port of `/health`, `/ready` and `/metrics`; 0: none."""

    probe_host: str = "127.0.0.1"
    """Address they listen on; `0.0.0.0` in a container."""

    ready_fd: int = 0
    """Inherited file descriptor that gets a line once the app listens, as s6 and dinit ask for it; 0: none."""

    log_level: str = "info"
    """Least important log line written: debug, info, warning or error."""

    def __post_init__(self) -> None:
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise errors.Rejected(
                "bad_setting", "sdk.log_level must be debug, info, warning or error", field="sdk.log_level"
            )
        for field in ("connect_s", "drain_s", "heartbeat_s"):
            if not getattr(self, field) > 0:
                raise errors.Rejected("bad_setting", f"sdk.{field} must be more than 0", field=f"sdk.{field}")
        if not 0 <= self.probe_port <= 65_535:
            raise errors.Rejected("bad_setting", "sdk.probe_port must be 0-65535", field="sdk.probe_port")
