"""Suspects: a message that was being handled when a process ended runs alone, so that it ends nobody else's work.

What was handed out before has outlived an owner; most often it was only near when something else ended it. So before
the handler of such a message begins, that it begins is written to a bucket, and whichever way the run ends while the
process lives, the entry is deleted. An entry that is found was left behind by a process that died with this message in
its hands: it is a suspect. It runs alone, which is written down too; two such runs that never ended, and it is set
aside (`kills_process`). What merely waited in a process that died leaves no entry and runs beside others.
"""

import asyncio
import collections
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple, Protocol

from penstock.base import errors, telemetry
from penstock.spine import ports

BUCKET: Final = "penstock_suspects"
KEPT_S: Final = 86_400.0
SOLO_RUNS: Final = 2
"""Runs alone that ended with their process, after which nobody tries again."""

IN_COMPANY: Final = 0
"""What is written down for a run beside others; for the n-th run alone it is n."""

CLEAR_TIMEOUT_S: Final = 2.0

_KEY: Final = re.compile(r"([A-Za-z0-9_-]{1,128})\.([A-Z_]{1,32})\.([1-9][0-9]{0,17})\.([1-9][0-9]{0,17})")

_log = telemetry.logger("spine.suspects")

solo = telemetry.counter(
    "penstock_suspect_runs_total",
    labels=("consumer", "outcome"),
    meaning="Runs of a handler alone in its process, for messages that were being handled when a process died: ended "
    "(any way but the death of the process), given_up (two more had died of it).",
    remedy="ended, in numbers: processes die while busy; look why. given_up: `penstock quarantine ls` "
    "with code kills_process shows the message.",
)


class Buckets(Protocol):
    """What is asked of the spine."""

    async def key_value(self, bucket: str, *, history: int = 1, max_age_s: float = 0) -> ports.KeyValue:
        """As `ports.Spine.key_value`."""
        ...


class Turnstile:
    """Many may be inside together, or one alone; first come, first served, so that neither sort starves."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._waiting: collections.deque[tuple[bool, asyncio.Future[None]]] = collections.deque()

    async def enter(self, *, alone: bool = False) -> None:
        """Go in, together with others or alone; `leave` must follow."""
        if not self._waiting and self._fits(alone=alone):
            self._count(alone=alone)
            return
        place = (alone, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
                self._admit()
            else:
                self.leave()  # admitted and cancelled in the same turn of the loop
            raise

    def leave(self) -> None:
        """Come out."""
        self._inside -= 1
        self._alone = False
        self._admit()

    def _fits(self, *, alone: bool) -> bool:
        return self._inside == 0 if alone else not self._alone

    def _count(self, *, alone: bool) -> None:
        self._inside += 1
        self._alone = alone

    def _admit(self) -> None:
        while self._waiting and self._fits(alone=self._waiting[0][0]):
            alone, place = self._waiting.popleft()
            if not place.done():
                self._count(alone=alone)
                place.set_result(None)


class Suspects:
    """One process's turnstile, shared by all its workers, and the bucket in which solo runs are written down.

    A process with several connections has one of these for each, and hands all of them its one turnstile.
    """

    def __init__(self, spine: Buckets, turnstile: Turnstile | None = None) -> None:
        self._spine = spine
        self.turnstile = turnstile or Turnstile()
        self._bucket: ports.KeyValue | None = None
        self._ended: set[str] = set()

    @contextlib.asynccontextmanager
    async def watched(self, consumer: str, delivery: ports.Delivery) -> AsyncGenerator[int]:
        """Run written down; alone if a process died of it before. Gives how many runs alone ended with their process.

        With `SOLO_RUNS` of them, nothing may be begun. Raises Unavailable when the bucket cannot be read or written
        now: nothing runs uncounted.
        """
        key = _key(consumer, delivery)
        found = await self._found(key)
        if found == SOLO_RUNS:
            solo.labels(consumer, "given_up").inc()
            yield SOLO_RUNS
            return
        alone = found is not None
        await self.turnstile.enter(alone=alone)
        try:
            await (await self._opened()).put(key, str(IN_COMPANY if found is None else found + 1).encode())
            try:
                yield found or 0
            finally:
                if alone:
                    solo.labels(consumer, "ended").inc()
                await self._clear(key)
        finally:
            self.turnstile.leave()

    async def _opened(self) -> ports.KeyValue:
        if self._bucket is None:
            self._bucket = await self._spine.key_value(BUCKET, max_age_s=KEPT_S)
        return self._bucket

    async def _found(self, key: str) -> int | None:
        """What a process that died left behind. What ended here but could not be deleted then does not count."""
        found = await (await self._opened()).get(key)
        if key in self._ended:
            self._ended.discard(key)
            return None
        written = (found.value if found is not None else None) or b""
        return min(int(written), SOLO_RUNS) if written.isdigit() else None

    async def _clear(self, key: str) -> None:
        try:
            async with asyncio.timeout(CLEAR_TIMEOUT_S):
                await (await self._opened()).delete(key)
        except (errors.PenstockError, TimeoutError) as error:
            self._ended.add(key)
            _log.info("a suspect's entry stays", key=key, error=f"{error}")


class Place(NamedTuple):
    """What a key says: whose suspect, and which message, stored how many microseconds after 1970."""

    consumer: str
    stream: str
    sequence: int
    stored_us: int


def place_of(key: str) -> Place | None:
    """What a key says; None for what `Suspects` never writes."""
    match = _KEY.fullmatch(key)
    return Place(match[1], match[2], int(match[3]), int(match[4])) if match else None


def _key(consumer: str, delivery: ports.Delivery) -> str:
    """One message of one consumer; a stream that is made again counts its sequences from 1 again."""
    return f"{consumer}.{delivery.stream}.{delivery.sequence}.{round(delivery.at.timestamp() * 1_000_000)}"
