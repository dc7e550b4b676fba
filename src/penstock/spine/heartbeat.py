"""Says on core NATS that a part of this process is here, and what it is doing: once a period, and when that changes.

Nobody answers, and a heartbeat that is lost costs nothing: whoever wants to know who is there listens for a while.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from penstock.base import context as contexts
from penstock.base import errors, ids, tasks
from penstock.messages.v1 import heartbeat_pb2
from penstock.spine import ports, route

PERIOD_S: Final = 5.0
SOON_S: Final = 0.5
"""While something is starting it says so more often, and so says soon that it has started."""

STARTING: Final = heartbeat_pb2.HEARTBEAT_STATE_STARTING
READY: Final = heartbeat_pb2.HEARTBEAT_STATE_READY
STOPPING: Final = heartbeat_pb2.HEARTBEAT_STATE_STOPPING


class Heartbeat:
    """What one part of a process says of itself: starting until `is_ready()`, then ready, and stopping once told.

    The tenant is nobody's ("") for parts that serve all of them.
    """

    def __init__(
        self,
        spine: ports.Spine,
        component: str,
        *,
        is_ready: Callable[[], bool],
        tenant: ids.TenantId | None = None,
        period_s: float = PERIOD_S,
    ) -> None:
        self._spine, self.component, self._is_ready, self._period_s = spine, component, is_ready, period_s
        self._context = contexts.start(tenant or ids.TenantId(""))
        self._instance = ids.new_id()
        self._tasks = tasks.Tasks()
        self._stopping = False

    def start(self) -> None:
        """Begin to say so, once a period."""
        self._tasks.forever(f"{self.component} heartbeat", self._beat)

    async def drain(self) -> None:
        """Say at once that this part is stopping; without a bus nobody hears it, which is fine."""
        self._stopping = True
        if self._spine.connected:
            with contextlib.suppress(errors.Unavailable):
                await self._say()

    async def stop(self) -> None:
        """Say nothing more."""
        await self._tasks.stop()

    async def _beat(self) -> None:
        if self._spine.connected:
            await self._say()
        await asyncio.sleep(self._period_s if self._is_ready() else min(self._period_s, SOON_S))

    async def _say(self) -> None:
        message = heartbeat_pb2.Heartbeat(
            component=self.component,
            instance=self._instance,
            state=STOPPING if self._stopping else READY if self._is_ready() else STARTING,
            period_ms=round(self._period_s * 1000),
        )
        message.at.GetCurrentTime()
        outgoing = route.HEARTBEAT.encode(self._context, message)
        await self._spine.emit(ports.Signal(outgoing.subject, outgoing.headers, outgoing.body))
