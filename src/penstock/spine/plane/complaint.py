"""What a server's -ERR lines ask of us. After most of them the server hangs up, and another connection is made.

The texts: https://github.com/nats-io/nats-server/blob/main/server/errors.go, which clients compare without case.
"""

import dataclasses
import enum
import re
from typing import Final

from penstock.base import errors

DETAIL_LIMIT: Final = 300


class Kind(enum.Enum):
    """What must be done. The value is the label in metrics and logs."""

    CREDENTIALS = "credentials"
    """The server does not know us, or not any longer: try again, more slowly, since somebody may mend it."""
    PUBLISH = "publish_not_permitted"
    """We may not publish there: tell whoever did."""
    REPLY = "reply_not_permitted"
    """We may not ask for answers there: tell whoever did."""
    SUBSCRIBE = "subscribe_not_permitted"
    """We may not listen there: tell whoever does."""
    SUBSCRIPTIONS = "too_many_subscriptions"
    """The server took one of our latest subscriptions no more: tell those who wait for theirs."""
    SLOW = "slow_consumer"
    """We read too slowly and were cut off: what was sent to us meanwhile is lost, or comes again from its stream."""
    PAYLOAD = "payload"
    """A message was larger than the server's limit, which it may just have lowered."""
    STALE = "stale"
    """Our answers to its PINGs did not arrive in time."""
    FULL = "full"
    """The server or the account takes no more connections: another server may."""
    OTHER = "other"
    """Nothing that we know: the connection stays, unless the server ends it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Complaint:
    """One -ERR. `subject` and `queue` are those that are not permitted."""

    kind: Kind
    text: str
    subject: str = ""
    queue: str = ""

    def refusal(self) -> errors.Rejected:
        """The error for whoever wanted what is not permitted."""
        what = "publish on" if self.kind is Kind.PUBLISH else "listen on"
        return errors.Rejected(
            "not_permitted",
            f"NATS does not let us {what} {self.subject}",
            hint="Grant it to this user in the permissions of the NATS server.",
            status=403,
        )


_PERMISSION: Final = re.compile(
    r'permissions violation for (publish with reply of|publish to|subscription to) "([^"]*)"'
    r'(?: using queue "([^"]*)")?',
    re.IGNORECASE,
)
_PERMISSION_KINDS: Final = {
    "publish to": Kind.PUBLISH,
    "publish with reply of": Kind.REPLY,
    "subscription to": Kind.SUBSCRIBE,
}
_PARTS: Final = (
    ("authorization violation", Kind.CREDENTIALS),
    ("authentication expired", Kind.CREDENTIALS),
    ("authentication revoked", Kind.CREDENTIALS),
    ("authentication timeout", Kind.CREDENTIALS),
    ("invalid client protocol", Kind.OTHER),
    ("maximum subscriptions exceeded", Kind.SUBSCRIPTIONS),
    ("slow consumer", Kind.SLOW),
    ("maximum payload", Kind.PAYLOAD),
    ("stale connection", Kind.STALE),
    ("connections exceeded", Kind.FULL),
)


def read(line: bytes) -> Complaint:
    """Read what stands behind -ERR."""
    text = line.decode("utf-8", "replace").strip().strip("'")[:DETAIL_LIMIT]
    found = _PERMISSION.search(text)
    if found:
        return Complaint(_PERMISSION_KINDS[found[1].lower()], text, found[2], found[3] or "")
    lower = text.lower()
    return Complaint(next((kind for part, kind in _PARTS if part in lower), Kind.OTHER), text)
