"""Answers what walled-off apps ask: the core's side of `desk`, the only door between apps and the owner's account.

Every subject says the tenant, and the app's account imports its own tenant's only; so nothing that a body says can lead
to another one. One tenant's questions wait for each other beyond `AT_ONCE`, and beyond `WAITING` they are refused: who
asks without end keeps nobody else waiting.
"""

import asyncio
import collections
import datetime
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, ids, tasks, telemetry
from penstock.messages.v1 import desk_pb2, quarantine_pb2
from penstock.spine import consumer, desk, origin, ports, provision, route, stream, subject, suspects

PATTERNS: Final = ("penstock.join.*", "penstock.desk.*.*.ask")
QUEUE: Final = "porter"
ADMITTED: Final = "penstock.admitted"
"""Said on core NATS, in the owner's account, when an app has new durables: its account has to learn of them."""
APPS: Final = 64
"""Apps that one tenant may have."""
AT_ONCE: Final = 8
WAITING: Final = 256
WAITING_BYTES: Final = 16 << 20
"""Of all questions that wait: one that sets a message aside is as large as a message."""
VALUE_BYTES: Final = 64
LATEST_US: Final = 1 << 53
"""Microseconds after 1970 that a date can say."""

_log = telemetry.logger("spine.porter")

asked = telemetry.counter(
    "penstock_desk_questions_total",
    labels=("outcome",),
    meaning="Questions of walled-off apps: answered, refused (not theirs to ask, or nonsense), passing (something was "
    "away), busy (more at once than one tenant may have).",
    remedy="refused or busy in numbers: an app misbehaves; the log line 'an app is refused' says which.",
)


class Porter:
    """At the door for as long as it is started; any number of processes may have one."""

    def __init__(self, spine: ports.Spine) -> None:
        self._spine = spine
        self._tasks = tasks.Tasks()
        self._asking: collections.Counter[str] = collections.Counter()
        self._asking_bytes: collections.Counter[str] = collections.Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._listening: list[ports.Subscription] = []
        self._bucket: ports.KeyValue | None = None

    async def start(self) -> None:
        """Answer, as soon as there is a bus."""
        self._tasks.once("porter", self._open())

    async def stop(self) -> None:
        """Answer nobody any more."""
        while self._listening:
            await self._listening.pop().close()
        await self._tasks.stop()

    async def _open(self) -> None:
        failures = 0
        waiting = [*PATTERNS]
        while waiting or self._bucket is None:
            try:
                while waiting:
                    self._listening.append(await self._spine.listen(waiting[0], self._hear, queue=QUEUE))
                    del waiting[0]
                # Roles that run apart may not make it.
                self._bucket = await self._spine.key_value(suspects.BUCKET, max_age_s=suspects.KEPT_S)
            except errors.PenstockError as error:
                failures += 1
                _log.warning("porter waits", code=error.code)
                await asyncio.sleep(tasks.backoff_s(failures, most_s=5.0))

    async def _hear(self, signal: ports.Signal) -> None:
        """Take a question in; answering it holds up nobody else's."""
        tenant = signal.subject.split(".")[2]
        if self._asking[tenant] >= WAITING or self._asking_bytes[tenant] >= WAITING_BYTES:
            asked.labels("busy").inc()
            return  # not even a word: whoever asks too much learns it by silence
        self._asking[tenant] += 1
        self._asking_bytes[tenant] += _size_bytes(signal)
        self._tasks.once("porter answers", self._answer(tenant, signal))

    async def _answer(self, tenant: str, signal: ports.Signal) -> None:
        turn = self._turns.setdefault(tenant, asyncio.Semaphore(AT_ONCE))
        try:
            async with turn:
                reply = await self._replied(signal)
                if signal.reply:
                    await self._spine.emit(ports.Signal(signal.reply, {}, reply.SerializeToString()))
        except errors.PenstockError as error:
            _log.info("an answer did not leave", tenant=tenant, code=error.code)
        finally:
            self._asking[tenant] -= 1
            self._asking_bytes[tenant] -= _size_bytes(signal)
            if not self._asking[tenant]:
                del self._asking[tenant], self._asking_bytes[tenant]
                self._turns.pop(tenant, None)

    async def _replied(self, signal: ports.Signal) -> desk_pb2.DeskReply:
        try:
            reply = await self._decide(signal)
        except (errors.Rejected, errors.Poisoned) as error:
            asked.labels("refused").inc()
            _log.warning("an app is refused", subject=signal.subject, code=error.code)
            return desk_pb2.DeskReply(refusal=desk_pb2.Refusal(code=error.code, detail=error.detail))
        except errors.Unavailable as error:
            asked.labels("passing").inc()
            after_ms = round(error.after_s * 1000)
            return desk_pb2.DeskReply(
                refusal=desk_pb2.Refusal(passing=True, code=error.code, detail=error.detail, after_ms=after_ms)
            )
        asked.labels("answered").inc()
        return reply

    async def _decide(self, signal: ports.Signal) -> desk_pb2.DeskReply:
        """Do what is asked, for the tenant and the app of the subject. Raises Rejected, Poisoned, Unavailable."""
        question = route.parsed(desk_pb2.DeskRequest, signal.body)
        which, words = question.WhichOneof("question"), signal.subject.split(".")
        tenant = ids.tenant_id(words[2])
        if words[1] == "join":
            if which != "joining":
                raise errors.Rejected("bad_question", "only joining is asked here")
            return await self._admit(tenant, question.joining)
        policy = consumer.of_app(tenant, words[3])
        if which == "knock":
            return desk_pb2.DeskReply(found=True)
        if which == "place":
            return await self._place(tenant, question.place)
        if which == "suspect":
            return await self._suspect(tenant, policy, question.suspect)
        if which == "release":
            await self._spine.release(policy.stream, _own(policy, question.release.durable))
            return desk_pb2.DeskReply(found=True)
        if which == "standing":
            return await self._standing(policy, question.standing.durable)
        if which == "quarantined":
            return await self._set_aside(tenant, policy, question.quarantined, signal)
        raise errors.Rejected("bad_question", "this build does not know what is asked")

    async def _admit(self, tenant: ids.TenantId, joining: desk_pb2.Joining) -> desk_pb2.DeskReply:
        """See to the durables of an app, and say when there are new ones."""
        policy = consumer.of_app(tenant, joining.app)
        await provision.require_streams(self._spine)
        first = policy.durables()[0]
        if await self._spine.describe_consumer(first.stream, first.name) is None:
            await self._require_room(tenant)
        if joining.durable:
            await self._make_again(policy, joining)
        elif await provision.durable(self._spine, policy):
            _log.info("an app has joined", consumer=policy.name)
        await self._spine.emit(ports.Signal(f"{ADMITTED}.{tenant}.{joining.app}", {}, b""))
        return desk_pb2.DeskReply(found=True)

    async def _make_again(self, policy: consumer.ConsumerPolicy, joining: desk_pb2.Joining) -> None:
        """One durable that was deleted under its app; somebody may have been faster."""
        name = _own(policy, joining.durable)
        (one,) = (each for each in policy.durables() if each.name == name)
        if await self._spine.describe_consumer(one.stream, one.name) is None:
            await self._spine.create_consumer(one, since=_since(joining))
            _log.warning("durable made again", consumer=name)

    async def _require_room(self, tenant: ids.TenantId) -> None:
        states = await self._spine.consumer_states(stream.MESSAGES_INBOUND.name)
        if len(apps_of([state.policy.name for state in states]).get(tenant, ())) >= APPS:
            raise errors.Rejected("too_many_apps", f"a tenant has at most {APPS} apps", status=409)

    async def _place(self, tenant: ids.TenantId, place: desk_pb2.Place) -> desk_pb2.DeskReply:
        """Only where, and never what: the words of a message come by its delivery."""
        if place.stream != stream.MESSAGES_INBOUND.name:
            raise errors.Rejected("bad_question", "apps take messages of one stream only")
        found = await self._spine.message(place.stream, place.sequence)
        if found is None or subject.tenant_of(found.subject) != tenant:
            return desk_pb2.DeskReply(found=False)
        reply = desk_pb2.DeskReply(found=True, subject=found.subject)
        reply.stored_at.FromNanoseconds(desk.nanoseconds(found.at))
        return reply

    async def _standing(self, policy: consumer.ConsumerPolicy, durable: str) -> desk_pb2.DeskReply:
        name = _own(policy, durable)
        floor, (waiting, held) = await asyncio.gather(
            self._spine.floor(policy.stream, name), self._spine.backlog(policy.stream, name)
        )
        return desk_pb2.DeskReply(found=True, floor=floor, waiting=waiting, held=held)

    async def _suspect(
        self, tenant: ids.TenantId, policy: consumer.ConsumerPolicy, entry: desk_pb2.SuspectEntry
    ) -> desk_pb2.DeskReply:
        """A key for each message at most: the bucket is everybody's, and a server's memory grows with its keys."""
        place = suspects.place_of(entry.key)
        if place is None or place[:2] != (policy.name, policy.stream) or len(entry.value) > VALUE_BYTES:
            raise errors.Rejected("not_yours", "an app writes down its own suspects only", status=403)
        if self._bucket is None:
            raise errors.Unavailable("starting", "the core has just begun", after_s=0.2)
        if entry.act == desk_pb2.SUSPECT_ACT_WRITE:
            await self._require_message(tenant, place)
            await self._bucket.put(entry.key, entry.value)
            return desk_pb2.DeskReply(found=True, value=entry.value)
        found = await self._bucket.get(entry.key)
        if entry.act == desk_pb2.SUSPECT_ACT_DELETE:
            if found is not None:  # what says that a key is gone takes room as well
                await self._bucket.delete(entry.key)
            return desk_pb2.DeskReply(found=False)
        return desk_pb2.DeskReply(found=found is not None, value=(found.value if found else None) or b"")

    async def _require_message(self, tenant: ids.TenantId, place: suspects.Place) -> None:
        """Raise Unavailable `message_gone` unless that very message of the tenant is in its place."""
        found = await self._spine.message(place.stream, place.sequence)
        if found is not None and subject.tenant_of(found.subject) == tenant:
            stored_at = desk.moment(place.stored_us * 1000) if place.stored_us <= LATEST_US else None
            if stored_at is not None and abs(found.at - stored_at) < origin.EXACT:
                return
        raise errors.Unavailable("message_gone", "the stream has no such message of this tenant", after_s=1.0)

    async def _set_aside(
        self,
        tenant: ids.TenantId,
        policy: consumer.ConsumerPolicy,
        record: quarantine_pb2.Quarantined,
        signal: ports.Signal,
    ) -> desk_pb2.DeskReply:
        """Publish the record, if all of it is the app's own: it is sent again one day as what it says it is."""
        if record.tenant != tenant or record.consumer != policy.name or record.stream != policy.stream:
            raise errors.Rejected("not_yours", "an app sets aside what it took itself", status=403)
        if not stream.covers(policy.filter, record.subject):
            raise errors.Rejected("not_yours", "an app sets aside messages of its tenant", status=403)
        for word in record.subject.split("."):
            ids.token(word, "subject")  # it is published under again one day, by the core
        context = contexts.of_message(tenant, signal.headers)
        await self._spine.publish(route.QUARANTINED.encode(context, record))
        return desk_pb2.DeskReply(found=True)


def _size_bytes(signal: ports.Signal) -> int:
    """Headers are as large as whoever asks makes them."""
    return len(signal.body) + sum(len(name) + len(value) for name, value in signal.headers.items())


def _since(joining: desk_pb2.Joining) -> datetime.datetime | None:
    """From when on a durable shall begin, if that was said. Raises Rejected `bad_question`."""
    try:
        return desk.moment(joining.since.ToNanoseconds()) if joining.HasField("since") else None
    except (ValueError, OverflowError):
        raise errors.Rejected("bad_question", "this is no time") from None


def _own(policy: consumer.ConsumerPolicy, durable: str) -> str:
    """That durable, if it is the app's. Raises Rejected `not_yours`."""
    if durable not in {each.name for each in policy.durables()}:
        raise errors.Rejected("not_yours", "an app asks about its own durables only", status=403)
    return durable


def apps_of(durables: list[str]) -> dict[ids.TenantId, set[str]]:
    """Which apps of which tenants have durables."""
    found: dict[ids.TenantId, set[str]] = {}
    for durable in durables:
        parts = consumer.consumer_of(durable).split("_")
        if len(parts) == 3 and parts[0] == "app":
            found.setdefault(ids.TenantId(parts[1]), set()).add(parts[2])
    return found
