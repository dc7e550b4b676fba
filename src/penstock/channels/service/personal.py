"""What this room keeps about people: what they said, what was said to them, and events that nobody could read."""

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final

from penstock.base import ids
from penstock.channels.store import personal as rows
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.state import personal, personal_reading

CONVERSATIONS: Final = 10_000
"""Conversations of one person that are looked into for being theirs alone; those beyond count as shared."""

Look = Callable[[personal.Trail, str], Awaitable[rows.Window]]


class Said:
    """`personal.Whose`, and who it is that speaks, from the rows of `message`."""

    def __init__(self, table: rows.PersonRows) -> None:
        self._table = table

    async def theirs(self, trail: personal.Trail, event_ids: Collection[str]) -> frozenset[str]:
        """As `personal.Whose.theirs`."""
        return await self._table.theirs(trail, event_ids)

    async def conversations(self, trail: personal.Trail) -> frozenset[str]:
        """Conversations in which nobody but the person ever spoke (besides us), as their platform names them."""
        found: set[str] = set()
        async for window in _windows(self._table.conversations, trail):
            found.update(row[0] for row in window.rows[: max(0, CONVERSATIONS - len(found))])
        after, looked = "", personal.WINDOW
        while found and looked == personal.WINDOW:
            window = await self._table.shared(trail, after, found)
            found -= {row[0] for row in window.rows}
            looked, after = window.looked, window.last
        return frozenset(found)

    async def senders(self, tenant: ids.TenantId, account: str) -> AsyncGenerator[str]:
        """Everybody who spoke on an account, perhaps more than once."""
        after, looked = "", personal.WINDOW
        while looked == personal.WINDOW:
            window = await self._table.senders(tenant, account, after)
            for (sender,) in window.rows:
                yield sender
            looked, after = window.looked, window.last

    async def look_for(self, tenant: ids.TenantId, account: str, text: str, *, most: int) -> list["Speaker"]:
        """At most `most` people of an account whose id (in any case) or display name holds `text`."""
        found: dict[str, Speaker] = {}
        after, looked = "", personal.WINDOW
        while looked == personal.WINDOW:
            window = await self._table.look_for(tenant, account, after, text)
            for sender, at, body in window.rows:
                name = message_pb2.Message.FromString(bytes(body or b"")).sender.display_name
                known = found.get(sender)
                if known is None and (len(found) >= most or not _matches(text, sender, name)):
                    continue
                if known is None or known.last_at < at:
                    found[sender] = Speaker(account, sender, name or (known.display_name if known else ""), at)
            looked, after = window.looked, window.last
        return sorted(found.values(), key=lambda one: one.last_at, reverse=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody who spoke: on which account, their id there, what they called themselves, and when last."""

    account: str
    sender: str
    display_name: str
    last_at: datetime


def _matches(text: str, sender: str, name: str) -> bool:
    return text.lower() in sender.lower() or text in name


async def _windows(look: Look, trail: personal.Trail) -> AsyncGenerator[rows.Window]:
    """Window after window, until one is not full."""
    after, looked = "", personal.WINDOW
    while looked == personal.WINDOW:
        window = await look(trail, after)
        yield window
        looked, after = window.looked, window.last


class MessageRows:
    """`PersonalData`: what people said. Their words go and their id becomes a pseudonym; the event's id stays."""

    place = "channels.message"

    def __init__(self, table: rows.PersonRows) -> None:
        self._table = table

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """By event id."""
        async for window in _windows(self._table.messages, trail):
            for keys in personal.portions(window.rows):
                read = await self._table.read_messages(trail, keys)
                yield personal.Batch(0, [personal.Found(row[0], _message(*row)) for row in read])
            yield personal.Batch(window.looked)

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Redact rows."""
        return await self._table.erase_messages(trail, [one.key for one in found])

    async def settled(self, trail: personal.Trail) -> None:
        """What is erased stays so."""


def _message(event_id: str, conversation: str, body: bytes | None, at: datetime) -> personal.Record:
    said: Any = {"event_id": event_id, "conversation": conversation}
    if body is not None:
        said = personal_reading.document(message_pb2.Message.FromString(bytes(body)))
    return personal.Record("message", at, {"said": said})


class CommandRows:
    """`PersonalData`: what was said to people. The words go; the command's id and how it ended stay."""

    place = "channels.command"

    def __init__(self, table: rows.PersonRows) -> None:
        self._table = table

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """By command id."""
        async for window in _windows(self._table.commands, trail):
            for keys in personal.portions(window.rows):
                read = await self._table.read_commands(trail, keys)
                yield personal.Batch(0, [personal.Found(row[0], _command(row)) for row in read])
            yield personal.Batch(window.looked)

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Redact rows."""
        return await self._table.erase_commands(trail, [one.key for one in found])

    async def settled(self, trail: personal.Trail) -> None:
        """What is erased stays so."""


def _command(row: tuple[Any, ...]) -> personal.Record:
    command_id, conversation, app, body, state, message_id, code, detail, at = row
    said: Any = {"command_id": command_id, "conversation": conversation, "app": app}
    if body is not None:
        said = personal_reading.document(outbound_pb2.SendCommand.FromString(bytes(body)))
    ended = {"state": state, "message_id": message_id, "code": code, "detail": detail}
    return personal.Record("command", at, {**ended, "said": said})


class UnknownEventRows:
    """`PersonalData`: events of kinds that nobody here can read, and in which the person's id stands.

    Who speaks in one of them nobody knows: so all that hold the id are emptied, and none is shown whole.
    """

    place = "channels.unknown_event"

    def __init__(self, table: rows.PersonRows) -> None:
        self._table = table

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """By event id. An id counts that stands by itself: `U1` is not in `U12`."""
        name = trail.person.sender
        async for window in _windows(self._table.unknown, trail):
            for keys in personal.portions(window.rows):
                read = await self._table.read_unknown(trail, keys)
                yield personal.Batch(
                    0, [_unknown(*row[:3]) for row in read if personal_reading.stands_in(name, bytes(row[3]))]
                )
            yield personal.Batch(window.looked)

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Empty rows."""
        return await self._table.erase_unknown(trail, [one.key for one in found])

    async def settled(self, trail: personal.Trail) -> None:
        """What is erased stays so."""


def _unknown(event_id: str, kind: str, at: datetime) -> personal.Found:
    return personal.Found(event_id, personal.Record("unknown_event", at, {"event_id": event_id, "of": kind}))


class ConversationNames:
    """`PersonalData`: names of conversations in which the person spoke alone. Some platforms name them after people.

    Erased last, for until then they tell what was said to whom.
    """

    place = "channels.conversation"

    def __init__(self, table: rows.PersonRows) -> None:
        self._table = table

    async def find(self, trail: personal.Trail) -> AsyncGenerator[personal.Batch]:
        """Commands before messages."""
        if not trail.conversations:
            return
        for kind, look in (("command", self._table.named_commands), ("message", self._table.named)):
            async for window in _windows(look, trail):
                yield personal.Batch(window.looked, [personal.Found((kind, *row), None) for row in window.rows])

    async def erase(self, trail: personal.Trail, found: Sequence[personal.Found]) -> int:
        """Give them their pseudonyms."""
        names: dict[str, list[tuple[str, str]]] = {"command": [], "message": []}
        for kind, key, conversation in (one.key for one in found):
            names[kind].append((key, trail.conversations[conversation]))
        count = await self._table.rename_commands(trail, names["command"]) if names["command"] else 0
        return count + (await self._table.rename_messages(trail, names["message"]) if names["message"] else 0)

    async def settled(self, trail: personal.Trail) -> None:
        """What is erased stays so."""
