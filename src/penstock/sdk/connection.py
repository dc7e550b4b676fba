"""Which bus an app talks to, and for which tenants: from the environment, else as `penstock up` left it here."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from penstock.base import errors, ids, settings
from penstock.spine.settings import NatsSettings

ENDPOINTS: Final = Path("run") / "endpoints.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """Where the bus is, and as whom to speak to it: URL, password and `nats` may each hold the credentials."""

    url: settings.Secret
    user: str = ""
    password: settings.Secret = dataclasses.field(default_factory=lambda: settings.Secret(""))
    nats: NatsSettings = dataclasses.field(default_factory=NatsSettings)


def find(environ: Mapping[str, str]) -> Connection:
    """PENSTOCK_NATS_URL (with PENSTOCK_NATS_USER and PENSTOCK_NATS_PASSWORD), else what `penstock up` wrote.

    In both cases with the settings `PENSTOCK_NATS__...`, which come before those that `penstock up` wrote.
    Raises Unavailable `not_running`, Rejected `not_yours`, `bad_endpoints` or `bad_setting`.
    """
    if url := environ.get("PENSTOCK_NATS_URL", ""):
        password = settings.Secret(environ.get("PENSTOCK_NATS_PASSWORD", ""))
        nats = settings.load(NatsSettings, "nats", {}, environ)
        return Connection(settings.Secret(url), environ.get("PENSTOCK_NATS_USER", ""), password, nats)
    path = data_folder(environ) / ENDPOINTS
    known = _read(path)
    try:
        url, user, password = (str(known[field]) for field in ("nats_url", "nats_user", "nats_password"))
        nats = settings.load(NatsSettings, "nats", {"nats": known.get("nats", {})}, environ)
    except (KeyError, TypeError):
        raise errors.Rejected("bad_endpoints", f"{path} does not say where the bus is") from None
    return Connection(settings.Secret(url), user, settings.Secret(password), nats)


def data_folder(environ: Mapping[str, str]) -> Path:
    """PENSTOCK_DATA, else where `penstock up` keeps its data by default (`servers.settings`; a test compares them)."""
    if chosen := environ.get("PENSTOCK_DATA", ""):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/penstock")
    home = Path(environ.get("XDG_DATA_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "share") / "penstock"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise errors.Unavailable(
            "not_running",
            f"no installation runs in {path.parent.parent}",
            hint="Start one with 'penstock up', or set PENSTOCK_NATS_URL (or PENSTOCK_DATA for another folder).",
        ) from None
    except PermissionError:
        raise errors.Rejected(
            "not_yours", f"{path} belongs to another user", hint="Use the user that ran 'penstock up'.", status=403
        ) from None
    except ValueError:
        raise errors.Rejected("bad_endpoints", f"{path} is not what 'penstock up' writes") from None


def tenants(given: Sequence[str], environ: Mapping[str, str]) -> list[ids.TenantId]:
    """Each tenant once: those given, else those of PENSTOCK_TENANT, joined by commas. Raises Rejected without any."""
    named = list(given) or [name.strip() for name in environ.get("PENSTOCK_TENANT", "").split(",") if name.strip()]
    if not named:
        raise errors.Rejected(
            "no_tenant",
            "for which tenant does this app answer?",
            hint="Set PENSTOCK_TENANT, for example PENSTOCK_TENANT=acme ('penstock tenant ls' lists them).",
            field="tenant",
        )
    return [ids.tenant_id(name) for name in dict.fromkeys(named)]
