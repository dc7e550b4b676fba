"""An event of a kind that this build does not know, as it is kept: named, bounded, and as it came."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from penstock.channels import ports
from penstock.channels.model import event

BODY_BYTES: Final = 512 * 1024
"""How much of one is kept. Slack's may be larger, and so may those of other adapters: of these it is the beginning, and
`size_bytes` tells how much the adapter handed over."""
KIND_LENGTH: Final = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """One unknown event; `body` is its beginning when it has more than `BODY_BYTES` of its `size_bytes`."""

    event_id: str
    kind: str
    body: bytes
    size_bytes: int
    received_at: datetime

    @property
    def whole(self) -> bool:
        """Whether `body` is all of it: not cut, and not erased."""
        return len(self.body) == self.size_bytes


def kept(unknown: Iterable[ports.UnknownEvent], received_at: datetime) -> list[Kept]:
    """The unknown events of one request, each id once. Raises Rejected `bad_event` for an id that cannot be stored."""
    found: dict[str, Kept] = {}
    for one in unknown:
        event.check_id(one.event_id, "event_id")
        body = one.body[:BODY_BYTES]
        found.setdefault(one.event_id, Kept(one.event_id, _name(one.kind), body, len(one.body), received_at))
    return list(found.values())


def _name(kind: str) -> str:
    """What a platform calls it, as one short line."""
    printable = "".join(character if character.isprintable() else "�" for character in kind[:KIND_LENGTH])
    return printable or "unnamed"
