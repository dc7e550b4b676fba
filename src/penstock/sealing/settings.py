"""Where the key-encryption key comes from."""

import dataclasses
from pathlib import Path

from penstock.base import settings


@dataclasses.dataclass(frozen=True)
class SealingSettings:
    """The key that protects every stored secret. Without `key` and `key_file`, a file in the user's config folder."""

    key: settings.Secret | None = None
    """The key itself: 32 bytes as 64 hex digits or as base64. PENSTOCK_SEALING_KEY is short for it."""

    key_file: Path | None = None
    """A file that holds the key in the same form, such as a mounted secret; nobody else may read it."""

    old_key: settings.Secret | None = None
    """The previous key, still opening what was sealed under it, while a new one takes over."""

    old_key_file: Path | None = None
    """A file that holds the previous key."""
