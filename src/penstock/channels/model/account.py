"""What an account and a secret look like: how they are made, what they may hold, how many may live."""

import base64
import dataclasses
import os
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from penstock.base import errors, ids, settings
from penstock.channels import ports

TERMINAL: Final = ids.ChannelName("terminal")
"""The channel whose people read replies from our own stream instead of from a platform."""

LIVE_SECRETS: Final = 2
NAME_LENGTH: Final = 200
SECRET_PREFIX: Final = "whsec_"

_ID = re.compile(r"acc-[a-z2-7]{26}")
_SECRET = re.compile(r"[\x21-\x7e]{16,512}")
_PLAIN = re.compile(r"[A-Za-z0-9]+")


@dataclasses.dataclass(frozen=True, slots=True)
class SecretDetails:
    """A secret without itself: its id, what it proves, when it was made, and when it was retired."""

    id: str
    kind: ports.SecretKind
    created_at: datetime
    retired_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class AccountDetails:
    """An account as an operator sees it."""

    account: ports.Account
    created_at: datetime
    disabled_at: datetime | None
    secrets: Sequence[SecretDetails]


@dataclasses.dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret as it is stored. `bytes` can be opened only with the tenant and account that it was sealed for."""

    id: str
    kind: ports.SecretKind
    bytes: bytes


def new_account_id() -> ids.AccountId:
    """A globally unique id that nobody can guess: `acc-` and 130 random bits in 26 characters of base32."""
    return ids.AccountId("acc-" + base64.b32encode(os.urandom(17)).decode().lower()[:26])


def is_account_id(text: str) -> bool:
    """Whether `text` has the form of an account's id; what has not is never looked for."""
    return _ID.fullmatch(text) is not None


def new_secret() -> settings.Secret:
    """A secret of 33 random bytes, written as Standard Webhooks asks: `whsec_` and base64.

    Drawn again until it is letters and digits throughout (about one in four is): platforms that are told a secret of
    ours differ in which other signs they take.
    """
    while True:
        text = base64.b64encode(os.urandom(33)).decode()
        if _PLAIN.fullmatch(text):
            return settings.Secret(SECRET_PREFIX + text)


def checked_secret(secret: settings.Secret) -> settings.Secret:
    """A secret that somebody brought along, as any channel may have it. Raises Rejected, not quoting it."""
    if not _SECRET.fullmatch(secret.reveal()):
        raise errors.Rejected("bad_secret", "secret must be 16-512 printable characters without spaces", field="secret")
    return secret


def checked_name(name: str) -> str:
    """An account's name for people: 1-200 printable characters. Raises Rejected `bad_name`."""
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise errors.Rejected("bad_name", f"name must be 1-{NAME_LENGTH} printable characters", field="name")
    return name
