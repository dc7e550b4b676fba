"""What is known about one person, from every room: found, exported, and erased.

Rooms say what they keep (`state.personal`); here they are asked in an order in which nothing that was erased can come
back: first what would leave or be sent again, then the streams, then the rows, and last of all what tells whose the
rest is. Every step may be done twice, so what was interrupted is simply done again, and all of it is done until nothing
more is found.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from penstock.app import configuration, house, person_file, schema, streams
from penstock.base import errors
from penstock.channels.service import personal as channels
from penstock.channels.store import personal as channels_rows
from penstock.spine import ports
from penstock.state import erasures, personal, personal_outbox, personal_quarantine, personal_streams

ROUNDS: Final = 6
"""How often places are asked at most: what was on its way during one round is found in the next."""

ARRIVES_WITHIN_S: Final = 2.0
"""How long after its receipt a message may be committed and is found still; on an idle system that takes 10 ms."""

NOT_SEARCHED: Final[Mapping[str, str]] = {
    "backups": "copies of the servers' files and of Postgres hold what they held until they expire",
    "apps": "what an app keeps for itself is known to the app alone",
    "platforms": "what a platform keeps of its conversations is the platform's",
    "payloads": "inputs and results of jobs name nobody; each ends with its lifetime",
    "logs": "logs, traces and metrics carry ids of events and commands, and never what anybody said",
}
"""Where something may be that no verb reaches, and why."""

Tell = Callable[[str, int], None]
"""Hears how far a place was looked through: its name, and how many rows or messages so far."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """What became of one place: `state` is done, nothing, failed, or waits (for others that are not done)."""

    place: str
    state: str
    found: int = 0
    erased: int = 0
    code: str = ""
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was found of a person or erased, place by place; `complete` when no place failed or has to wait."""

    person: str
    until: datetime.datetime
    complete: bool
    parts: tuple[Part, ...]


class People:
    """The people of an installation's tenants. Without a spine (`away` says why) streams cannot be asked."""

    def __init__(
        self,
        joined: house.House,
        spine: ports.Spine | None,
        away: errors.PenstockError | None = None,
        *,
        arrives_within_s: float = ARRIVES_WITHIN_S,
    ) -> None:
        self._erasures, self._accounts, self._tenancy = joined.erasures, joined.channels.accounts, joined.tenancy
        self._table = channels_rows.PersonRows(joined.database)
        self._said = channels.Said(self._table)
        self._arrives_within_s = arrives_within_s
        self._away = away or errors.Unavailable("nats_unreachable", "no nats-server answers")
        whose = self._said
        self._first: list[personal.PersonalData] = [
            personal_outbox.OutboxCopies(joined.database, room, whose) for room in schema.OUTBOXES
        ]
        if spine is not None:
            self._first += [personal_streams.StreamCopies(spine, name, whose) for name in personal_streams.PATTERNS]
        self._first += [
            personal_quarantine.QuarantineRows(joined.database, whose),
            channels.UnknownEventRows(self._table),
            channels.CommandRows(self._table),
            channels.MessageRows(self._table),
        ]
        self._last = channels.ConversationNames(self._table)
        self._unreached = [] if spine is not None else list(personal_streams.PATTERNS)

    async def look_for(self, tenant: str, text: str, *, account: str = "", most: int = 50) -> list[channels.Speaker]:
        """People whose id or display name holds `text`, on one account or on all of the tenant. Raises Rejected."""
        owner = (await self._tenancy.get(tenant)).id
        if not text or "\0" in text:
            raise errors.Rejected("bad_text", "there is nothing to look for", field="text")
        known = [await self._accounts.show(owner, account)] if account else await self._accounts.list(owner)
        found: list[channels.Speaker] = []
        for details in known:
            found += await self._said.look_for(owner, details.account.id, text, most=most)
        return sorted(found, key=lambda one: one.last_at, reverse=True)[:most]

    async def person(self, tenant: str, account: str, sender: str) -> personal.Person:
        """Who that is, known or not. Raises Rejected for an account that is not there, and for no id at all."""
        details = await self._accounts.show(tenant, account)
        pseudonyms = await self._erasures.pseudonyms(tenant)
        return pseudonyms.person(details.account.channel, details.account.id, sender)

    async def export(self, person: personal.Person, to: Path, *, tell: Tell = lambda _place, _looked: None) -> Report:
        """Write all that is known about a person into a new file: a JSON object a line, the last one sums up.

        Only its owner may read it, and it is there once it is whole. Raises Rejected as `person_file.private`.
        """
        trail = await self._trail(person, _now())
        with person_file.private(to) as file:
            parts = [await self._write(place, trail, file, tell) for place in self._first]
            report = _report(person, trail.until, [*parts, *self._parts_out_of_reach()])
            _line(file, _summary(person, report))
        return report

    async def _write(self, place: personal.PersonalData, trail: personal.Trail, file: TextIO, tell: Tell) -> Part:
        count = 0
        try:
            async for batch in _searched(place, trail, tell):
                for one in batch.found:
                    if one.record is not None:
                        record = one.record
                        _line(file, {"kind": record.kind, "place": place.place, "at": record.at, **record.said})
                        count += 1
        except errors.Unavailable as error:
            return Part(place.place, "failed", count, 0, error.code, error.detail)
        return Part(place.place, "done" if count else "nothing", count)

    async def count(self, person: personal.Person, *, tell: Tell = lambda _place, _looked: None) -> Report:
        """What erasing would find now, and change nothing."""
        trail = await self._trail(person, _now())
        parts: list[Part] = []
        for place in (*self._first, self._last):
            found = 0
            try:
                async for batch in _searched(place, trail, tell):
                    found += len(batch.found)
            except errors.Unavailable as error:
                parts.append(Part(place.place, "failed", found, 0, error.code, error.detail))
            else:
                parts.append(Part(place.place, "done" if found else "nothing", found))
        return _report(person, trail.until, [*parts, *self._parts_out_of_reach()])

    async def erase(
        self,
        person: personal.Person,
        *,
        until: datetime.datetime | None = None,
        tell: Tell = lambda _place, _looked: None,
    ) -> Report:
        """Erase all that was received up to `until` (now), and what answers it.

        What cannot be reached is told in the report, which is not complete then: erase again when it is there.
        """
        until = until or _now()
        await self._erasures.begin(person, until)
        parts: dict[str, Part] = {}
        for number in range(1, ROUNDS + 1):
            # Anew each time: what came late may have been said in a conversation that nobody knew of.
            trail = await self._trail(person, until)
            fresh = [await self._erase(place, trail, tell) for place in self._first]
            for part in (*fresh, *self._parts_out_of_reach()):
                parts[part.place] = _sum(parts.get(part.place), part)
            if _failed(parts.values()):
                last = Part(self._last.place, "waits")
                break
            if number > 1 and not any(part.found for part in fresh):
                last = await self._erase(self._last, trail, tell)
                break
            await self._let_arrive(until)
        else:
            last = Part(self._last.place, "waits", code="still_arriving", detail=f"each of {ROUNDS} rounds found more")
        report = _report(person, until, [*parts.values(), last])
        if report.complete:
            await self._erasures.finish(person)
        return report

    async def _let_arrive(self, until: datetime.datetime) -> None:
        """Wait for what was received and is being committed, which no search can find yet; not for what is long ago."""
        arrived = until + datetime.timedelta(seconds=self._arrives_within_s)
        await asyncio.sleep(min(self._arrives_within_s, max(0.0, (arrived - _now()).total_seconds())))

    async def _erase(self, place: personal.PersonalData, trail: personal.Trail, tell: Tell) -> Part:
        found = erased = 0
        try:
            async for batch in _searched(place, trail, tell):
                found += len(batch.found)
                for keys in personal.portions((one, 0) for one in batch.found):
                    erased += await place.erase(trail, keys)
            await place.settled(trail)
        except errors.Unavailable as error:
            return Part(place.place, "failed", found, erased, error.code, error.detail)
        return Part(place.place, "done" if found else "nothing", found, erased)

    async def listed(self, tenant: str) -> list[erasures.Erasure]:
        """Everybody who was erased. Raises Rejected for a tenant that is not there."""
        return await self._erasures.list((await self._tenancy.get(tenant)).id)

    async def erase_listed(
        self, tenant: str, listed: Sequence[erasures.Erasure], *, tell: Tell = lambda _place, _looked: None
    ) -> list[Report]:
        """Erase again whoever stands in the list and is there: after a restore, or for what came late."""
        owner = (await self._tenancy.get(tenant)).id
        pseudonyms = await self._erasures.pseudonyms(owner)
        wanted = {one.person: one for one in listed if one.tenant == owner}
        reports: list[Report] = []
        for channel, account in sorted({(one.channel, one.account) for one in wanted.values()}):
            names: dict[str, str] = {}
            async for sender in self._said.senders(owner, account):
                known = pseudonyms.person(channel, account, sender).pseudonym
                if known in wanted:
                    names[known] = sender
            for one in wanted.values():
                if one.account == account:
                    # Without a name only what answers them can be left, and their pseudonym finds that.
                    person = personal.Person(owner, channel, account, names.get(one.person, one.person), one.person)
                    reports.append(await self.erase(person, until=one.until, tell=tell))
        return reports

    async def _trail(self, person: personal.Person, until: datetime.datetime) -> personal.Trail:
        """What leads to everything else: the conversations that are theirs alone, as far as anything tells now."""
        pseudonyms, trail = await self._erasures.pseudonyms(person.tenant), personal.Trail(person, until)
        names = {
            conversation: pseudonyms.conversation(person.channel, person.account, conversation)
            for conversation in await self._said.conversations(trail)
        }
        return dataclasses.replace(trail, conversations=names)

    def _parts_out_of_reach(self) -> list[Part]:
        return [Part(name, "failed", code=self._away.code, detail=self._away.detail) for name in self._unreached]


@contextlib.asynccontextmanager
async def opened(found: configuration.Configuration) -> AsyncGenerator[People]:
    """The people of the running installation; when NATS is away, without its streams. Raises as `house` does."""
    async with contextlib.AsyncExitStack() as stack:
        joined = await stack.enter_async_context(house.of_running_installation(found))
        spine, away = None, None
        try:
            spine = await stack.enter_async_context(streams.connected(found))
        except errors.Unavailable as error:
            away = error
        yield People(joined, spine, away)


async def _searched(place: personal.PersonalData, trail: personal.Trail, tell: Tell) -> AsyncGenerator[personal.Batch]:
    looked = 0
    async with contextlib.aclosing(place.find(trail)) as batches:
        async for batch in batches:
            looked += batch.looked
            if batch.looked:
                tell(place.place, looked)
            if batch.found:
                yield batch


def _sum(before: Part | None, now: Part) -> Part:
    if before is None:
        return now
    state = before.state if now.state == "nothing" else now.state
    return dataclasses.replace(now, state=state, found=before.found + now.found, erased=before.erased + now.erased)


def _failed(parts: Iterable[Part]) -> bool:
    return any(part.state == "failed" for part in parts)


def _report(person: personal.Person, until: datetime.datetime, parts: Sequence[Part]) -> Report:
    complete = all(part.state in {"done", "nothing"} for part in parts)
    return Report(person.pseudonym, until, complete, tuple(parts))


def _summary(person: personal.Person, report: Report) -> dict[str, Any]:
    return {
        "kind": "manifest",
        "tenant": person.tenant,
        "channel": person.channel,
        "account": person.account,
        "sender": person.sender,
        "person": person.pseudonym,
        "until": report.until,
        "complete": report.complete,
        "records": sum(part.found for part in report.parts),
        "places": [dataclasses.asdict(part) for part in report.parts],
        "not_searched": dict(NOT_SEARCHED),
    }


def _line(file: TextIO, document: Mapping[str, Any]) -> None:
    """One JSON object; what is no text in Unicode (half a surrogate) is written so that any reader takes it."""
    file.write(json.dumps(document, default=_plain) + "\n")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
