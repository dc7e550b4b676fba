"""Which bus an app talks to and as whom, and for which tenants: from the environment, else as `penstock up` left it.

Each tenant has a login of its own, which lets its apps do for this tenant what apps do, and nothing else. An app that
answers for several tenants has a connection for each.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from penstock.base import errors, ids, settings
from penstock.spine.settings import NatsSettings

ENDPOINTS: Final = Path("run") / "endpoints.json"
LOGINS: Final = Path("run") / "apps"
"""Folder of the files `<tenant>.json`; PENSTOCK_LOGINS names another one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """Where the bus is, and as whom to speak to it: URL, password and `nats` may each hold the credentials."""

    url: settings.Secret
    user: str = ""
    password: settings.Secret = dataclasses.field(default_factory=lambda: settings.Secret(""))
    nats: NatsSettings = dataclasses.field(default_factory=NatsSettings)


def find(environ: Mapping[str, str], tenant: ids.TenantId) -> Connection:
    """PENSTOCK_NATS_URL (with PENSTOCK_NATS_USER and PENSTOCK_NATS_PASSWORD), else the tenant's login.

    That is `<tenant>.json` in the folder PENSTOCK_LOGINS, or where `penstock up` keeps them. In both cases with the
    settings `PENSTOCK_NATS__...`, which come before those of the file. Raises Unavailable `not_running` or `no_login`
    (yet), Rejected `bad_slug`, `not_yours`, `bad_endpoints` or `bad_setting`.
    """
    if url := environ.get("PENSTOCK_NATS_URL", ""):
        password = settings.Secret(environ.get("PENSTOCK_NATS_PASSWORD", ""))
        nats = settings.load(NatsSettings, "nats", {}, environ)
        return Connection(settings.Secret(url), environ.get("PENSTOCK_NATS_USER", ""), password, nats)
    chosen, data = environ.get("PENSTOCK_LOGINS", ""), data_folder(environ)
    path = (Path(chosen) if chosen else data / LOGINS) / f"{ids.tenant_id(tenant)}.json"
    if not chosen and not path.parent.is_dir():
        path = data / ENDPOINTS  # of an earlier build, which has one login for everybody
    try:
        known = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(tenant, data, chosen) from None
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
    """What the file says. Raises FileNotFoundError or NotADirectoryError, and Rejected for what cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except PermissionError:
        raise errors.Rejected(
            "not_yours", f"{path} belongs to another user", hint="Use the user that ran 'penstock up'.", status=403
        ) from None
    except ValueError:
        raise errors.Rejected("bad_endpoints", f"{path} is not what 'penstock up' writes") from None


def _missing(tenant: str, data: Path, chosen: str) -> errors.Unavailable:
    if not chosen and not (data / ENDPOINTS).exists():
        return errors.Unavailable(
            "not_running",
            f"no installation runs in {data}",
            hint="Start one with 'penstock up', or set PENSTOCK_NATS_URL (or PENSTOCK_DATA for another folder).",
        )
    return errors.Unavailable(
        "no_login",
        f"the tenant {tenant} has no login to the bus in {chosen or data / LOGINS}",
        hint=f"Is there such a tenant? 'penstock tenant create {tenant}' makes one.",
    )


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
