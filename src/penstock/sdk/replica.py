"""One process's share of an app for one tenant: a worker on the consumer that all replicas share, and a heartbeat."""

import asyncio
import contextlib
import dataclasses

from penstock.base import context as contexts
from penstock.base import errors, ids, tasks
from penstock.messages.v1 import heartbeat_pb2
from penstock.sdk import dispatch
from penstock.sdk.app import App
from penstock.spine import consumer, effects, ports, provision, route, stream, suspects, worker


class Replica:
    """An app at work for one tenant.

    `period_s` is the time between two heartbeats; the replicas of one process have the same `solo`.
    """

    def __init__(
        self,
        app: App,
        tenant: ids.TenantId,
        spine: ports.Spine,
        *,
        period_s: float = 5.0,
        solo: suspects.Suspects | None = None,
    ) -> None:
        self._tenant, self._spine, self._period_s = tenant, spine, period_s
        policy = consumer.of_app(tenant, app.name, concurrency=app.concurrency)
        self.policy = dataclasses.replace(policy, deadline_s=app.deadline_s)
        handle = dispatch.Dispatch(app, effects.Effects(spine).publish).handle
        self._worker = worker.Worker(spine, self.policy, handle, lane_of=dispatch.lane_of, solo=solo)
        self._instance = ids.new_id()
        self._state = heartbeat_pb2.HEARTBEAT_STATE_STARTING
        self._tasks = tasks.Tasks()

    @property
    def listening(self) -> bool:
        """Whether it takes messages: started, and not told to drain."""
        return self._state == heartbeat_pb2.HEARTBEAT_STATE_READY

    async def start(self) -> None:
        """Join the consumer, making it if this is the first replica ever, and begin to answer.

        Raises Unavailable `no_stream` when nothing has made the streams yet, Rejected `consumer_differs`.
        """
        await self._join()
        await self._worker.start()
        self._state = heartbeat_pb2.HEARTBEAT_STATE_READY
        self._tasks.forever(f"{self.policy.name} heartbeat", self._beat)

    async def _join(self) -> None:
        for needed in (stream.MESSAGES_INBOUND, stream.MESSAGES_OUTBOUND):
            if await self._spine.describe_stream(needed.name) is None:
                raise errors.Unavailable(
                    "no_stream",
                    f"the bus has no stream {needed.name} yet",
                    hint="Start the core first: 'penstock up', or 'penstock run channels'.",
                )
        await provision.durable(self._spine, self.policy)

    async def drain(self, timeout_s: float) -> int:
        """Take nothing new and finish what was begun; returns how many deliveries were given back unfinished."""
        if self.listening and self._spine.connected:
            self._state = heartbeat_pb2.HEARTBEAT_STATE_STOPPING
            with contextlib.suppress(errors.Unavailable):
                await self._say_state()
        self._state = heartbeat_pb2.HEARTBEAT_STATE_STOPPING
        left = await self._worker.drain(timeout_s)
        await self._tasks.stop()
        return left

    async def _beat(self) -> None:
        await self._say_state()
        await asyncio.sleep(self._period_s)

    async def _say_state(self) -> None:
        message = heartbeat_pb2.Heartbeat(
            component=self.policy.name,
            instance=self._instance,
            state=self._state,
            period_ms=round(self._period_s * 1000),
        )
        message.at.GetCurrentTime()
        outgoing = route.HEARTBEAT.encode(contexts.start(self._tenant), message)
        await self._spine.emit(ports.Signal(outgoing.subject, outgoing.headers, outgoing.body))
