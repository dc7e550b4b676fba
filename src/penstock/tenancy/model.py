"""What a tenant is."""

import dataclasses
from datetime import datetime
from typing import Final

from penstock.base import errors, ids

TITLE_LENGTH: Final = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant:
    """One customer, team or product, walled off from all others. `state` is "active" or "suspended"."""

    id: ids.TenantId
    title: str
    state: str
    created_at: datetime


def title(text: str) -> str:
    """A tenant's name for people: 1-200 printable characters. Raises Rejected."""
    if not 1 <= len(text) <= TITLE_LENGTH or not text.isprintable():
        raise errors.Rejected("bad_title", f"title must be 1-{TITLE_LENGTH} printable characters", field="title")
    return text
