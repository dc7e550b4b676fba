"""Personal data in streams: copies of what was said, for consumers that were not there.

A stream is read from its beginning to what was its end at the time, through a filter that the server applies. Messages
are erased one by one; the server writes over what they said. Nothing takes that for a loss (`heads.judge`): an empty
place was emptied on purpose.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Final, Protocol

from penstock.base import errors, ids
from penstock.spine import ports, stream
from penstock.state import personal, personal_reading

SILENT_S: Final = 5.0
"""After so long without a message it is asked again where the end is: it may have been forgotten meanwhile."""

PATTERNS: Final[Mapping[str, str]] = {
    stream.MESSAGES_INBOUND.name: "tenant.{tenant}.messages.in.*.*.{account}.*",
    stream.MESSAGES_OUTBOUND.name: "tenant.{tenant}.messages.out.*.*.{account}.*",
    stream.RECEIPTS.name: "tenant.{tenant}.receipts.*.{account}",
    stream.QUARANTINE.name: "tenant.{tenant}.quarantine.>",
}
"""Where messages about people travel, by stream; other streams carry none."""


class Transport(Protocol):
    """What is asked of the spine."""

    async def last_of(self, stream: str, pattern: str) -> int:
        """As `spine.ports.Administration.last_of`."""
        ...

    def browse(self, stream: str, filter: str, *, after: int | None = None) -> AsyncGenerator[ports.Delivery]:
        """As `spine.ports.Spine.browse`."""
        ...

    async def erase(self, stream: str, sequences: Collection[int]) -> int:
        """As `spine.ports.Administration.erase`."""
        ...


class StreamCopies:
    """`PersonalData` in one stream of `PATTERNS`."""

    def __init__(self, spine: Transport, name: str, whose: personal.Whose) -> None:
        self._spine, self._name, self._whose = spine, name, whose

    @property
    def place(self) -> str:
        """The stream."""
        return self._name

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """Messages of the person, in the order of the stream."""
        # A token each: neither can widen the pattern.
        tenant, account = ids.tenant_id(trail.person.tenant), ids.token(trail.person.account, "account")
        pattern = PATTERNS[self._name].format(tenant=tenant, account=account)
        async for portion in self._portions(pattern):
            clues = [personal_reading.read(one.subject, one.headers, one.body) for one in portion]
            theirs = await personal_reading.choose(trail, clues, self._whose)
            yield personal.Batch(
                len(portion),
                [
                    personal.Found(one.sequence, personal_reading.record(clue, one.at, sequence=one.sequence))
                    for one, clue, hit in zip(portion, clues, theirs, strict=True)
                    if hit
                ],
            )

    async def _portions(self, pattern: str) -> AsyncGenerator[list[ports.Delivery]]:
        """All that a pattern lets through up to the last there is now, as much at once as fits into memory."""
        position, end = 0, await self._end(pattern)
        portion: list[ports.Delivery] = []
        size = 0
        while position < end:
            async with contextlib.aclosing(self._spine.browse(self._name, pattern, after=position)) as reading:
                while position < end:
                    try:
                        async with asyncio.timeout(SILENT_S):
                            one = await anext(reading)
                    except TimeoutError:
                        break
                    if portion and (len(portion) >= personal.PORTION or size + len(one.body) > personal.PORTION_BYTES):
                        yield portion
                        portion, size = [], 0
                    portion.append(one)
                    position, size = one.sequence, size + len(one.body)
            if position < end:
                end = min(end, await self._end(pattern))
        if portion:
            yield portion

    async def _end(self, pattern: str) -> int:
        try:
            return await self._spine.last_of(self._name, pattern)
        except errors.Rejected as error:
            if error.code != "no_stream":
                raise
            return 0

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:  # noqa: ARG002 - by place
        """Remove messages; a stream that is gone has none."""
        try:
            return await self._spine.erase(self._name, [one.key for one in found])
        except errors.Rejected as error:
            if error.code != "no_stream":
                raise
            return 0

    async def settled(self, trail: personal.Trail) -> None:
        """What is erased does not come back."""
