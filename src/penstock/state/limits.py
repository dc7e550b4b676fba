"""How much a publisher takes on, and how long its rows are kept."""

import dataclasses
import math
from collections.abc import Sequence

from penstock.spine import stream


@dataclasses.dataclass(frozen=True, slots=True)
class PublisherLimits:
    """How much a publisher takes on.

    Of each stream `window` messages are un-acknowledged at most, and `capacity` rows, or `capacity_bytes`, are held in
    memory. Exchanges with the table are at least `spacing_s` apart under load and at most `poll_s` when idle. What was
    published is recorded with the next exchange, or after `record_s`: a crash before that publishes it again under the
    same id, which is harmless, and an exchange for it alone would double the work. Streams are looked at every `look_s`
    when looking is cheap.

    `keep_days` is how long published rows stay: as long as a stream may keep what it is given, because for that long a
    consumer may still need it, and a refill sends it again. `policies` says which streams are filled from which.
    """

    window: int = 256
    capacity: int = 2000
    capacity_bytes: int = 64 << 20
    attempts: int = 12
    spacing_s: float = 0.005
    record_s: float = 0.05
    poll_s: float = 0.5
    look_s: float = 1.0
    keep_days: int = math.ceil(
        max(policy.max_age_s for policy in stream.STREAMS if policy is not stream.QUARANTINE) / stream.DAY_S
    )
    policies: Sequence[stream.StreamPolicy] = stream.STREAMS
