"""What an operator may set of the embedded servers, and the URLs that replace them."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.base import errors, settings

MIB: Final = 1 << 20
GIB: Final = 1 << 30


def default_data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """`penstock` in the user's XDG data home; `/var/lib/penstock` for root, whose home others may not enter."""
    variables = os.environ if environ is None else environ
    if os.geteuid() == 0:
        return Path("/var/lib/penstock")
    home = variables.get("XDG_DATA_HOME", "")
    if Path(home).is_absolute():
        return Path(home) / "penstock"
    try:
        return Path.home() / ".local" / "share" / "penstock"
    except RuntimeError:
        raise errors.Rejected(
            "no_home", "this user has no home folder", hint="Name a data folder with PENSTOCK_DATA or --data."
        ) from None


@dataclasses.dataclass(frozen=True)
class ServersSettings:
    """Embedded nats-server and Postgres."""

    data_folder: Path = dataclasses.field(default_factory=default_data_folder)
    """Folder that holds everything an installation keeps. Made when missing; one `penstock up` at a time may use it."""

    nats_url: settings.Secret | None = None
    """NATS server to use instead of the embedded one, as `nats://user:password@host:4222`."""

    postgres_url: settings.Secret | None = None
    """Postgres 17 or newer with pgvector to use instead of the embedded one, as `postgresql://user:password@host/db`."""

    share_nats_login: bool = False
    """Whether apps are given our own login where the server of `nats_url` has no accounts for them (`penstock nats
    accounts` prints those). Then nothing walls them off: each of them may do what we may."""

    nats_port: int = 0
    """TCP port of the embedded NATS on 127.0.0.1. 0: a free one, remembered for the next start."""

    nats_monitor_port: int = 0
    """TCP port of its monitoring pages on 127.0.0.1. 0: a free one, remembered for the next start."""

    nats_max_payload_bytes: int = MIB
    """Largest message that the embedded NATS takes, in bytes."""

    nats_store_bytes: int = 64 * GIB
    """Most that all streams together may be allowed to keep on disk, in bytes: the sum of their limits must fit."""

    postgres_connections: int = 60
    """Connections that the embedded Postgres takes at once."""

    postgres_shared_buffers_bytes: int = 128 * MIB
    """Memory that the embedded Postgres caches pages in, in bytes; taken from the machine only as it fills."""

    stop_intake_below_bytes: int = 1 * GIB
    """Free disk space, in bytes, below which nothing more is taken in (HTTP 503), before either server breaks."""

    resume_intake_above_bytes: int = 1 * GIB + 256 * MIB
    """Free disk space, in bytes, above which intake opens again. Not less than `stop_intake_below_bytes`."""

    start_deadline_s: float = 60.0
    """Seconds that a server may take until it answers; crash recovery of a large database needs the most."""

    stop_deadline_s: float = 15.0
    """Seconds that a server gets to stop by itself before it is killed."""

    log_bytes: int = 16 * MIB
    """Size, in bytes, at which a server's log file is set aside as `.1` (one is kept) and begun anew."""

    def __post_init__(self) -> None:
        for name in ("nats_port", "nats_monitor_port"):
            _require(0 <= getattr(self, name) <= 65535, name, "must be 0 to 65535")
        for name in ("nats_max_payload_bytes", "nats_store_bytes", "stop_intake_below_bytes", "log_bytes"):
            _require(getattr(self, name) > 0, name, "must be more than 0")
        _require(self.nats_max_payload_bytes <= 64 * MIB, "nats_max_payload_bytes", "must be at most 64 MiB")
        _require(self.postgres_connections >= 10, "postgres_connections", "must be at least 10")
        _require(self.postgres_shared_buffers_bytes >= MIB, "postgres_shared_buffers_bytes", "must be at least 1 MiB")
        _require(
            self.resume_intake_above_bytes >= self.stop_intake_below_bytes,
            "resume_intake_above_bytes",
            "must not be less than stop_intake_below_bytes",
        )
        for name in ("start_deadline_s", "stop_deadline_s"):
            _require(getattr(self, name) > 0, name, "must be more than 0")
        _require(
            self.nats_port != self.nats_monitor_port or self.nats_port == 0,
            "nats_monitor_port",
            "must not be the same as nats_port",
        )


def _require(holds: bool, field: str, rule: str) -> None:
    if not holds:
        raise errors.Rejected("bad_setting", f"servers.{field} {rule}", field=f"servers.{field}")
