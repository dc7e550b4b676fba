"""Personal data: what each place that keeps something about people must be able to do for one of them.

A person is somebody who speaks: a tenant's account on a channel, and the sender's id there. Who an id of one account is
on another nobody knows, so each is a person of their own. A place is a table, an outbox or a stream. All of them find
what is about a person, hand it out for an export, and erase it; `app` asks them one after the other. What tells whose
something is (the rows of what was said) is asked last, so that an erasure that was interrupted can go on.
"""

import dataclasses
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from penstock.base import ids

ERASED: Final = "erased-"
"""What every pseudonym begins with."""

WINDOW: Final = 5000
"""Rows that one statement looks through, so that it ends in time and holds nobody up, whatever it finds."""

PORTION: Final = 200
PORTION_BYTES: Final = 4 << 20
"""How much one statement reads whole, so that memory stays bounded however much there is."""

K = TypeVar("K")


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is: `sender` as the platform names them within the account; `pseudonym` stays when that is gone."""

    tenant: ids.TenantId
    channel: ids.ChannelName
    account: ids.AccountId
    sender: str = dataclasses.field(repr=False)
    pseudonym: str

    @property
    def names(self) -> list[str]:
        """What rows call them, before and after they were erased."""
        return [self.sender, self.pseudonym]


@dataclasses.dataclass(frozen=True, slots=True)
class Trail:
    """What leads to what is about a person.

    Of what was said only what was received up to `until` counts: what somebody says later, they say anew. Answers to it
    count whenever they are given. `conversations` are those in which nobody else ever spoke, each with the name that it
    is called once the person is erased: what is said there is said to them.
    """

    person: Person
    until: datetime
    conversations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One thing about a person, as an export shows it: what kind, when, and all of it as JSON can say it."""

    kind: str
    at: datetime | None
    said: Mapping[str, Any] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A record and its key, by which its place finds it again. Without a record there is nothing to show."""

    key: Any
    record: Record | None


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """A step of a search: how much was looked through since the last one, and what of it is about the person."""

    looked: int
    found: Sequence[Found] = ()


class PersonalData(Protocol):
    """One place in which something about people is kept."""

    @property
    def place(self) -> str:
        """Its name, such as `channels.message` or `MESSAGES_INBOUND`."""
        ...

    def find(self, trail: Trail) -> AsyncGenerator[Batch]:
        """All that is about a person and not erased, in batches of bounded size. Raises Unavailable."""
        ...

    async def erase(self, trail: Trail, found: Sequence[Found]) -> int:
        """Erase what `find` found; returns how many that were. Twice is fine. Raises Unavailable."""
        ...

    async def settled(self, trail: Trail) -> None:
        """Wait until nothing that was erased can come back by itself. Raises Unavailable when that takes too long."""
        ...


class Whose(Protocol):
    """Who knows what was said by whom."""

    async def theirs(self, trail: Trail, event_ids: Collection[str]) -> frozenset[str]:
        """Those of these events that are the person's, erased ones included."""
        ...


def portions(sizes: Iterable[tuple[K, int]]) -> Iterator[list[K]]:
    """Keys, given with the size in bytes of what they stand for, in portions that fit into memory."""
    portion: list[K] = []
    total = 0
    for key, size in sizes:
        if portion and (len(portion) >= PORTION or total + size > PORTION_BYTES):
            yield portion
            portion, total = [], 0
        portion.append(key)
        total += size
    if portion:
        yield portion
