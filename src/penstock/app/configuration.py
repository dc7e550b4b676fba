"""All rooms' settings, read once: defaults, then the TOML file of `PENSTOCK_CONFIG`, then the environment."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from penstock.base import errors, settings, telemetry_settings
from penstock.channels import settings as channels_settings
from penstock.database import settings as database_settings
from penstock.edge import settings as edge_settings
from penstock.sealing import keys
from penstock.sealing import settings as sealing_settings
from penstock.servers import settings as servers_settings
from penstock.spine import settings as spine_settings
from penstock.state import settings as state_settings


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One frozen settings object per room. `key_file` is where a sealing key is kept that the settings do not name."""

    servers: servers_settings.ServersSettings
    database: database_settings.DatabaseSettings
    sealing: sealing_settings.SealingSettings
    spine: spine_settings.SpineSettings
    nats: spine_settings.NatsSettings
    edge: edge_settings.EdgeSettings
    channels: channels_settings.ChannelsSettings
    state: state_settings.StateSettings
    telemetry: telemetry_settings.TelemetrySettings
    key_file: Path


ROOMS: Mapping[str, type[Any]] = {
    "servers": servers_settings.ServersSettings,
    "database": database_settings.DatabaseSettings,
    "sealing": sealing_settings.SealingSettings,
    "spine": spine_settings.SpineSettings,
    "nats": spine_settings.NatsSettings,
    "edge": edge_settings.EdgeSettings,
    "channels": channels_settings.ChannelsSettings,
    "state": state_settings.StateSettings,
    "telemetry": telemetry_settings.TelemetrySettings,
}

SHORT: Mapping[str, tuple[str, str]] = {
    "PENSTOCK_DATA": ("servers", "data_folder"),
    "PENSTOCK_NATS_URL": ("servers", "nats_url"),
    "PENSTOCK_POSTGRES_URL": ("servers", "postgres_url"),
    "PENSTOCK_SEALING_KEY": ("sealing", "key"),
}
"""Short names of the variables that people set most; they stand for `PENSTOCK_<ROOM>__<FIELD>`."""

ELSEWHERE: Final = ("sdk",)
"""Rooms whose settings other processes read, and which may stand in the same environment."""


def load(environ: Mapping[str, str] | None = None, *, data_folder: Path | None = None) -> Configuration:
    """Read everything. Raises Rejected naming the setting and the rule."""
    variables = dict(os.environ if environ is None else environ)
    _refuse_strangers(variables)
    for short, (room, field) in SHORT.items():
        if text := variables.get(short):
            variables.setdefault(f"{settings.PREFIX}{room.upper()}__{field.upper()}", text)
    if data_folder is not None:
        variables["PENSTOCK_SERVERS__DATA_FOLDER"] = str(data_folder)
    path = variables.get("PENSTOCK_CONFIG")
    file = settings.read_file(Path(path) if path else None)
    if unknown := sorted(set(file) - set(ROOMS)):
        raise errors.Rejected(
            "unknown_room",
            f"the settings file has a table '{unknown[0]}' that no room reads",
            hint=f"Tables: {', '.join(sorted(ROOMS))}.",
            field=unknown[0],
        )
    loaded = {room: settings.load(kind, room, file, variables) for room, kind in ROOMS.items()}
    return Configuration(**loaded, key_file=keys.default_file(variables))


def _refuse_strangers(variables: Mapping[str, str]) -> None:
    """Raise Rejected for a variable of a room that this build has not: it is misspelt, or for a newer one.

    Only names with two underscores count: orchestrators make variables of their own (`PENSTOCK_SERVICE_HOST`).
    """
    known = {*ROOMS, *ELSEWHERE}
    for name in sorted(variables):
        room, separator, _ = name.removeprefix(settings.PREFIX).partition("__")
        if name.startswith(settings.PREFIX) and separator and room.lower() not in known:
            raise errors.Rejected(
                "unknown_room",
                f"{name} is a setting of '{room.lower()}', which no room is called",
                hint=f"Rooms: {', '.join(sorted(known))}.",
                field=name,
            )
