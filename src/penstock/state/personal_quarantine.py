"""Personal data in quarantine: rows of what no handler could take, whole, headers and body as they were said."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from penstock.database import pool
from penstock.state import personal, personal_reading, quarantine


class QuarantineRows:
    """`PersonalData` in the rows. They are removed: what was set aside is nobody's to send again any more."""

    def __init__(self, database: pool.Database, whose: personal.Whose) -> None:
        self._database, self._whose = database, whose

    @property
    def place(self) -> str:
        """The table."""
        return "state.quarantine"

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """Rows of the person, by id."""
        person, after, looked = trail.person, "", personal.WINDOW
        while looked == personal.WINDOW:
            async with self._database.transaction(quarantine.ROOM, [person.tenant]) as bound:
                rows = await bound.fetch_all(_SIZES, (person.account, person.tenant, after, personal.WINDOW))
            looked, after = len(rows), rows[-1][0] if rows else after
            for keys in personal.portions((id, size) for id, size, mine in rows if mine):
                yield personal.Batch(0, await self._read(trail, keys))
            yield personal.Batch(looked)

    async def _read(self, trail: personal.Trail, keys: list[str]) -> list[personal.Found]:
        async with self._database.transaction(quarantine.ROOM, [trail.person.tenant]) as bound:
            rows = await bound.fetch_all(_ROWS, (trail.person.tenant, keys))
        clues = [
            personal_reading.read(subject, personal_reading.headers_of(headers), bytes(body))
            for _, subject, headers, body, *_ in rows
        ]
        theirs = await personal_reading.choose(trail, clues, self._whose)
        return [
            personal.Found(
                id, personal_reading.record(clue, at, consumer=consumer, reason=reason, code=code, detail=detail)
            )
            for (id, _, _, _, at, consumer, reason, code, detail), clue, hit in zip(rows, clues, theirs, strict=True)
            if hit
        ]

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Remove rows."""
        async with self._database.transaction(quarantine.ROOM, [trail.person.tenant]) as bound:
            return await bound.execute(_REMOVE, (trail.person.tenant, [one.key for one in found]))

    async def settled(self, trail: personal.Trail) -> None:
        """What was about to be kept is found by looking again."""


_SIZES: Final = (
    "select id, octet_length(body) + octet_length(headers::text), strpos(subject, %s) > 0 from state.quarantine "
    "where tenant = %s and id > %s order by id limit %s::integer"
)
_ROWS: Final = (
    "select id, subject, headers::text, body, at, consumer, reason, code, detail from state.quarantine "
    "where tenant = %s and id = any(%s::text[]) order by id"
)
_REMOVE: Final = "delete from state.quarantine where tenant = %s and id = any(%s::text[])"
