"""What an app that is walled off asks the core, and how the core's answer is read: the app's side of `porter`.

An app's account lets it take its own messages, settle them and publish for its tenant; all else that needs the bus is
asked here, one question and one answer on core NATS. The subject says who asks, and the account imports no other.
"""

import datetime
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final, NamedTuple, Protocol

from penstock.base import errors, ids
from penstock.messages.v1 import desk_pb2, quarantine_pb2
from penstock.spine import ports, route, subject

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

ANSWERED_S: Final = 5.0
"""How long the core may take for one answer."""


class Asks(Protocol):
    """What a desk needs of the spine."""

    async def request(self, signal: ports.Signal, *, timeout_s: float) -> ports.Signal:
        """As `ports.Spine.request`."""
        ...


Join = Callable[[], Awaitable[None]]
"""Sees to the durables of an app that may not do so itself."""


class Who(NamedTuple):
    """Whose app asks, and which one."""

    tenant: ids.TenantId
    app: str


class Desk:
    """Where one app of one tenant asks."""

    def __init__(self, spine: Asks, who: Who) -> None:
        self._spine, self._app = spine, who.app
        self._join, self._ask = subject.join(who.tenant), subject.desk(who.tenant, who.app)

    async def join(self) -> None:
        """See to the app's durables, and return when the bus lets it use them.

        Raises Unavailable `core_away`, or `not_admitted` while the app's account does not know it; Rejected as the core
        says (`too_many_apps`).
        """
        await self._say(self._join, desk_pb2.DeskRequest(joining=desk_pb2.Joining(app=self._app)))
        try:
            await self._say(self._ask, desk_pb2.DeskRequest(knock=desk_pb2.Knock()))
        except errors.Unavailable as error:
            raise errors.Unavailable(
                "not_admitted",
                f"the bus does not let the app {self._app} of this tenant in yet",
                hint="On a server of your own, add the app to its tenant's account: 'penstock nats accounts --help'.",
                after_s=0.1,
            ) from error

    async def restore(self, durable: str, since: datetime.datetime | None) -> None:
        """Have one of the app's durables made again if it was deleted, to begin with what was stored at that time."""
        joining = desk_pb2.Joining(app=self._app, durable=durable)
        if since is not None:
            joining.since.FromNanoseconds(nanoseconds(since))
        await self._say(self._join, desk_pb2.DeskRequest(joining=joining))

    async def place(self, stream: str, sequence: int) -> tuple[str, datetime.datetime] | None:
        """Subject and time of the tenant's message in that place of a stream; None when another, or none, is there."""
        reply = await self._say(self._ask, desk_pb2.DeskRequest(place=desk_pb2.Place(stream=stream, sequence=sequence)))
        return (reply.subject, moment(reply.stored_at.ToNanoseconds())) if reply.found else None

    async def suspect(self, key: str, act: desk_pb2.SuspectAct.ValueType, value: bytes = b"") -> bytes | None:
        """Read, write or delete what is known of a suspect; what is there now, None for nothing."""
        entry = desk_pb2.SuspectEntry(key=key, act=act, value=value)
        reply = await self._say(self._ask, desk_pb2.DeskRequest(suspect=entry))
        return reply.value if reply.found else None

    async def quarantine(self, record: quarantine_pb2.Quarantined, headers: Mapping[str, str]) -> None:
        """Have a message set aside. Returns when the stream has it."""
        await self._say(self._ask, desk_pb2.DeskRequest(quarantined=record), headers)

    async def standing(self, durable: str) -> tuple[int, int, int]:
        """Floor of a durable of the app, how many messages it has not handed out, and how many are un-acked."""
        question = desk_pb2.DeskRequest(standing=desk_pb2.Standing(durable=durable))
        reply = await self._say(self._ask, question)
        return reply.floor, reply.waiting, reply.held

    async def release(self, durable: str) -> None:
        """Have the pin taken from whoever has it."""
        await self._say(self._ask, desk_pb2.DeskRequest(release=desk_pb2.Release(durable=durable)))

    async def _say(
        self, where: str, question: desk_pb2.DeskRequest, headers: Mapping[str, str] | None = None
    ) -> desk_pb2.DeskReply:
        signal = ports.Signal(where, headers or {}, question.SerializeToString(deterministic=True))
        try:
            answer = await self._spine.request(signal, timeout_s=ANSWERED_S)
            reply = route.parsed(desk_pb2.DeskReply, answer.body)
        except errors.Unavailable as error:
            if error.code in {"no_responders", "timeout"}:
                raise errors.Unavailable(
                    "core_away",
                    "no core answers on the bus",
                    hint="Start it: 'penstock up', or 'penstock run state'.",
                    after_s=0.5,
                ) from error
            raise
        except errors.Poisoned:
            raise errors.Unavailable("bad_answer", "the core answered with something else", after_s=1.0) from None
        if reply.HasField("refusal"):
            raise _refused(reply.refusal)
        return reply


def _refused(refusal: desk_pb2.Refusal) -> errors.PenstockError:
    if refusal.passing:
        return errors.Unavailable(refusal.code, refusal.detail, after_s=refusal.after_ms / 1000)
    return errors.Rejected(refusal.code, refusal.detail)


class SuspectBucket:
    """The part of the bucket of suspects that is an app's own: enough of `ports.KeyValue` for `suspects`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def get(self, key: str) -> ports.Entry | None:
        """What is written down."""
        value = await self._desk.suspect(key, desk_pb2.SUSPECT_ACT_READ)
        return None if value is None else ports.Entry(key, value, 0)

    async def put(self, key: str, value: bytes) -> int:
        """Write it down; nobody is told a revision."""
        await self._desk.suspect(key, desk_pb2.SUSPECT_ACT_WRITE, value)
        return 0

    async def delete(self, key: str) -> None:
        """Forget it."""
        await self._desk.suspect(key, desk_pb2.SUSPECT_ACT_DELETE)

    async def create(self, key: str, value: bytes) -> int:
        """Not for apps."""
        raise _not_here(key, value)

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Not for apps."""
        raise _not_here(key, value, revision)

    async def keys(self) -> list[str]:
        """Not for apps."""
        raise _not_here()

    def watch(self) -> AsyncGenerator[ports.Entry | None]:
        """Not for apps."""
        raise _not_here()


def _not_here(*_: object) -> errors.Rejected:
    return errors.Rejected("not_permitted", "an app may not do this with a bucket", status=403)


def moment(since_1970_ns: int) -> datetime.datetime:
    """A time as the spine writes it. Raises OverflowError for what is none."""
    return _EPOCH + datetime.timedelta(microseconds=since_1970_ns // 1000)


def nanoseconds(at: datetime.datetime) -> int:
    """A time as it travels, to the microsecond."""
    return round(at.timestamp() * 1_000_000) * 1000
