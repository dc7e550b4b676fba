"""A conversation with an app in memory, for the tests of its author: no server, no socket, no waiting.

    async with testing.conversation(app) as chat:
        await chat.say("hello")
        assert await chat.reply() == "You said: hello"

What runs is what runs in production: the worker contract with its lanes, retries and quarantine, over the in-memory
spine. Only the pauses between tries are cut short. The chat plays the platform and, like outbound, does no command
twice.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.sdk import dispatch, transcript, wire
from penstock.sdk.app import App
from penstock.sdk.model import Attachment, Sender
from penstock.spine import consumer, ports, provision, route, worker
from penstock.spine.adapters import spine_memory

PAUSE_S: Final = 0.001

_OUTBOUND: Final = dataclasses.replace(consumer.OUTBOUND, concurrency=1)
_QUARANTINE: Final = dataclasses.replace(consumer.QUARANTINE, concurrency=1)


@contextlib.asynccontextmanager
async def conversation(
    app: App, *, tenant: str = "test", channel: str = "test", deadline_s: float = 5.0
) -> AsyncGenerator["Conversation"]:
    """Talk with an app. `deadline_s` is how long it may take to deal with one event."""
    chat = Conversation(app, tenant=tenant, channel=channel, deadline_s=deadline_s)
    await chat.start()
    try:
        yield chat
    finally:
        await chat.stop()


class Conversation:
    """The other side of the chat; made by `conversation`.

    Every method that tells the app something returns when the app has dealt with it, and raises what its handler
    raised when that put the event into quarantine. What a later try got over is not raised; it is in `failures`.
    """

    def __init__(self, app: App, *, tenant: str, channel: str, deadline_s: float) -> None:
        self._app, self._tenant, self._channel, self._deadline_s = app, ids.tenant_id(tenant), channel, deadline_s
        self._spine = spine_memory.MemorySpine()
        policy = consumer.of_app(tenant, app.name, concurrency=app.concurrency)
        self._policy = dataclasses.replace(policy, deadline_s=app.deadline_s, backoff_s=(PAUSE_S,))
        self._handle = dispatch.Dispatch(app, self._spine.publish).handle
        self._workers = {
            self._policy: worker.Worker(self._spine, self._policy, self._watch, lane_of=dispatch.lane_of),
            _OUTBOUND: worker.Worker(self._spine, _OUTBOUND, self._carry_out),
            _QUARANTINE: worker.Worker(self._spine, _QUARANTINE, self._set_aside),
        }
        self._transcript = transcript.Transcript()
        self._events = self._taken = 0
        self._last: ports.Outgoing | None = None
        self._raised: dict[int, Exception] = {}
        self._quarantined: dict[int, str] = {}
        self.failures: list[Exception] = []
        """What the app's handlers raised, every time, in order."""

    async def start(self) -> None:
        """Make the streams and let the app answer."""
        await provision.streams(self._spine)
        for policy, each in self._workers.items():
            await provision.durable(self._spine, policy)
            await each.start()

    async def stop(self) -> None:
        """Cancel what still runs."""
        for each in self._workers.values():
            await each.drain(0)
        await self._spine.close()

    async def say(
        self,
        text: str,
        *,
        sender: str | Sender = "ann",
        conversation: str = "room",
        thread: str = "",
        attachments: Sequence[Attachment] = (),
        answers: str = "",
    ) -> str:
        """Somebody writes, in answer to the message `answers` if given; returns the platform's id of the message."""
        event = self._event(sender, conversation)
        event.text, event.thread, event.message_id = text, thread, f"message-{self._events}"
        event.attachments.extend(wire.attachment(file) for file in attachments)
        if answers:
            event.relation.reply.message_id = answers
        await self.deliver(event)
        return event.message_id

    async def edit(self, message: str, text: str, *, sender: str | Sender = "ann", conversation: str = "room") -> None:
        """Somebody changes what a message says."""
        event = self._event(sender, conversation)
        event.text, event.relation.edit.message_id = text, message
        await self.deliver(event)

    async def delete(self, message: str, *, sender: str | Sender = "ann", conversation: str = "room") -> None:
        """Somebody takes a message back."""
        event = self._event(sender, conversation)
        event.relation.deletion.message_id = message
        await self.deliver(event)

    async def react(
        self, message: str, reaction: str, *, sender: str | Sender = "ann", conversation: str = "room"
    ) -> None:
        """Somebody puts an emoji on a message."""
        event = self._event(sender, conversation)
        event.relation.reaction.message_id, event.relation.reaction.name = message, reaction
        await self.deliver(event)

    async def unreact(
        self, message: str, reaction: str, *, sender: str | Sender = "ann", conversation: str = "room"
    ) -> None:
        """Somebody takes an emoji back."""
        event = self._event(sender, conversation)
        event.relation.reaction_removed.message_id, event.relation.reaction_removed.name = message, reaction
        await self.deliver(event)

    async def deliver(self, event: message_pb2.Message) -> None:
        """Any event, as it travels."""
        self._last = route.INBOUND.encode(contexts.start(self._tenant), event)
        await self._deliver(self._last)

    async def redeliver(self) -> None:
        """Deliver the last event once more, as the bus does after a crash: an app must not say anything twice."""
        if self._last is None:
            raise AssertionError("nothing was said yet that could be delivered again")
        again = {**self._last.headers, contexts.MESSAGE_ID: f"{self._tenant}:again:{ids.new_id()}"}
        await self._deliver(dataclasses.replace(self._last, headers=again))

    async def reply(self) -> str:
        """The next thing the app said. Raises AssertionError when it has said nothing more."""
        said = self._transcript.said
        if self._taken >= len(said):
            raise AssertionError(f"the app said nothing {'more' if said else 'at all'}; it said {said}")
        self._taken += 1
        return said[self._taken - 1]

    @property
    def replies(self) -> list[str]:
        """What the app's messages say now, in the order sent: edits made, and those taken back gone."""
        return self._transcript.texts

    @property
    def reactions(self) -> list[tuple[str, str]]:
        """Message and emoji of every reaction the app put."""
        return self._transcript.reactions

    @property
    def commands(self) -> list[outbound_pb2.SendCommand]:
        """Everything the app asked for, as it travels, each command once."""
        return self._transcript.commands

    def _event(self, sender: str | Sender, conversation: str) -> message_pb2.Message:
        self._events += 1
        event = message_pb2.Message(
            event_id=f"event-{self._events}",
            tenant=self._tenant,
            channel=self._channel,
            account="account",
            conversation=conversation,
            sender=wire.sent_by(Sender(sender, sender.title()) if isinstance(sender, str) else sender),
        )
        event.sent_at.GetCurrentTime()
        event.received_at.CopyFrom(event.sent_at)
        return event

    async def _watch(self, context: contexts.Context, delivery: ports.Delivery) -> None:
        """The app's handler, seen: what it raises is kept, and Unavailable does not keep a test waiting."""
        try:
            await self._handle(context, delivery)
        except Exception as error:
            self.failures.append(error)
            self._raised[delivery.sequence] = error
            if isinstance(error, errors.Unavailable):
                raise errors.Unavailable(error.code, error.detail, after_s=PAUSE_S) from error
            raise

    async def _carry_out(self, _: contexts.Context, delivery: ports.Delivery) -> None:
        self._transcript.add(route.OUTBOUND.decode(delivery.headers, delivery.body))

    async def _set_aside(self, _: contexts.Context, delivery: ports.Delivery) -> None:
        record = route.QUARANTINED.decode(delivery.headers, delivery.body)
        self._quarantined[record.sequence] = record.detail

    async def _deliver(self, outgoing: ports.Outgoing) -> None:
        published = await self._spine.publish(outgoing)
        await self._settled()
        if (detail := self._quarantined.get(published.sequence)) is not None:
            error = self._raised.get(published.sequence, AssertionError(detail))
            error.add_note(f"The app '{self._app.name}' raised this, and the event went into quarantine.")
            raise error

    async def _settled(self) -> None:
        """Return when the app has dealt with everything, and what it sent has been carried out."""
        try:
            async with asyncio.timeout(self._deadline_s):
                for policy in (durable for each in self._workers for durable in each.durables()):
                    # A durable tells nobody that it has become empty.
                    while await self._spine.backlog(policy.stream, policy.name) != (0, 0):  # noqa: ASYNC110
                        await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            last = self.failures[-1] if self.failures else None
            raise AssertionError(f"the app has not dealt with the event after {self._deadline_s:g} s") from last
