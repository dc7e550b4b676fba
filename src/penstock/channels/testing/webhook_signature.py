"""The simulator's own signing and checking of Standard Webhooks, so that it shares no mistake with the adapter.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, version 1.0.0,
"Signature scheme", "Webhook headers" and "Verifying signatures" (symmetric signatures only).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

TOLERANCE_S: Final = 300.0
"""Seconds by which a timestamp may differ from the clock, into the past and into the future."""


def key_from(secret: str) -> bytes:
    """The key that `whsec_<base64>` stands for. Raises ValueError unless it is 24 to 64 bytes."""
    scheme, _, encoded = secret.partition("_")
    key = base64.b64decode(encoded, validate=True)
    if scheme != "whsec" or not 24 <= len(key) <= 64:
        raise ValueError("a secret is whsec_ and 24 to 64 bytes in base64")
    return key


def signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, joined by full stops."""
    mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode(), hashlib.sha256)
    mac.update(body)
    return "v1," + base64.b64encode(mac.digest()).decode("ascii")


def faults(headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now_s: float) -> str:
    """What is wrong with a signed request, in words; empty when nothing is. Header names are lower case."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not headers.get(name):
            return f"the header {name} is missing"
    webhook_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if "." in webhook_id:
        return "webhook-id holds a full stop"
    if not (timestamp.isascii() and timestamp.isdigit()):
        return "webhook-timestamp is not an integer"
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        return "webhook-timestamp is too far from now"
    offered = headers["webhook-signature"].split(" ")
    for key in keys:
        expected = signature(key, webhook_id, timestamp, body)
        if any(hmac.compare_digest(expected.encode(), given.encode()) for given in offered):
            return ""
    return "no signature in webhook-signature is right"
