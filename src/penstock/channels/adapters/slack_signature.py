"""Believes what Slack signed, and nothing else; and tells a signing secret and a token from what was pasted wrongly.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack. What is signed, with HMAC-SHA256 and the
app's signing secret, is `v0:<timestamp>:<raw body>`; Slack sends it in hexadecimal after `v0=`.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Final

from penstock.base import errors, settings
from penstock.channels import ports

TIMESTAMP: Final = "x-slack-request-timestamp"
SIGNATURE: Final = "x-slack-signature"

TOLERANCE_S: Final = 300.0
"""Seconds by which the timestamp may differ from our clock, either way, unless told otherwise."""

_UNIX_TIME: Final = re.compile(r"[0-9]{1,12}")
_SIGNING: Final = re.compile(r"[A-Za-z0-9]{20,128}")
_TOKEN: Final = re.compile(r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,480}")
_RULES: Final = {
    ports.SecretKind.SIGNING: (
        _SIGNING,
        "a signing secret of Slack is 20 to 128 letters and digits",
        "Copy it from the app's page: Basic Information, App Credentials, Signing Secret.",
    ),
    ports.SecretKind.TOKEN: (
        _TOKEN,
        "a token of Slack starts with xoxb- (a bot's) or another xox",
        "Copy it from the app's page: OAuth & Permissions, Bot User OAuth Token.",
    ),
}


def check_secret(kind: ports.SecretKind, secret: settings.Secret) -> None:
    """Raise Rejected, without the secret, unless it looks like what Slack gives out for that."""
    form, rule, hint = _RULES[kind]
    if not form.fullmatch(secret.reveal()):
        raise errors.Rejected("bad_secret", rule, hint=hint, field="secret")


def usable(kind: ports.SecretKind, secrets: Sequence[settings.Secret]) -> list[str]:
    """Those that have the form of such a secret: a malformed one proves nothing, and must not get into a header."""
    form = _RULES[kind][0]
    return [text for secret in secrets if form.fullmatch(text := secret.reveal())]


def verify(request: ports.WebhookRequest, credentials: ports.Credentials, *, tolerance_s: float = TOLERANCE_S) -> None:
    """Raise Rejected (401) unless one live signing secret signed this timestamp and this body, and recently.

    The signature is checked before the timestamp, so that only who knows a secret hears that clocks differ.
    """
    timestamp, offered = request.headers.get(TIMESTAMP, ""), request.headers.get(SIGNATURE, "")
    for name, value in ((TIMESTAMP, timestamp), (SIGNATURE, offered)):
        if not value:
            raise _unauthorised("missing_signature", f"the header {name} is missing", name)
    if not _UNIX_TIME.fullmatch(timestamp):
        raise _unauthorised("bad_signature", f"{TIMESTAMP} must be whole seconds since 1970", TIMESTAMP)
    keys = usable(ports.SecretKind.SIGNING, credentials.secrets)
    if not keys:
        raise _unauthorised("no_secret", "the account has no usable signing secret, so it takes nothing", SIGNATURE)
    if not _matches(offered, keys, b"v0:%b:%b" % (timestamp.encode("ascii"), request.body)):
        raise _unauthorised("wrong_signature", "no live secret of the account made this signature", SIGNATURE)
    if abs(request.received_at.timestamp() - int(timestamp)) > tolerance_s:
        raise _unauthorised("stale_signature", f"{TIMESTAMP} is more than {tolerance_s:g} s away from now", TIMESTAMP)


def _matches(offered: str, keys: Sequence[str], content: bytes) -> bool:
    """Whether any key made it; every key is tried, so that time tells nothing about which."""
    given, found = offered.encode("utf-8", "surrogatepass"), False
    for key in keys:
        expected = "v0=" + hmac.digest(key.encode("ascii"), content, "sha256").hex()
        found |= hmac.compare_digest(given, expected.encode("ascii"))
    return found


def _unauthorised(code: str, detail: str, field: str) -> errors.Rejected:
    hint = "Give the account the signing secret of this very Slack app, and keep the clock right."
    return errors.Rejected(code, detail, hint=hint, status=401, field=field)
