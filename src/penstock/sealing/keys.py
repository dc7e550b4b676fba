"""Finding the key-encryption key: from the settings, a file, a mounted secret, or a file that `up` makes once.

A key file is text: 64 hex digits or base64 of 32 bytes. It is never inside the data folder: a copy of the data without
the key is worth nothing, and that is the point. Nothing here prints or logs a key; its id tells keys apart.
"""

import base64
import binascii
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.base import errors
from penstock.base import settings as base_settings
from penstock.sealing import files, model
from penstock.sealing.settings import SealingSettings

_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")


def default_file(environ: Mapping[str, str]) -> Path:
    """`${XDG_CONFIG_HOME:-~/.config}/penstock/key`; a relative XDG_CONFIG_HOME counts as unset, as specified."""
    home = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".config") / "penstock" / "key"


def load(chosen: SealingSettings, file: Path) -> model.KeyRing:
    """The keys of the settings; without any, the key in `file` (`default_file`).

    Raises Rejected `sealing_key_missing` or `sealing_key_wrong` in one sentence that names the source.
    """
    current = _current(chosen) or read_file(file)
    old = _chosen(chosen.old_key, chosen.old_key_file, "sealing.old_key")
    return model.KeyRing(current, (old,) if old is not None and old != current else ())


def named(chosen: SealingSettings) -> tuple[model.KeyEncryptionKey, ...]:
    """The keys that the settings themselves name: none, where another service is the current one and always was."""
    found = (_current(chosen), _chosen(chosen.old_key, chosen.old_key_file, "sealing.old_key"))
    return tuple(dict.fromkeys(key for key in found if key is not None))


def _current(chosen: SealingSettings) -> model.KeyEncryptionKey | None:
    if chosen.key is not None and chosen.key_file is not None:
        raise errors.Rejected("sealing_key_wrong", "sealing.key and sealing.key_file are both set", field="sealing.key")
    return _chosen(chosen.key, chosen.key_file, "sealing.key")


def _chosen(secret: base_settings.Secret | None, file: Path | None, field: str) -> model.KeyEncryptionKey | None:
    if secret is not None:
        return parse(secret.reveal(), field)
    return read_file(file, mounted=True) if file is not None else None


def parse(text: str, source: str) -> model.KeyEncryptionKey:
    """A key from its text. Raises Rejected `sealing_key_wrong` naming `source`, never quoting the text."""
    stripped = text.strip()
    try:
        if _HEX.fullmatch(stripped):
            raw = bytes.fromhex(stripped)
        else:
            padded = stripped.rstrip("=") + "=" * (-len(stripped.rstrip("=")) % 4)
            raw = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != model.KEY_BYTES:
        raise errors.Rejected(
            "sealing_key_wrong", f"{source} is not a sealing key: 32 bytes as 64 hex digits or as base64", field=source
        )
    return model.KeyEncryptionKey(raw)


def read_file(file: Path, *, mounted: bool = False) -> model.KeyEncryptionKey:
    """The key in a file that only its owner may read; a mounted secret may be readable by its group too.

    Raises Rejected `sealing_key_missing` or `sealing_key_wrong`.
    """
    try:
        return parse(files.read_private(file, mounted=mounted), str(file))
    except files.Unfit as unfit:
        if unfit.missing:
            raise errors.Rejected(
                "sealing_key_missing",
                f"there is no sealing key at {file}",
                hint="Bring back the key file; 'penstock up' makes one for a new installation only.",
            ) from None
        raise errors.Rejected("sealing_key_wrong", f"the sealing key {unfit.words}", hint=unfit.hint) from None


def ensure_file(file: Path, *, data_folder: Path) -> str:
    """Make the key file unless it is there; returns a sentence for people when it was made, else an empty text.

    Only its owner may read it. Raises Rejected `sealing_key_wrong` for a place inside the data folder or one that
    cannot be written.
    """
    if file.resolve().is_relative_to(data_folder.resolve()):
        raise errors.Rejected(
            "sealing_key_wrong",
            f"the sealing key may not be inside the data folder ({file})",
            hint="Set PENSTOCK_SEALING__KEY_FILE or XDG_CONFIG_HOME to another place.",
        )
    if file.exists():
        return ""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(draft, secrets.token_hex(model.KEY_BYTES) + "\n")
        try:
            # A link, not a rename: of two processes that make it at once, the second must find the first's key.
            file.hardlink_to(draft)
        finally:
            draft.unlink()
        _sync_folder(file.parent)
    except FileExistsError:
        return ""
    except OSError as error:
        raise errors.Rejected("sealing_key_wrong", f"cannot make a sealing key at {file}: {error.strerror}") from None
    return f"Made the key that protects stored secrets: {file}. Keep a copy elsewhere; without it they are lost."


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
