"""Believes what was signed with an account's secret, in the ways in which a Cliq bot's handler can sign.

Source: https://www.zoho.com/deluge/help/encryption/hmac-sha256.html. What is signed is the raw body, with HMAC-SHA256,
written in hexadecimal or in base64. There is no time in it: a repetition is told by the id of its event, for as
long as the row of that event is kept.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Final

from penstock.base import errors, settings
from penstock.channels import ports

SIGNATURE: Final = "x-cliq-signature"

_PREFIX: Final = "sha256="
_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
# A secret stands in a handler's script, between quotes.
_SIGNING: Final = re.compile(r"[!#-\[\]-~]{16,256}")
_PUBLIC_KEY: Final = re.compile(r"-----|MI[A-Za-z0-9+/=]{60}")
# It stands in a header, or in a URL.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]{20,400}")


def check_secret(kind: ports.SecretKind, secret: settings.Secret) -> None:
    """Raise Rejected `bad_secret`, without the secret, unless it can sign, or Zoho could have given it out."""
    if is_usable(kind, secret):
        return
    if kind is ports.SecretKind.TOKEN:
        rule, hint = "that is not a token of Zoho's", "Copy the whole of it: 1000. and two more parts."
    elif _PUBLIC_KEY.match(secret.reveal()):
        rule, hint = "that is a public key, with which anybody could sign", "Let Penstock make a secret."
    else:
        rule = "a signing secret is 16 to 256 visible ASCII characters without quotes and backslashes"
        hint = "Let Penstock make one."
    raise errors.Rejected("bad_secret", rule, hint=hint, field="secret")


def is_usable(kind: ports.SecretKind, secret: settings.Secret) -> bool:
    """Whether a secret has the form of its kind: a malformed one proves nothing, and must not get into a header."""
    text = secret.reveal()
    if kind is ports.SecretKind.TOKEN:
        return _TOKEN.fullmatch(text) is not None
    return _SIGNING.fullmatch(text) is not None and not _PUBLIC_KEY.match(text)


def verify(request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
    """Raise Rejected (401) unless one live signing secret signed this body."""
    offered = request.headers.get(SIGNATURE, "")
    if not offered:
        raise _unauthorised("missing_signature", f"the header {SIGNATURE} is missing")
    digest = _digest(offered)
    if digest is None:
        raise _unauthorised("bad_signature", f"{SIGNATURE} must be 32 bytes in hexadecimal or base64")
    keys = [secret for secret in credentials.secrets if is_usable(ports.SecretKind.SIGNING, secret)]
    if not keys:
        raise _unauthorised("no_secret", "the account has no usable signing secret, so it takes nothing")
    if not _matches(digest, keys, request.body):
        raise _unauthorised("wrong_signature", "no live secret of the account made this signature")


def _digest(offered: str) -> bytes | None:
    text = offered.removeprefix(_PREFIX)
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    return base64.b64decode(text) if _BASE64.fullmatch(text) else None


def _matches(digest: bytes, keys: Sequence[settings.Secret], body: bytes) -> bool:
    """Whether any key made it; every key is tried, so that time tells nothing about which."""
    found = False
    for key in keys:
        found |= hmac.compare_digest(digest, hmac.digest(key.reveal().encode("ascii"), body, "sha256"))
    return found


def _unauthorised(code: str, detail: str) -> errors.Rejected:
    hint = "Sign the very text that is posted, with a live signing secret of this account."
    return errors.Rejected(code, detail, hint=hint, status=401, field=SIGNATURE)
