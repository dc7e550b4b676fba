"""The one table of streams, and what it means for an existing one to differ; `provision` makes and checks them."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Final

DAY_S: Final = 86_400.0
GIB: Final = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class StreamPolicy:
    """What one stream is for and what it must hold at least.

    `retention` is "limits" or "workqueue"; `discard` "old" or "new" (refuse when full); ages and windows in seconds.
    `outsiders`: other systems may read it, so the second header names are written. `filled_by` names the streams whose
    handlers publish into this one, and would again: what it loses is made again by sending them what they had.
    `heeds`: what the server does because a header of a message says so; a header may be an app's (see `differences`).
    """

    name: str
    subjects: tuple[str, ...]
    purpose: str
    retention: str = "limits"
    max_age_s: float = 7 * DAY_S
    max_bytes: int = 4 * GIB
    discard: str = "old"
    duplicate_window_s: float = 120.0
    replicas: int = 1
    outsiders: bool = True
    filled_by: tuple[str, ...] = ()
    heeds: tuple[str, ...] = ()


MESSAGES_INBOUND: Final = StreamPolicy(
    "MESSAGES_INBOUND", ("tenant.*.messages.in.>",), "conversations, as people said them"
)
MESSAGES_OUTBOUND: Final = StreamPolicy(
    "MESSAGES_OUTBOUND",
    ("tenant.*.messages.out.>",),
    "commands to channels",
    max_bytes=2 * GIB,
    filled_by=("MESSAGES_INBOUND",),
)
RECEIPTS: Final = StreamPolicy("RECEIPTS", ("tenant.*.receipts.>",), "what became of commands", max_bytes=GIB)
QUARANTINE: Final = StreamPolicy(
    "QUARANTINE",
    ("tenant.*.quarantine.>",),
    "messages set aside, browsable and redrivable",
    max_age_s=30 * DAY_S,
    max_bytes=GIB,
    outsiders=False,
)
ADVISORIES: Final = StreamPolicy(
    "ADVISORIES",
    ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",),
    "what the server itself gave up delivering, until it is in quarantine",
    max_bytes=GIB // 16,
    outsiders=False,
)

STREAMS: Final[tuple[StreamPolicy, ...]] = (MESSAGES_INBOUND, MESSAGES_OUTBOUND, RECEIPTS, QUARANTINE, ADVISORIES)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One field in which an existing stream or consumer does not hold what its policy asks."""

    name: str
    field: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.name}.{self.field} is {self.found}, wanted {self.wanted}"


def differences(policy: StreamPolicy, found: StreamPolicy) -> Iterator[Difference]:
    """Every field in which `found` is less than `policy` asks or something else altogether.

    To heed more is no extra: one tenant's roll-up would purge what all others wait for, its schedule publish as them.
    """
    for wanted in policy.subjects:
        if not any(covers(pattern, wanted) for pattern in found.subjects):
            yield Difference(policy.name, "subjects", wanted, " ".join(found.subjects) or "none")
    for field in ("retention", "discard"):
        if getattr(policy, field) != getattr(found, field):
            yield Difference(policy.name, field, str(getattr(policy, field)), str(getattr(found, field)))
    if not set(found.heeds) <= set(policy.heeds):
        yield Difference(policy.name, "heeds", " ".join(policy.heeds) or "none", " ".join(found.heeds))
    for field in ("max_age_s", "max_bytes", "duplicate_window_s", "replicas"):
        least, have = getattr(policy, field), getattr(found, field)
        if field.startswith("max_"):  # of a limit, nothing and less means that there is none
            least, have = (value if value > 0 else math.inf for value in (least, have))
        if have < least:
            yield Difference(policy.name, field, f"at least {least:g}", f"{have:g}")


def covers(pattern: str, subject: str) -> bool:
    """True when every subject that `subject` matches is matched by `pattern` (both may hold `*` and `>`)."""
    wanted, have = subject.split("."), pattern.split(".")
    for position, part in enumerate(have):
        if part == ">":
            return len(wanted) > position
        if position >= len(wanted) or wanted[position] == ">":
            return False
        if part != "*" and part != wanted[position]:
            return False
    return len(have) == len(wanted)
