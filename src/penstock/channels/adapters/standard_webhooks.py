"""Signing and verifying after Standard Webhooks, for every channel whose platform speaks it.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, version 1.0.0.
Symmetric signatures (`v1`) only. A secret is `whsec_` and 24 to 64 bytes in base64; what is signed is
`<webhook-id>.<webhook-timestamp>.<body>`.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from typing import Final

from penstock.base import errors, settings
from penstock.channels import ports

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

TOLERANCE_S: Final = 300.0
"""Seconds by which `webhook-timestamp` may differ from our clock, either way, unless told otherwise."""

SIGNATURES: Final = 16
"""Signatures looked at in one header; a platform that rotates its secret sends two."""

_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
# No full stop: it separates what is signed, so that nobody can shift text from one part into the next.
_MESSAGE_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
_UNIX_TIME: Final = re.compile(r"[0-9]{1,12}")


def key_of(secret: settings.Secret) -> bytes:
    """The key a secret stands for. Raises Rejected, without the secret, when it is not one.

    Decoded each time, which takes a microsecond: a cache would hold keys of secrets that were retired long ago.
    """
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if not text.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise errors.Rejected(
            "bad_secret",
            f"a secret must be {_PREFIX} and {_KEY_BYTES.start} to {_KEY_BYTES.stop - 1} bytes in base64",
            hint="Let Penstock make one, or copy the whole of what the platform shows.",
            field="secret",
        )
    return key


def check_secret(kind: ports.SecretKind, secret: settings.Secret) -> None:
    """Raise Rejected unless the secret is of the kind that signs, and one that `key_of` takes."""
    if kind is not ports.SecretKind.SIGNING:
        raise errors.Rejected("bad_secret", f"this channel has no use for a {kind}", field="secret")
    key_of(secret)


def sign(credentials: ports.Credentials, message_id: str, unix_time: int, body: bytes) -> dict[str, str]:
    """The three headers, with one signature per live secret, newest first, so that either side may rotate first.

    `message_id` must not hold a full stop. Raises Rejected when there is no secret, or one is malformed.
    """
    if not credentials.secrets:
        raise errors.Rejected("no_secret", "the account has no secret to sign with", field="secret")
    content = _content(message_id, str(unix_time), body)
    signatures = [_signature(key_of(secret), content) for secret in credentials.secrets]
    return {ID: message_id, TIMESTAMP: str(unix_time), SIGNATURE: " ".join(signatures)}


def verify(request: ports.WebhookRequest, credentials: ports.Credentials, *, tolerance_s: float = TOLERANCE_S) -> None:
    """Raise Rejected (401) unless one live secret signed this id, this timestamp and this body, and recently.

    The signature is checked before the timestamp, so that only who knows a secret hears that clocks differ.
    """
    message_id, timestamp = request.headers.get(ID, ""), request.headers.get(TIMESTAMP, "")
    offered = request.headers.get(SIGNATURE, "")
    for name, value in ((ID, message_id), (TIMESTAMP, timestamp), (SIGNATURE, offered)):
        if not value:
            raise _unauthorised("missing_signature", f"the header {name} is missing", name)
    if not _MESSAGE_ID.fullmatch(message_id):
        raise _unauthorised("bad_signature", f"{ID} must be 1-256 visible characters without a full stop", ID)
    if not _UNIX_TIME.fullmatch(timestamp):
        raise _unauthorised("bad_signature", f"{TIMESTAMP} must be whole seconds since 1970", TIMESTAMP)
    keys = _usable_keys(credentials)
    if not _matches(offered, keys, _content(message_id, timestamp, request.body)):
        raise _unauthorised("wrong_signature", "no live secret of the account made this signature", SIGNATURE)
    if abs(request.received_at.timestamp() - int(timestamp)) > tolerance_s:
        raise _unauthorised("stale_signature", f"{TIMESTAMP} is more than {tolerance_s:g} s away from now", TIMESTAMP)


def _usable_keys(credentials: ports.Credentials) -> list[bytes]:
    keys: list[bytes] = []
    for secret in credentials.secrets:
        try:
            keys.append(key_of(secret))
        except errors.Rejected:
            continue  # a malformed secret vouches for nobody; the other one still may
    if not keys:
        raise _unauthorised("no_secret", "the account has no usable secret, so it takes nothing", SIGNATURE)
    return keys


def _matches(offered: str, keys: Sequence[bytes], content: bytes) -> bool:
    # Compared as the text that was sent: decoding base64 first would forgive bits that base64 does not use.
    candidates = [given.encode("utf-8", "surrogatepass") for given in offered.split(" ", SIGNATURES)[:SIGNATURES]]
    found = False
    for key in keys:
        expected = _signature(key, content).encode("ascii")
        for candidate in candidates:
            found |= hmac.compare_digest(candidate, expected)
    return found


def _content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (message_id.encode("ascii"), timestamp.encode("ascii"), body)


def _signature(key: bytes, content: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode("ascii")


def _unauthorised(code: str, detail: str, field: str) -> errors.Rejected:
    hint = "Sign as Standard Webhooks says, with a live secret of this account and a correct clock."
    return errors.Rejected(code, detail, hint=hint, status=401, field=field)
