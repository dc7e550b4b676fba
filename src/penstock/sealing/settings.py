"""Where the key-encryption key comes from."""

import dataclasses
from pathlib import Path

from penstock.base import errors, settings

SERVICES = ("key", "vault")


@dataclasses.dataclass(frozen=True)
class SealingSettings:
    """The key that protects every stored secret. Without `key` and `key_file`, a file in the user's config folder."""

    service: str = "key"
    """What wraps new data keys: `key` (the key below, held by the process) or `vault` (Vault's or OpenBao's transit
    engine). The other one still opens what it wrapped before, if it is set too."""

    key: settings.Secret | None = None
    """The key itself: 32 bytes as 64 hex digits or as base64. PENSTOCK_SEALING_KEY is short for it."""

    key_file: Path | None = None
    """A file that holds the key in the same form, such as a mounted secret; nobody else may read it."""

    old_key: settings.Secret | None = None
    """The previous key, still opening what was sealed under it, while a new one takes over."""

    old_key_file: Path | None = None
    """A file that holds the previous key."""

    vault_url: str = ""
    """Vault or OpenBao, as `https://vault.example.org:8200`; http to this machine only."""

    vault_mount: str = "transit"
    """The path at which the transit engine is mounted there."""

    vault_key: str = "penstock"
    """The name of the transit key."""

    vault_namespace: str = ""
    """The namespace to work in, where the server has several."""

    vault_token: settings.Secret | None = None
    """A token that may encrypt and decrypt with that key, and nothing else."""

    vault_token_file: Path | None = None
    """A file that holds the token, such as an agent's sink: read again for each call, so it may be renewed at will."""

    vault_ca_file: Path | None = None
    """Certificates (PEM) of the authority that signed the server's; without it the public ones."""

    vault_timeout_s: float = 5.0
    """Seconds that one call may take."""

    data_key_cache_s: float = 300.0
    """Seconds for which an unwrapped data key stays in memory: so long a key service may be away unnoticed."""

    def __post_init__(self) -> None:
        _require(self.service in SERVICES, "service", f"must be {' or '.join(SERVICES)}")
        _require(self.service != "vault" or bool(self.vault_url), "vault_url", "is needed for the service vault")
        _require(self.vault_token is None or self.vault_token_file is None, "vault_token", "and its file are both set")
        _require(0.1 <= self.vault_timeout_s <= 60, "vault_timeout_s", "must be between 0.1 and 60")
        _require(0 <= self.data_key_cache_s <= 1800, "data_key_cache_s", "must be between 0 and 1800")


def _require(holds: bool, field: str, rule: str) -> None:
    if not holds:
        raise errors.Rejected("bad_setting", f"sealing.{field} {rule}", field=f"sealing.{field}")
