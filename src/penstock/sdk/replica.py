"""One process's share of an app for one tenant: a worker on the consumer that all replicas share, and a heartbeat."""

import dataclasses

from penstock.base import ids
from penstock.sdk import dispatch
from penstock.sdk.app import App
from penstock.spine import consumer, desk, effects, heartbeat, ports, provision, suspects, worker


class Replica:
    """An app at work for one tenant.

    `period_s` is the time between two heartbeats; the replicas of one process have the same `turnstile`.
    """

    def __init__(
        self,
        app: App,
        tenant: ids.TenantId,
        spine: ports.Spine,
        *,
        period_s: float = 5.0,
        turnstile: suspects.Turnstile | None = None,
        join: desk.Join | None = None,
    ) -> None:
        self.tenant, self._spine = tenant, spine
        self._join = join or self._see_to_durables
        policy = consumer.of_app(tenant, app.name, concurrency=app.concurrency)
        self.policy = dataclasses.replace(policy, deadline_s=app.deadline_s)
        handle = dispatch.Dispatch(app, effects.Effects(spine).publish).handle
        solo = suspects.Suspects(spine, turnstile)
        self._worker = worker.Worker(spine, self.policy, handle, lane_of=dispatch.lane_of, solo=solo)
        self._heartbeat = heartbeat.Heartbeat(
            spine, self.policy.name, is_ready=lambda: self.listening, tenant=tenant, period_s=period_s
        )
        self.listening = False
        """Whether it takes messages: started, and not told to drain."""

    @property
    def connected(self) -> bool:
        """Whether the bus answers right now."""
        return self._spine.connected

    async def start(self) -> None:
        """Join the consumer, making it if this is the first replica ever, and begin to answer.

        Raises Unavailable `no_stream` when nothing has made the streams yet, Rejected `consumer_differs`.
        """
        await self._join()
        await self._worker.start()
        self.listening = True
        self._heartbeat.start()

    async def _see_to_durables(self) -> None:
        await provision.require_streams(self._spine)
        await provision.durable(self._spine, self.policy)

    async def drain(self, timeout_s: float) -> int:
        """Take nothing new and finish what was begun; returns how many deliveries were given back unfinished."""
        if self.listening:
            self.listening = False
            await self._heartbeat.drain()
        left = await self._worker.drain(timeout_s)
        await self._heartbeat.stop()
        return left
